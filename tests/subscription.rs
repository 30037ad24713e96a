//! A reader: where it starts, what it gets, what it waits for, how it ends.

#![cfg(not(loom))]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::memory::Watch;
use common::{BEGINNING, PATIENCE, limits, manager, next, payload, pending, publish, read, short, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Error, EventId, Fence, NotReady, RunId, RunManager, Seq, Start};

const NOTHING: [&str; 0] = [];

#[test]
fn a_reader_gets_what_is_published_after_it_subscribed() {
    let manager = manager(10);
    let early = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    let late = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&early), ["1 a", "2 b"]);
    assert_eq!(read(&late), ["2 b"]);
    assert_eq!((early.run_id(), late.run_id()), (&RunId::Int(1), &RunId::Int(1)));
    assert_eq!(early.key(), late.key());
}

#[test]
fn a_reader_of_one_run_gets_nothing_of_another() {
    let manager = manager(10);
    let (one, two) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest));
    assert_ne!(one.key(), two.key());
    publish(&manager, 1, &["a"]);
    assert_eq!(read(&two), NOTHING);
    assert_eq!(read(&one), ["1 a"]);
}

#[test]
fn a_reader_that_falls_behind_is_told_once_what_it_missed() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b", "c", "d", "e"]);
    assert_eq!(reader.unread(), 2);
    assert_eq!(read(&reader), ["gap 1-3", "4 d", "5 e"]);
    assert_eq!(manager.stats().events_missed, 3);
    publish(&manager, 1, &["f", "g", "h"]);
    assert_eq!(read(&reader), ["gap 6-6", "7 g", "8 h"]);
    assert_eq!(manager.stats().events_missed, 4);
}

#[test]
fn a_reader_resumes_at_the_position_of_another() {
    let manager = manager(3);
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b", "c"]);
    assert_eq!(short(&reader.try_next().unwrap()), "1 a");
    let last = reader.last_event_id();
    drop(reader);
    assert_eq!(read(&subscribe(&manager, 1, Start::After(Some(last)))), ["2 b", "3 c"]);
    publish(&manager, 1, &["d", "e"]);
    assert_eq!(read(&subscribe(&manager, 1, Start::After(Some(last)))), ["gap 2-2", "3 c", "4 d", "5 e"]);
}

#[test]
fn the_last_event_id_is_that_of_the_last_event_read() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    let before = reader.last_event_id();
    assert_eq!(before.seq, Seq(0));
    let ids: Vec<EventId> = (0..4).map(|_| manager.publish(Int(1), payload("a")).unwrap()).collect();
    assert_eq!(ids[3], EventId { fence: before.fence, seq: Seq(4) });
    assert_eq!(short(&reader.try_next().unwrap()), "gap 1-2");
    assert_eq!(reader.last_event_id(), ids[1]);
    reader.try_next().unwrap();
    assert_eq!(reader.last_event_id(), ids[2]);
}

#[test]
fn a_reader_that_resumes_at_the_newest_waits_for_more() {
    let manager = manager(3);
    let first = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    read(&first);
    let second = subscribe(&manager, 1, Start::After(Some(first.last_event_id())));
    pending(&second);
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&second), ["2 b"]);
}

#[test]
fn an_id_of_another_life_starts_at_the_oldest_held() {
    let manager = manager(2);
    manager.open(Int(1)).unwrap();
    let other = manager.publish(Int(1), payload("a")).unwrap();
    manager.finish(Int(1), payload("done"), false);
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&subscribe(&manager, 1, Start::After(Some(other)))), ["1 b"]);
    publish(&manager, 1, &["c", "d"]);
    assert_eq!(read(&subscribe(&manager, 1, Start::After(Some(other)))), ["gap 1-1", "2 c", "3 d"]);
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["gap 1-1", "2 c", "3 d"]);
}

#[test]
fn the_terminal_event_is_last_and_comes_once() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b", "c"]);
    assert!(manager.finish(Int(1), payload("done"), false));
    assert_eq!(manager.publish(Int(1), payload("late")), None);
    assert_eq!(read(&reader), ["gap 1-2", "3 c", "end 4 done"]);
    assert_eq!(reader.try_next().unwrap_err(), NotReady::Ended);
    assert_eq!(reader.unread(), 0);
    assert!(!reader.is_closed());
}

#[test]
fn a_reader_that_comes_after_the_end_gets_the_terminal_event() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a", "b"]);
    manager.finish(Int(1), payload("done"), false);
    let reader = subscribe(&manager, 1, Start::Newest);
    assert_eq!(read(&reader), ["end 3 done"]);
    assert_eq!(reader.try_next().unwrap_err(), NotReady::Ended);
    assert_eq!(read(&subscribe(&manager, 1, BEGINNING)), ["1 a", "2 b", "end 3 done"]);
    let resumed = subscribe(&manager, 1, Start::After(Some(reader.last_event_id())));
    assert_eq!(resumed.try_next().unwrap_err(), NotReady::Ended);
}

#[test]
fn private_messages_are_read_at_the_position_where_they_were_put() {
    let manager = manager(10);
    let (reader, other) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    reader.put(payload("x"), 10).unwrap();
    publish(&manager, 1, &["a"]);
    reader.put(payload("y"), 10).unwrap();
    reader.put(payload("z"), 10).unwrap();
    manager.finish(Int(1), payload("done"), false);
    reader.put(payload("last"), 10).unwrap();
    assert_eq!(reader.unread(), 6);
    assert_eq!(read(&reader), ["private x", "1 a", "private y", "private z", "end 2 done", "private last"]);
    assert_eq!(read(&other), ["1 a", "end 2 done"]);
}

#[test]
fn private_messages_of_a_reader_that_fell_behind_come_after_the_gap() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    reader.put(payload("x"), 10).unwrap();
    publish(&manager, 1, &["b", "c", "d"]);
    assert_eq!(reader.unread(), 3);
    assert_eq!(read(&reader), ["gap 1-2", "private x", "3 c", "4 d"]);
}

#[test]
fn private_messages_have_a_limit_of_their_own() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b"]);
    reader.put(payload("x"), 2).unwrap();
    reader.put(payload("y"), 2).unwrap();
    assert_eq!(reader.put(payload("z"), 2), Err(Error::Full(2)));
    assert_eq!(read(&reader), ["1 a", "2 b", "private x", "private y"]);
    reader.put(payload("z"), 2).unwrap();
    assert_eq!(read(&reader), ["private z"]);
}

#[test]
fn a_closed_reader_has_and_receives_nothing() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a"]);
    let private = payload("x");
    let watch = Watch::new(&private);
    reader.put(private, 10).unwrap();
    assert!(!watch.is_freed());
    assert!(!reader.is_closed());
    reader.close();
    reader.close();
    assert!(reader.is_closed());
    assert!(watch.is_freed(), "its private messages are dropped");
    assert_eq!(reader.put(payload("y"), 0), Ok(()));
    assert_eq!(reader.unread(), 0);
    assert_eq!(reader.try_next().unwrap_err(), NotReady::Ended);
    assert_eq!(reader.try_next_chunk(1000).err(), Some(NotReady::Ended));
    assert_eq!(manager.stats().subscribers, 0);
}

#[test]
fn a_reader_has_ended_when_nothing_more_comes() {
    let manager = manager(10);
    let (reader, closed) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    closed.close();
    assert!(closed.is_ended());
    publish(&manager, 1, &["a"]);
    read(&reader);
    assert!(!reader.is_ended());
    manager.finish(Int(1), payload("done"), false);
    assert!(!reader.is_ended(), "the terminal event is yet to be read");
    read(&reader);
    assert!(reader.is_ended());
    reader.put(payload("x"), 10).unwrap();
    assert!(!reader.is_ended());
    read(&reader);
    assert!(reader.is_ended());
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    let epoch = pending(&reader);
    let deadline = Instant::now() + Duration::from_millis(20);
    reader.wait(epoch, Some(deadline));
    assert!(Instant::now() >= deadline);
    pending(&reader);
}

#[test]
fn a_wait_ends_at_once_if_something_has_changed() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    let epoch = pending(&reader);
    publish(&manager, 1, &["a"]);
    reader.wait(epoch, None);
    assert_eq!(read(&reader), ["1 a"]);
    let epoch = pending(&reader);
    reader.put(payload("x"), 10).unwrap();
    reader.wait(epoch, None);
    assert_eq!(read(&reader), ["private x"]);
    reader.close();
    reader.wait(epoch, None);
}

/// Two threads that answer each other: a wake-up that is lost leaves both asleep.
#[test]
fn a_reader_that_waits_is_woken_by_each_event() {
    let manager = manager(10);
    let (ping, pong) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest));
    let rounds = 500;
    thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=rounds {
                assert_eq!(short(&next(&ping).unwrap()), format!("{seq} ping"));
                publish(&manager, 2, &["pong"]);
            }
            manager.finish(Int(2), payload("done"), false);
        });
        for seq in 1..=rounds {
            publish(&manager, 1, &["ping"]);
            assert_eq!(short(&next(&pong).unwrap()), format!("{seq} pong"));
        }
        assert_eq!(short(&next(&pong).unwrap()), format!("end {} done", rounds + 1));
    });
}

#[test]
fn a_reader_that_waits_is_woken_by_put() {
    let manager = manager(10);
    let (ping, pong) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..500 {
                assert_eq!(short(&next(&ping).unwrap()), "private ping");
                pong.put(payload("pong"), 1).unwrap();
            }
        });
        for _ in 0..500 {
            ping.put(payload("ping"), 1).unwrap();
            assert_eq!(short(&next(&pong).unwrap()), "private pong");
        }
    });
}

#[test]
fn a_reader_that_waits_is_woken_by_close() {
    let manager = manager(10);
    for _ in 0..100 {
        let (reader, witness) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 2, Start::Newest));
        thread::scope(|scope| {
            scope.spawn(|| {
                publish(&manager, 2, &["about to wait"]);
                let started = Instant::now();
                assert_eq!(next(&reader).unwrap_err(), NotReady::Ended);
                assert!(started.elapsed() < PATIENCE);
            });
            next(&witness).unwrap();
            reader.close();
        });
    }
}

#[test]
fn threads_that_share_a_reader_share_its_events() {
    let manager = manager(1000);
    let reader = subscribe(&manager, 1, Start::Newest);
    let mut got: Vec<String> = thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let events = std::iter::from_fn(|| next(&reader).ok());
                    events.map(|event| short(&event)).collect::<Vec<_>>()
                })
            })
            .collect();
        for _ in 0..300 {
            publish(&manager, 1, &["a"]);
        }
        manager.finish(Int(1), payload("done"), false);
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    let mut expected: Vec<String> = (1..=300).map(|seq| format!("{seq} a")).collect();
    expected.push("end 301 done".to_owned());
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

/// A manager that retains no run that has ended.
fn forgetful() -> RunManager {
    RunManager::new(limits(10, 1 << 20, 0, 0))
}

#[test]
fn a_reader_does_not_wait_for_a_run_that_has_been_forgotten() {
    let manager = forgetful();
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a", "b"]);
    let last = subscribe(&manager, 1, Start::Newest).last_event_id();
    assert!(manager.finish(Int(1), payload("end"), false));
    for must_exist in [false, true] {
        let reader = manager.subscribe(Int(1), Start::After(Some(last)), must_exist).unwrap();
        assert_eq!(read(&reader), [r#"end 3 {"run_id":1,"complete":true,"status":"unknown"}"#]);
        assert!(reader.is_ended());
        assert_eq!(manager.stats().subscribers, 0);
    }
}

#[test]
fn a_reader_waits_for_a_run_that_may_yet_begin() {
    let manager = forgetful();
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a"]);
    let last = subscribe(&manager, 1, Start::Newest).last_event_id();
    assert!(manager.finish(Int(1), payload("end"), false));
    // One that was never published to, or has an id of another manager.
    let unused = EventId { seq: Seq(0), ..last };
    let foreign = EventId { fence: Fence(last.fence.0 + 1_000_000), ..last };
    for id in [unused, foreign] {
        let reader = manager.subscribe(Int(1), Start::After(Some(id)), false).unwrap();
        assert_eq!(read(&reader), NOTHING);
        assert!(!reader.is_ended());
    }
    // One whose next life is open, or reserved.
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::After(Some(last)));
    publish(&manager, 1, &["b"]);
    assert_eq!(read(&reader), ["1 b"]);
}

#[test]
fn an_invented_seq_does_no_harm() {
    let manager = forgetful();
    assert!(manager.finish(Int(1), payload("end"), false));
    let fence = subscribe(&manager, 2, Start::Newest).last_event_id().fence;
    let id = EventId { fence, seq: Seq(u64::MAX) };
    let reader = manager.subscribe(Int(1), Start::After(Some(id)), true).unwrap();
    assert_eq!(read(&reader).len(), 1);
    assert!(reader.is_ended());
}
