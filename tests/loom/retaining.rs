//! Retention against who comes late.

use genglossary_runs::core::{Event, NotReady};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, manager, payload, read_to_the_end};

/// A late reader either gets all of the run, or waits for its next life.
#[test]
fn retention_lets_go_against_late_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        manager.publish(1, payload()).unwrap();
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || {
            owner.finish(2, payload(), false);
            // Whoever holds it may read on; this lets it go once nobody does.
            owner.stats();
        });
        let late = manager.subscribe(1, BEGINNING, false).unwrap();
        match late.try_next() {
            Ok(Event::Message(..)) => assert_eq!(read_to_the_end(&late, 2), 2),
            Err(NotReady::Pending(_)) => assert_eq!(manager.stats().subscribers, 1),
            other => unreachable!("{other:?}"),
        }
        drop(late);
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
        assert_eq!((manager.retained_runs(), manager.stats().events_held), (vec![2], 1));
    });
}

#[test]
fn retention_lets_go_against_its_terminal_event() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(2, payload(), false)));
        if let Some(terminal) = manager.terminal(1) {
            assert_eq!(&*terminal, b"{}");
        }
        finishing.join().unwrap();
        assert!(manager.terminal(1).is_none());
    });
}

#[test]
fn retention_lets_go_against_open() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(2, payload(), false)));
        manager.open(1).unwrap();
        finishing.join().unwrap();
        assert_eq!((manager.claimed_runs(), manager.retained_runs()), (vec![1], vec![2]));
        assert_eq!(manager.stats().events_held, 1);
    });
}
