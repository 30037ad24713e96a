//! Whole lives of a run, with everything at once; too large for every interleaving.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{Event, EventId, NotReady, Seq, Start};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, bounded_model, manager, next, payload, read_to_the_end};

#[test]
fn a_whole_life_against_a_reader_and_a_cancel() {
    bounded_model(|| {
        let manager = manager(1, 1);
        let (owner, canceller) = (manager.clone(), manager.clone());
        let running = thread::spawn(move || {
            let cancel = owner.open(Int(1)).unwrap();
            owner.publish(Int(1), payload()).unwrap();
            assert!(owner.finish(Int(1), payload(), false));
            cancel.is_set()
        });
        let cancelling = thread::spawn(move || canceller.cancel(Int(1)));
        let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 2);
        let seen = running.join().unwrap();
        let cancelled = cancelling.join().unwrap();
        assert!(cancelled || !seen);
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn two_lives_against_readers_that_come_and_go() {
    bounded_model(|| {
        let manager = manager(10, 0);
        let readers = [(); 2].map(|()| {
            let manager = manager.clone();
            thread::spawn(move || {
                let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
                match reader.try_next() {
                    Ok(Event::Terminal(EventId { seq: Seq(1), .. }, _)) | Err(NotReady::Pending(_)) => {}
                    other => unreachable!("{other:?}"),
                }
            })
        });
        for _ in 0..2 {
            manager.open(Int(1)).unwrap();
            assert!(manager.finish(Int(1), payload(), false));
        }
        readers.into_iter().for_each(|thread| thread.join().unwrap());
        assert_nothing_is_live(&manager);
        assert_eq!(manager.stats().retained_runs, 0);
    });
}

#[test]
fn close_against_wait_and_finish() {
    bounded_model(|| {
        let manager = manager(10, 0);
        manager.open(Int(1)).unwrap();
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let (other, owner) = (reader.clone(), manager.clone());
        let closing = thread::spawn(move || other.close());
        let finishing = thread::spawn(move || assert!(owner.finish(Int(1), payload(), false)));
        let mut events = 0;
        while next(&reader).is_some() {
            events += 1;
        }
        assert!(events <= 1);
        closing.join().unwrap();
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}
