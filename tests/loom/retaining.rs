//! Retention against late readers.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Event, NotReady, RunId};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, manager, payload, read_to_the_end};

/// A late reader either gets all of the run, or waits for its next life.
#[test]
fn evicting_against_late_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        manager.publish(Int(1), payload()).unwrap();
        manager.finish(Int(1), payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || {
            owner.finish(Int(2), payload(), false);
            // An attached reader may read on; this evicts the log once there is none.
            owner.stats();
        });
        let late = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        match late.try_next() {
            Ok(Event::Message(..)) => assert_eq!(read_to_the_end(&late, 2), 2),
            Err(NotReady::Pending(_)) => assert_eq!(manager.stats().subscribers, 1),
            other => unreachable!("{other:?}"),
        }
        drop(late);
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
        assert_eq!((manager.retained_runs(), manager.stats().events_held), (vec![RunId::Int(2)], 1));
    });
}

#[test]
fn evicting_against_reading_the_terminal_event() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(Int(1), payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(Int(2), payload(), false)));
        if let Some(terminal) = manager.terminal(Int(1)) {
            assert_eq!(&*terminal, b"{}");
        }
        finishing.join().unwrap();
        assert!(manager.terminal(Int(1)).is_none());
    });
}

#[test]
fn evicting_against_open() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(Int(1), payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(Int(2), payload(), false)));
        manager.open(Int(1)).unwrap();
        finishing.join().unwrap();
        assert_eq!((manager.claimed_runs(), manager.retained_runs()), (vec![RunId::Int(1)], vec![RunId::Int(2)]));
        assert_eq!(manager.stats().events_held, 1);
    });
}
