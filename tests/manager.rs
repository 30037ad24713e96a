//! The life of a run, from whoever first names it until it is finished, and what the manager says of it.

#![cfg(not(loom))]

mod common;

use std::time::{SystemTime, UNIX_EPOCH};

use common::{BEGINNING, limits, manager, payload, pending, publish, read, subscribe, wide};
use genglossary_runs::core::retention::RetentionLimits;
use genglossary_runs::core::{Error, Limits, RunManager, Start, Stats};

#[test]
fn the_default_limits_are_the_documented_ones() {
    let limits = Limits::default();
    assert_eq!((limits.log.events, limits.log.bytes), (1000, 8 * 1024 * 1024));
    let RetentionLimits { runs, bytes, age } = limits.retention;
    assert_eq!((runs, bytes, age.as_secs_f64()), (256, 64 * 1024 * 1024, 300.0));
    assert!(limits.check().is_ok());
    assert_eq!(RunManager::new(limits).limits().log.events, 1000);
    assert_eq!(manager(7).limits().log.events, 7);
}

#[test]
fn limits_that_no_manager_can_keep_are_refused() {
    let most = 2_147_483_647;
    assert!(limits(1, 1, 0, 0).check().is_ok());
    assert!(limits(most, usize::MAX, usize::MAX, usize::MAX).check().is_ok());
    for events in [0, most + 1, usize::MAX] {
        let refused = limits(events, 1, 0, 0).check().unwrap_err();
        assert_eq!(refused.to_string(), "history must be between 1 and 2147483647 events");
    }
    let refused = limits(1, 0, 0, 0).check().unwrap_err();
    assert_eq!(refused.to_string(), "history_bytes must be at least 1 byte");
}

#[test]
fn a_run_that_is_open_is_not_opened_again() {
    let manager = manager(10);
    assert!(!manager.is_open(1));
    manager.open(1).unwrap();
    assert!(manager.is_open(1));
    let refused = manager.open(1).map(|_| ()).unwrap_err();
    assert_eq!(refused, Error::RunActive(1));
    assert_eq!(refused.to_string(), "run 1 is already open; finish it, or choose another id, before opening it again");
    publish(&manager, 1, &["still there"]);
}

#[test]
fn opening_takes_over_what_subscribers_made() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["before"]);
    assert!(!manager.is_open(1));
    manager.open(1).unwrap();
    publish(&manager, 1, &["after"]);
    assert_eq!(read(&reader), ["1 before", "2 after"]);
}

#[test]
fn opening_takes_over_a_cancel_event() {
    let manager = manager(10);
    assert!(manager.cancel_event(1, false).is_none());
    let reserved = manager.cancel_event(1, true).unwrap();
    reserved.set();
    let opened = manager.open(1).unwrap();
    assert_eq!(opened.key(), reserved.key());
    assert!(opened.is_set());
    assert_eq!(manager.cancel_event(1, false).unwrap().key(), reserved.key());
    assert_eq!(manager.cancel_event(1, true).unwrap().key(), reserved.key());
    assert!(manager.is_open(1), "asking for the cancel event of an open run leaves it open");
}

#[test]
fn a_run_that_only_has_subscribers_has_no_cancel_event() {
    let manager = manager(10);
    let _reader = subscribe(&manager, 1, Start::Newest);
    assert!(manager.cancel_event(1, false).is_none());
    assert!(!manager.cancel(1));
    assert!(!manager.open(1).unwrap().is_set());
}

#[test]
fn opening_forgets_an_earlier_life() {
    let manager = manager(10);
    manager.open(1).unwrap();
    let old = manager.publish(1, payload("a")).unwrap();
    manager.finish(1, payload("done"), false);
    assert!(manager.terminal(1).is_some());
    manager.open(1).unwrap();
    assert!(manager.terminal(1).is_none());
    assert_eq!(manager.retained_runs(), [] as [i64; 0]);
    let new = manager.publish(1, payload("b")).unwrap();
    assert_eq!((old.seq, new.seq), (1, 1));
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["1 b"]);
}

#[test]
fn an_open_run_that_is_abandoned_is_as_if_it_had_never_been_opened() {
    let manager = manager(10);
    assert!(!manager.abandon(1));
    manager.open(1).unwrap();
    assert!(manager.abandon(1));
    assert!(!manager.abandon(1));
    assert_eq!(manager.stats(), Stats::default());
    manager.cancel_event(1, true).unwrap();
    assert!(!manager.abandon(1), "it is only reserved");
    assert_eq!(manager.claimed_runs(), [1]);
}

#[test]
fn an_abandoned_run_keeps_its_subscribers() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.open(1).unwrap();
    publish(&manager, 1, &["a"]);
    assert!(manager.abandon(1));
    assert_eq!((manager.claimed_runs(), manager.subscribed_runs()), (vec![], vec![1]));
    assert!(manager.cancel_event(1, false).is_none());
    manager.open(1).unwrap();
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&reader), ["1 a", "2 b"]);
    assert!(manager.abandon(1));
    drop(reader);
    assert_eq!(manager.subscribed_runs(), [] as [i64; 0]);
}

#[test]
fn a_manager_knows_its_own_subscriptions() {
    let (one, two) = (manager(10), manager(10));
    let reader = subscribe(&one, 1, Start::Newest);
    assert!(one.has_made(&reader));
    assert!(!two.has_made(&reader));
}

#[test]
fn fences_are_milliseconds_that_never_repeat_or_fall() {
    let manager = manager(10);
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let before = now();
    let fences: Vec<u64> = (0..100)
        .map(|_| {
            manager.open(1).unwrap();
            let id = manager.publish(1, payload("a")).unwrap();
            manager.finish(1, payload("done"), false);
            id.fence
        })
        .collect();
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
    assert!(fences[0] >= before);
    assert!(fences[0] <= now());
}

#[test]
fn publishing_where_nobody_can_ever_read_says_so() {
    let manager = manager(10);
    assert_eq!(manager.publish(1, payload("unknown")), None);
    manager.open(1).unwrap();
    manager.finish(1, payload("done"), false);
    assert_eq!(manager.publish(1, payload("finished")), None);
    assert_eq!(manager.stats().events_published, 1);
    assert_eq!(manager.retained_runs(), [1]);
    assert!(manager.claimed_runs().is_empty() && manager.subscribed_runs().is_empty());
}

#[test]
fn an_event_id_counts_on_from_the_one_before() {
    let manager = manager(10);
    manager.open(1).unwrap();
    let first = manager.publish(1, payload("a")).unwrap();
    let second = manager.publish(1, payload("b")).unwrap();
    assert_eq!((first.seq, second.seq), (1, 2));
    assert_eq!(first.fence, second.fence);
}

#[test]
fn cancelling_sets_the_event_of_a_run_that_is_there() {
    let manager = manager(10);
    assert!(!manager.cancel(1));
    let cancel = manager.open(1).unwrap();
    assert!(manager.cancel(1));
    assert!(cancel.is_set());
    assert!(manager.cancel(1));
    manager.finish(1, payload("done"), false);
    assert!(!manager.cancel(1));
    let reserved = manager.cancel_event(2, true).unwrap();
    assert!(manager.cancel(2));
    assert!(reserved.is_set());
}

#[test]
fn only_the_first_finish_ends_a_run() {
    let manager = manager(10);
    manager.open(1).unwrap();
    assert!(manager.finish(1, payload("first"), false));
    assert!(!manager.finish(1, payload("second"), false));
    assert_eq!(manager.terminal(1).as_deref(), Some(b"first".as_slice()));
    assert_eq!(manager.stats().events_published, 1);
    assert!(!manager.is_open(1));
}

#[test]
fn finishing_a_run_nobody_knows_records_it() {
    let manager = manager(10);
    assert!(manager.finish(1, payload("done"), true));
    assert_eq!(manager.terminal(1).as_deref(), Some(b"done".as_slice()));
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["end 1 done"]);
}

#[test]
fn finishing_unless_open_leaves_an_open_run_alone() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.open(1).unwrap();
    assert!(!manager.finish(1, payload("done"), true));
    assert!(manager.is_open(1));
    pending(&reader);
    let waiting = subscribe(&manager, 2, Start::Newest);
    assert!(manager.finish(2, payload("done"), true));
    assert_eq!(read(&waiting), ["end 1 done"]);
    manager.cancel_event(3, true).unwrap();
    assert!(manager.finish(3, payload("done"), true));
}

#[test]
fn a_run_reserved_again_after_its_end_is_finished_again() {
    let manager = manager(10);
    manager.open(1).unwrap();
    manager.finish(1, payload("first"), false);
    manager.cancel_event(1, true).unwrap();
    assert!(manager.finish(1, payload("second"), false));
    assert_eq!(manager.terminal(1).as_deref(), Some(b"second".as_slice()));
    assert_eq!(manager.retained_runs(), [1]);
}

#[test]
fn a_reader_may_ask_that_the_run_exists() {
    let manager = manager(10);
    let refused = manager.subscribe(1, Start::Newest, true).map(|_| ()).unwrap_err();
    assert_eq!(refused, Error::UnknownRun(1));
    assert_eq!(refused.to_string(), "run 1 is unknown; open it first, or subscribe without must_exist to wait for it");
    assert_eq!(manager.stats(), Stats::default());
    let waiting = subscribe(&manager, 1, Start::Newest);
    assert!(manager.subscribe(1, Start::Newest, true).is_ok(), "somebody waits for it");
    drop(waiting);
    assert!(manager.subscribe(1, Start::Newest, true).is_err());
    manager.finish(1, payload("done"), false);
    assert!(manager.subscribe(1, Start::Newest, true).is_ok(), "it is retained");
}

#[test]
fn an_entry_that_only_subscribers_made_goes_with_the_last() {
    let manager = manager(10);
    let (one, two) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    drop(one);
    assert_eq!(manager.subscribed_runs(), [1]);
    publish(&manager, 1, &["a"]);
    two.close();
    assert_eq!(manager.publish(1, payload("b")), None);
    assert_eq!(Stats { events_published: 0, ..manager.stats() }, Stats::default());
}

/// A reader that is closed may be kept for as long as its owner likes; the events of a run that nobody wants are not.
#[test]
fn a_closed_reader_keeps_no_events_alive() {
    let manager = manager(10);
    let event = payload("a");
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.publish(1, event.clone()).unwrap();
    reader.try_next_chunk(1000).unwrap_or_else(|none| panic!("{none:?}"));
    reader.close();
    assert_eq!(std::sync::Arc::strong_count(&event), 1);
}

#[test]
fn an_entry_that_is_claimed_outlives_its_subscribers() {
    let manager = manager(10);
    manager.open(1).unwrap();
    manager.cancel_event(2, true).unwrap();
    drop((subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest)));
    assert_eq!(manager.claimed_runs(), [1, 2]);
    publish(&manager, 2, &["a"]);
    assert_eq!(read(&subscribe(&manager, 2, BEGINNING)), ["1 a"]);
}

#[test]
fn a_reader_of_an_earlier_life_is_no_subscriber_of_the_next() {
    let manager = manager(10);
    let old = subscribe(&manager, 1, Start::Newest);
    manager.finish(1, payload("done"), false);
    let retained = subscribe(&manager, 1, Start::Newest);
    assert_eq!(manager.stats().subscribers, 0);
    manager.open(1).unwrap();
    let new = subscribe(&manager, 1, Start::Newest);
    drop((old, retained));
    assert_eq!(manager.stats().subscribers, 1);
    drop(new);
    assert_eq!(manager.stats().subscribers, 0);
    assert!(manager.is_open(1));
}

#[test]
fn the_lists_of_runs_are_in_rising_order() {
    let manager = RunManager::new(wide());
    let ids: Vec<i64> = (0..50).map(|n| (n * 37 % 50) - 25).collect();
    let readers: Vec<_> = ids.iter().map(|id| subscribe(&manager, *id, Start::Newest)).collect();
    ids.iter().filter(|id| **id % 2 == 0).for_each(|id| drop(manager.open(*id)));
    manager.cancel_event(100, true);
    let mut even: Vec<i64> = (-25..25).filter(|id| id % 2 == 0).collect();
    even.push(100);
    assert_eq!(manager.claimed_runs(), even);
    assert_eq!(manager.subscribed_runs(), (-25..25).collect::<Vec<_>>());
    drop(readers);
    assert_eq!(manager.subscribed_runs(), [] as [i64; 0]);
}

#[test]
fn stats_count_what_is_held_and_what_was_done() {
    let manager = manager(2);
    assert_eq!(manager.stats(), Stats::default());
    manager.open(1).unwrap();
    manager.cancel_event(2, true).unwrap();
    let behind = subscribe(&manager, 1, Start::Newest);
    let waiting = [subscribe(&manager, 3, Start::Newest), subscribe(&manager, 3, Start::Newest)];
    publish(&manager, 1, &["a", "bb", "ccc"]);
    publish(&manager, 3, &["dddd"]);
    manager.finish(4, payload("done!"), false);
    read(&behind);
    assert_eq!(
        manager.stats(),
        Stats {
            active_runs: 1,
            subscribed_runs: 2,
            subscribers: 3,
            retained_runs: 1,
            events_held: 2 + 1 + 1,
            bytes_held: 5 + 4 + 5,
            events_published: 5,
            events_missed: 1,
        }
    );
    drop(waiting);
    manager.finish(1, payload("end"), false);
    manager.finish(2, payload("end"), false);
    assert_eq!(
        manager.stats(),
        Stats {
            retained_runs: 3,
            events_held: 2 + 1 + 1,
            bytes_held: 6 + 3 + 5,
            events_published: 7,
            events_missed: 1,
            ..Stats::default()
        }
    );
}

#[test]
fn clearing_a_run_frees_what_was_published_to_it() {
    let manager = RunManager::new(limits(10, 1000, 0, 0));
    let event = payload("a");
    manager.open(1).unwrap();
    manager.publish(1, event.clone()).unwrap();
    manager.finish(1, payload("done"), false);
    assert_eq!(manager.stats().retained_runs, 0);
    assert_eq!(std::sync::Arc::strong_count(&event), 1);
}
