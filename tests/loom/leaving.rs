//! Readers that close, and a run's entry that is made and removed.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{Event, EventId, NotReady, RunId, Seq, Start};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, manager, next, payload};

#[test]
fn drop_against_publish_and_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.publish(Int(1), payload()).unwrap();
        assert!(manager.finish(Int(1), payload(), false));
        dropping.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

/// Nothing is left of a run that only its readers wanted, whatever a publisher is told.
#[test]
fn drop_of_the_last_reader_against_publish() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.publish(Int(1), payload());
        dropping.join().unwrap();
        assert_nothing_is_live(&manager);
        assert_eq!(manager.stats().events_held, 0);
    });
}

#[test]
fn drop_of_a_reader_against_drop_of_another() {
    loom::model(|| {
        let manager = manager(10, 1);
        let readers = [(); 2].map(|()| manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let dropping = readers.map(|reader| thread::spawn(move || drop(reader)));
        let late = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        dropping.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(manager.stats().subscribers, 1);
        manager.publish(Int(1), payload()).unwrap();
        assert!(matches!(late.try_next(), Ok(Event::Message(EventId { seq: Seq(1), .. }, _))));
        drop(late);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn open_against_drop_of_the_last_reader() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.open(Int(1)).unwrap();
        let late = manager.subscribe(Int(1), Start::Newest, true).unwrap();
        dropping.join().unwrap();
        assert!(manager.is_open(Int(1)));
        assert_eq!(manager.stats().subscribers, 1);
        manager.publish(Int(1), payload()).unwrap();
        assert!(matches!(late.try_next(), Ok(Event::Message(..))));
    });
}

#[test]
fn abandon_against_drop_of_the_last_reader() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        assert!(manager.abandon(Int(1)));
        dropping.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn abandon_against_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let abandoning = thread::spawn(move || assert!(owner.abandon(Int(1))));
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        abandoning.join().unwrap();
        assert_eq!((manager.claimed_runs(), manager.subscribed_runs()), (vec![], vec![RunId::Int(1)]));
        manager.publish(Int(1), payload()).unwrap();
        assert!(matches!(reader.try_next(), Ok(Event::Message(..))));
    });
}

#[test]
fn open_against_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        let owner = manager.clone();
        let opening = thread::spawn(move || {
            owner.open(Int(1)).unwrap();
            owner.publish(Int(1), payload()).unwrap();
        });
        let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        assert!(matches!(next(&reader), Some(Event::Message(EventId { seq: Seq(1), .. }, _))));
        opening.join().unwrap();
        assert_eq!(manager.stats().subscribers, 1);
    });
}

#[test]
fn open_against_open_and_reserve() {
    loom::model(|| {
        let manager = manager(10, 1);
        let other = manager.clone();
        let reserving = thread::spawn(move || other.reserve(Int(1)));
        let other = manager.clone();
        let opening = thread::spawn(move || other.open(Int(1)).map(|cancel| cancel.key()).ok());
        let here = manager.open(Int(1)).map(|cancel| cancel.key()).ok();
        let there = opening.join().unwrap();
        let reserved = reserving.join().unwrap();
        assert!(here.is_some() != there.is_some());
        assert_eq!(here.or(there), Some(reserved.key()));
    });
}

#[test]
fn close_against_close_and_put() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let (one, two) = (reader.clone(), reader.clone());
        let closing = thread::spawn(move || one.close());
        let putting = thread::spawn(move || two.put(payload(), 1).unwrap());
        reader.close();
        closing.join().unwrap();
        putting.join().unwrap();
        assert_eq!(reader.unread(), 0);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn close_against_read() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        manager.publish(Int(1), payload()).unwrap();
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(matches!(reader.try_next_chunk(1000).err(), None | Some(NotReady::Ended)));
        assert!(matches!(reader.try_next(), Err(NotReady::Ended | NotReady::Pending(_))));
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}
