//! Parking against everything that wakes: no wake-up of a thread or of an event loop is lost.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{Event, EventId, NotReady, Seq, Start, Subscription};
use loom::thread;

use super::{Loop, assert_nothing_is_live, manager, next, payload};

#[test]
fn a_loop_parks_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || {
            publisher.publish(Int(1), payload()).unwrap();
            assert!(publisher.finish(Int(1), payload(), false));
        });
        let event_loop = Loop::new();
        assert!(matches!(event_loop.next(&reader), Some(Event::Message(EventId { seq: Seq(1), .. }, _))));
        assert!(matches!(event_loop.next(&reader), Some(Event::Terminal(EventId { seq: Seq(2), .. }, _))));
        assert!(event_loop.next(&reader).is_none());
        publishing.join().unwrap();
    });
}

#[test]
fn a_loop_with_two_runs_parks_against_both() {
    loom::model(|| {
        let manager = manager(10, 0);
        let readers = [1, 2].map(|run| manager.subscribe(Int(run), Start::Newest, false).unwrap());
        let event_loop = Loop::new();
        let waiting = readers.each_ref().map(|reader| {
            let Err(NotReady::Pending(epoch)) = reader.try_next() else { unreachable!() };
            Subscription::arm(reader, epoch, &event_loop.port).unwrap()
        });
        let publishing = [1, 2].map(|run| {
            let publisher = manager.clone();
            thread::spawn(move || assert!(publisher.publish(Int(run), payload()).is_some()))
        });
        let mut ready = Vec::new();
        while ready.len() < 2 {
            event_loop.alarm.wait();
            ready.extend(event_loop.port.take_ready());
        }
        ready.sort_unstable();
        assert_eq!(ready, readers.each_ref().map(Subscription::key));
        drop(waiting);
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_thread_parks_against_put() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let other = reader.clone();
        let putting = thread::spawn(move || other.put(payload(), 1).unwrap());
        assert!(matches!(next(&reader), Some(Event::Private(_))));
        putting.join().unwrap();
    });
}

#[test]
fn a_loop_parks_against_put() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let other = reader.clone();
        let putting = thread::spawn(move || other.put(payload(), 1).unwrap());
        assert!(matches!(Loop::new().next(&reader), Some(Event::Private(_))));
        putting.join().unwrap();
    });
}

#[test]
fn a_thread_parks_against_close() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(next(&reader).is_none());
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn a_loop_parks_against_close() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(Loop::new().next(&reader).is_none());
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}
