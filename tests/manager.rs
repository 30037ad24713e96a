//! The life of a run, from the first use of its id until it is finished, and what the manager says of it.

#![cfg(not(loom))]

mod common;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::memory::Watch;
use common::{BEGINNING, ints, limits, manager, payload, pending, publish, read, subscribe, wide};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::limits::{OutOfBounds, Requested, RetentionLimits};
use genglossary_runs::core::{Error, Fence, Limits, RunId, RunManager, Seq, Start, Stats};

#[test]
fn the_default_limits_are_the_documented_ones() {
    let limits = Limits::default();
    assert_eq!((limits.log.events, limits.log.bytes), (1000, 8 * 1024 * 1024));
    let RetentionLimits { runs, bytes, age } = limits.retention;
    assert_eq!((runs, bytes, age.as_secs_f64()), (256, 64 * 1024 * 1024, 300.0));
    assert_eq!(RunManager::new(limits).limits().log.events, 1000);
    assert_eq!(manager(7).limits().log.events, 7);
}

const SMALLEST: Requested =
    Requested { history: 1, history_bytes: 1, retained_runs: 0, retained_bytes: 0, retention: 0.0 };
const LARGEST: Requested = Requested {
    history: 2_147_483_647,
    history_bytes: i64::MAX,
    retained_runs: i64::MAX,
    retained_bytes: i64::MAX,
    retention: 1e9,
};

#[test]
fn limits_are_what_was_requested() {
    let Limits { log, retention } = Limits::try_from(SMALLEST).unwrap();
    assert_eq!((log.events, log.bytes), (1, 1));
    assert_eq!((retention.runs, retention.bytes, retention.age), (0, 0, Duration::ZERO));
    let Limits { log, retention } = Limits::try_from(LARGEST).unwrap();
    assert_eq!((log.events, log.bytes), (2_147_483_647, usize::MAX / 2));
    assert_eq!((retention.runs, retention.bytes), (usize::MAX / 2, usize::MAX / 2));
    assert_eq!(retention.age, Duration::from_secs(1_000_000_000));
    let different = Requested { history: 2, history_bytes: 3, retained_runs: 4, retained_bytes: 5, retention: 6.5 };
    let Limits { log, retention } = Limits::try_from(different).unwrap();
    assert_eq!((log.events, log.bytes, retention.runs, retention.bytes), (2, 3, 4, 5));
    assert_eq!(retention.age, Duration::from_millis(6500));
}

#[test]
fn limits_that_no_manager_can_keep_are_refused() {
    let refused = |requested: Requested| Limits::try_from(requested).map(drop).unwrap_err().to_string();
    for history in [0, -1, i64::MIN, 2_147_483_648, i64::MAX] {
        let refused = refused(Requested { history, ..SMALLEST });
        assert_eq!(refused, "history must be between 1 and 2147483647 events");
    }
    for history_bytes in [0, -1, i64::MIN] {
        let refused = refused(Requested { history_bytes, ..SMALLEST });
        assert_eq!(refused, "history_bytes must be between 1 and 2**63 - 1 bytes");
    }
    for below in [-1, i64::MIN] {
        let refused_runs = refused(Requested { retained_runs: below, ..SMALLEST });
        assert_eq!(refused_runs, "retained_runs must be between 0 and 2**63 - 1 runs");
        let refused_bytes = refused(Requested { retained_bytes: below, ..SMALLEST });
        assert_eq!(refused_bytes, "retained_bytes must be between 0 and 2**63 - 1 bytes");
    }
    for retention in [-0.001, 1_000_000_000.001, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let error = Limits::try_from(Requested { retention, ..SMALLEST }).map(drop).unwrap_err();
        assert_eq!(error, OutOfBounds { name: "retention", least: 0, most: "1e9 seconds" });
        assert_eq!(error.to_string(), "retention must be between 0 and 1e9 seconds");
    }
}

#[test]
fn a_run_that_is_open_is_not_opened_again() {
    let manager = manager(10);
    assert!(!manager.is_open(Int(1)));
    manager.open(Int(1)).unwrap();
    assert!(manager.is_open(Int(1)));
    let refused = manager.open(Int(1)).map(|_| ()).unwrap_err();
    assert_eq!(refused, Error::RunActive(RunId::Int(1)));
    assert_eq!(refused.to_string(), "run 1 is already open; finish it, or choose another id, before opening it again");
    publish(&manager, 1, &["still there"]);
}

#[test]
fn opening_takes_over_what_subscribers_made() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["before"]);
    assert!(!manager.is_open(Int(1)));
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["after"]);
    assert_eq!(read(&reader), ["1 before", "2 after"]);
}

#[test]
fn opening_takes_over_a_cancel_event() {
    let manager = manager(10);
    assert!(manager.cancel_event(Int(1)).is_none());
    let reserved = manager.reserve(Int(1));
    reserved.set();
    let opened = manager.open(Int(1)).unwrap();
    assert_eq!(opened.key(), reserved.key());
    assert!(opened.is_set());
    assert_eq!(manager.cancel_event(Int(1)).unwrap().key(), reserved.key());
    assert_eq!(manager.reserve(Int(1)).key(), reserved.key());
    assert!(manager.is_open(Int(1)), "asking for the cancel event of an open run leaves it open");
}

#[test]
fn a_run_that_only_has_subscribers_has_no_cancel_event() {
    let manager = manager(10);
    let _reader = subscribe(&manager, 1, Start::Newest);
    assert!(manager.cancel_event(Int(1)).is_none());
    assert!(!manager.cancel(Int(1)));
    assert!(!manager.open(Int(1)).unwrap().is_set());
}

#[test]
fn opening_evicts_an_earlier_life() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let old = manager.publish(Int(1), payload("a")).unwrap();
    manager.finish(Int(1), payload("done"), false);
    assert!(manager.terminal(Int(1)).is_some());
    manager.open(Int(1)).unwrap();
    assert!(manager.terminal(Int(1)).is_none());
    assert_eq!(manager.retained_runs(), ints([]));
    let new = manager.publish(Int(1), payload("b")).unwrap();
    assert_eq!((old.seq, new.seq), (Seq(1), Seq(1)));
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["1 b"]);
}

#[test]
fn an_open_run_that_is_abandoned_is_as_if_it_had_never_been_opened() {
    let manager = manager(10);
    assert!(!manager.abandon(Int(1)));
    manager.open(Int(1)).unwrap();
    assert!(manager.abandon(Int(1)));
    assert!(!manager.abandon(Int(1)));
    assert_eq!(manager.stats(), Stats::default());
    manager.reserve(Int(1));
    assert!(!manager.abandon(Int(1)), "it is only reserved");
    assert_eq!(manager.claimed_runs(), ints([1]));
}

#[test]
fn an_abandoned_run_keeps_its_subscribers() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a"]);
    assert!(manager.abandon(Int(1)));
    assert_eq!((manager.claimed_runs(), manager.subscribed_runs()), (vec![], vec![RunId::Int(1)]));
    assert!(manager.cancel_event(Int(1)).is_none());
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&reader), ["1 a", "2 b"]);
    assert!(manager.abandon(Int(1)));
    drop(reader);
    assert_eq!(manager.subscribed_runs(), ints([]));
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
    let now = || {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Fence(u64::try_from(millis).unwrap())
    };
    let before = now();
    let fences: Vec<Fence> = (0..100)
        .map(|_| {
            manager.open(Int(1)).unwrap();
            let id = manager.publish(Int(1), payload("a")).unwrap();
            manager.finish(Int(1), payload("done"), false);
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
    assert_eq!(manager.publish(Int(1), payload("unknown")), None);
    manager.open(Int(1)).unwrap();
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(manager.publish(Int(1), payload("finished")), None);
    assert_eq!(manager.stats().events_published, 1);
    assert_eq!(manager.retained_runs(), ints([1]));
    assert!(manager.claimed_runs().is_empty() && manager.subscribed_runs().is_empty());
}

#[test]
fn an_event_id_has_the_seq_after_the_one_before() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let first = manager.publish(Int(1), payload("a")).unwrap();
    let second = manager.publish(Int(1), payload("b")).unwrap();
    assert_eq!((first.seq, second.seq), (Seq(1), Seq(2)));
    assert_eq!(first.fence, second.fence);
}

#[test]
fn cancelling_sets_the_event_of_a_run_that_is_there() {
    let manager = manager(10);
    assert!(!manager.cancel(Int(1)));
    let cancel = manager.open(Int(1)).unwrap();
    assert!(manager.cancel(Int(1)));
    assert!(cancel.is_set());
    assert!(manager.cancel(Int(1)));
    manager.finish(Int(1), payload("done"), false);
    assert!(!manager.cancel(Int(1)));
    let reserved = manager.reserve(Int(2));
    assert!(manager.cancel(Int(2)));
    assert!(reserved.is_set());
}

#[test]
fn only_the_first_call_finishes_a_run() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    assert!(manager.finish(Int(1), payload("first"), false));
    assert!(!manager.finish(Int(1), payload("second"), false));
    assert_eq!(manager.terminal(Int(1)).as_deref(), Some(b"first".as_slice()));
    assert_eq!(manager.stats().events_published, 1);
    assert!(!manager.is_open(Int(1)));
}

#[test]
fn finishing_an_unknown_run_records_it() {
    let manager = manager(10);
    assert!(manager.finish(Int(1), payload("done"), true));
    assert_eq!(manager.terminal(Int(1)).as_deref(), Some(b"done".as_slice()));
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["end 1 done"]);
}

#[test]
fn finishing_unless_open_leaves_an_open_run_alone() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.open(Int(1)).unwrap();
    assert!(!manager.finish(Int(1), payload("done"), true));
    assert!(manager.is_open(Int(1)));
    pending(&reader);
    let waiting = subscribe(&manager, 2, Start::Newest);
    assert!(manager.finish(Int(2), payload("done"), true));
    assert_eq!(read(&waiting), ["end 1 done"]);
    manager.reserve(Int(3));
    assert!(manager.finish(Int(3), payload("done"), true));
}

#[test]
fn a_run_reserved_again_after_its_end_is_finished_again() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    manager.finish(Int(1), payload("first"), false);
    manager.reserve(Int(1));
    assert!(manager.finish(Int(1), payload("second"), false));
    assert_eq!(manager.terminal(Int(1)).as_deref(), Some(b"second".as_slice()));
    assert_eq!(manager.retained_runs(), ints([1]));
}

#[test]
fn a_reader_may_ask_that_the_run_exists() {
    let manager = manager(10);
    let refused = manager.subscribe(Int(1), Start::Newest, true).map(|_| ()).unwrap_err();
    assert_eq!(refused, Error::UnknownRun(RunId::Int(1)));
    assert_eq!(refused.to_string(), "run 1 is unknown; open it first, or subscribe without must_exist to wait for it");
    assert_eq!(manager.stats(), Stats::default());
    let waiting = subscribe(&manager, 1, Start::Newest);
    assert!(manager.subscribe(Int(1), Start::Newest, true).is_ok(), "somebody waits for it");
    drop(waiting);
    assert!(manager.subscribe(Int(1), Start::Newest, true).is_err());
    manager.finish(Int(1), payload("done"), false);
    assert!(manager.subscribe(Int(1), Start::Newest, true).is_ok(), "it is retained");
}

#[test]
fn an_entry_that_only_subscribers_made_is_removed_with_the_last() {
    let manager = manager(10);
    let (one, two) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    drop(one);
    assert_eq!(manager.subscribed_runs(), ints([1]));
    publish(&manager, 1, &["a"]);
    two.close();
    assert_eq!(manager.publish(Int(1), payload("b")), None);
    assert_eq!(Stats { events_published: 0, bytes_published: 0, ..manager.stats() }, Stats::default());
}

/// A closed reader may be kept for as long as its owner likes; the events of a run that nobody wants are evicted.
#[test]
fn a_closed_reader_keeps_no_events_alive() {
    let manager = manager(10);
    let event = payload("a");
    let watch = Watch::new(&event);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.publish(Int(1), event).unwrap();
    reader.try_next_chunk(1000).unwrap_or_else(|none| panic!("{none:?}"));
    assert!(!watch.is_freed());
    reader.close();
    assert!(watch.is_freed());
}

#[test]
fn an_entry_that_is_claimed_outlives_its_subscribers() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    manager.reserve(Int(2));
    drop((subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest)));
    assert_eq!(manager.claimed_runs(), ints([1, 2]));
    publish(&manager, 2, &["a"]);
    assert_eq!(read(&subscribe(&manager, 2, BEGINNING)), ["1 a"]);
}

#[test]
fn a_reader_of_an_earlier_life_is_no_subscriber_of_the_next() {
    let manager = manager(10);
    let old = subscribe(&manager, 1, Start::Newest);
    manager.finish(Int(1), payload("done"), false);
    let retained = subscribe(&manager, 1, Start::Newest);
    assert_eq!(manager.stats().subscribers, 0);
    manager.open(Int(1)).unwrap();
    let new = subscribe(&manager, 1, Start::Newest);
    drop((old, retained));
    assert_eq!(manager.stats().subscribers, 1);
    drop(new);
    assert_eq!(manager.stats().subscribers, 0);
    assert!(manager.is_open(Int(1)));
}

#[test]
fn the_lists_of_runs_are_in_rising_order() {
    let manager = RunManager::new(wide());
    let ids: Vec<i64> = (0..50).map(|n| (n * 37 % 50) - 25).collect();
    let readers: Vec<_> = ids.iter().map(|id| subscribe(&manager, *id, Start::Newest)).collect();
    ids.iter().filter(|id| **id % 2 == 0).for_each(|id| drop(manager.open(Int(*id))));
    manager.reserve(Int(100));
    let even: Vec<RunId> = (-25..25).filter(|id| id % 2 == 0).chain([100]).map(RunId::Int).collect();
    assert_eq!(manager.claimed_runs(), even);
    assert_eq!(manager.subscribed_runs(), (-25..25).map(RunId::Int).collect::<Vec<_>>());
    drop(readers);
    assert_eq!(manager.subscribed_runs(), ints([]));
}

#[test]
fn stats_count_what_is_held_and_what_was_done() {
    let manager = manager(2);
    assert_eq!(manager.stats(), Stats::default());
    manager.open(Int(1)).unwrap();
    manager.reserve(Int(2));
    let behind = subscribe(&manager, 1, Start::Newest);
    let waiting = [subscribe(&manager, 3, Start::Newest), subscribe(&manager, 3, Start::Newest)];
    publish(&manager, 1, &["a", "bb", "ccc"]);
    publish(&manager, 3, &["dddd"]);
    manager.finish(Int(4), payload("done!"), false);
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
            bytes_published: 1 + 2 + 3 + 4 + 5,
            events_missed: 1,
        }
    );
    drop(waiting);
    manager.finish(Int(1), payload("end"), false);
    manager.finish(Int(2), payload("end"), false);
    assert_eq!(
        manager.stats(),
        Stats {
            retained_runs: 3,
            events_held: 2 + 1 + 1,
            bytes_held: 6 + 3 + 5,
            events_published: 7,
            bytes_published: 1 + 2 + 3 + 4 + 5 + 3 + 3,
            events_missed: 1,
            ..Stats::default()
        }
    );
}

#[test]
fn a_run_that_is_not_retained_frees_what_was_published_to_it() {
    let manager = RunManager::new(limits(10, 1000, 0, 0));
    let event = payload("a");
    let watch = Watch::new(&event);
    manager.open(Int(1)).unwrap();
    manager.publish(Int(1), event).unwrap();
    assert!(!watch.is_freed());
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(manager.stats().retained_runs, 0);
    assert!(watch.is_freed());
}
