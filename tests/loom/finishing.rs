//! The end of a run: one step for everyone else, one terminal event.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Event, NotReady, RunId, Seq, Start, Stats};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, manager, payload, read_to_the_end};

#[test]
fn subscribe_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(Int(1), payload(), false)));
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 1);
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn subscribe_from_the_beginning_against_publish_and_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || {
            owner.publish(Int(1), payload()).unwrap();
            assert!(owner.finish(Int(1), payload(), false));
        });
        let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 2);
        finishing.join().unwrap();
    });
}

/// Without retention a reader that subscribes too late waits for the next life of the run.
#[test]
fn subscribe_against_finish_of_a_run_that_is_not_retained() {
    loom::model(|| {
        let manager = manager(10, 0);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(Int(1), payload(), false)));
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        finishing.join().unwrap();
        match reader.try_next() {
            Ok(Event::Terminal(..)) => assert_nothing_is_live(&manager),
            Err(NotReady::Pending(_)) => {
                manager.open(Int(1)).unwrap();
                manager.finish(Int(1), payload(), false);
                assert_eq!(read_to_the_end(&reader, 1), 1);
            }
            other => unreachable!("{other:?}"),
        }
    });
}

#[test]
fn finish_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let other = manager.clone();
        let finishing = thread::spawn(move || other.finish(Int(1), payload(), false));
        let here = manager.finish(Int(1), payload(), false);
        assert!(here != finishing.join().unwrap());
        assert_eq!(read_to_the_end(&reader, 1), 1);
        assert_eq!(manager.retained_runs(), [RunId::Int(1)]);
        assert_eq!(manager.stats().events_published, 1);
    });
}

/// A thread that finds the run no longer open finds its terminal event.
#[test]
fn finishing_is_one_step() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(Int(1), payload(), false)));
        if !manager.is_open(Int(1)) {
            assert!(manager.terminal(Int(1)).is_some());
            let reader = manager.subscribe(Int(1), Start::Newest, true).unwrap();
            assert!(matches!(reader.try_next(), Ok(Event::Terminal(..))));
        }
        finishing.join().unwrap();
    });
}

/// What was published before the terminal event is read before it; what was not, never.
#[test]
fn publish_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || publisher.publish(Int(1), payload()).is_some());
        assert!(manager.finish(Int(1), payload(), false));
        let published = publishing.join().unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 1 + u64::from(published));
        assert_eq!(manager.stats().events_published, 1 + u64::from(published));
    });
}

#[test]
fn open_again_against_a_reader_of_the_last_life() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let owner = manager.clone();
        let opening = thread::spawn(move || {
            assert!(owner.finish(Int(1), payload(), false));
            owner.open(Int(1)).unwrap();
            assert_eq!(owner.publish(Int(1), payload()).unwrap().seq, Seq(1));
        });
        assert_eq!(read_to_the_end(&reader, 1), 1);
        drop(reader);
        opening.join().unwrap();
        let Stats { active_runs, subscribers, events_held, .. } = manager.stats();
        assert_eq!((active_runs, subscribers, events_held), (1, 0, 1));
    });
}
