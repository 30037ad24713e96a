//! Event loops: a port is woken once a burst, for every kind of change, and never if nobody waits.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{manager, payload, pending, publish, read, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::subscription::Waiting;
use genglossary_runs::core::{Port, RunManager, Start, Subscription};

/// An event loop that only counts how often it was woken.
struct Loop {
    port: Arc<Port>,
    woken: Arc<AtomicU32>,
}

impl Loop {
    fn new() -> Self {
        let woken = Arc::new(AtomicU32::new(0));
        let count = woken.clone();
        Self { port: Arc::new(Port::new(Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed)))), woken }
    }

    fn woken(&self) -> u32 {
        self.woken.load(Ordering::Relaxed)
    }

    /// Have this loop wait for a reader that has nothing to read, for as long as the result is kept.
    fn arm<'a>(&self, reader: &'a Subscription) -> Waiting<&'a Subscription> {
        Subscription::arm(reader, pending(reader), &self.port).unwrap()
    }
}

fn one_reader() -> (RunManager, Subscription, Loop) {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    (manager, reader, Loop::new())
}

#[test]
fn a_burst_wakes_an_armed_loop_once() {
    let (manager, reader, event_loop) = one_reader();
    let waiting = event_loop.arm(&reader);
    assert_eq!(event_loop.woken(), 0);
    publish(&manager, 1, &["a", "b", "c"]);
    assert_eq!(event_loop.woken(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
    assert_eq!(event_loop.port.take_ready(), []);
    drop(waiting);
    assert_eq!(read(&reader), ["1 a", "2 b", "3 c"]);
    let _waiting = event_loop.arm(&reader);
    publish(&manager, 1, &["d"]);
    assert_eq!(event_loop.woken(), 2);
}

#[test]
fn many_readers_of_a_loop_wake_it_once() {
    let (manager, first, event_loop) = one_reader();
    let mut readers: Vec<_> = (0..9).map(|_| subscribe(&manager, 1, Start::Newest)).collect();
    readers.push(first);
    let _waiting: Vec<_> = readers.iter().map(|reader| event_loop.arm(reader)).collect();
    publish(&manager, 1, &["a", "b"]);
    assert_eq!(event_loop.woken(), 1);
    assert_eq!(event_loop.port.take_ready(), [readers[0].key()]);
}

#[test]
fn each_loop_is_woken() {
    let (manager, reader, one) = one_reader();
    let (other, two) = (subscribe(&manager, 1, Start::Newest), Loop::new());
    let _waiting = (one.arm(&reader), two.arm(&other));
    publish(&manager, 1, &["a"]);
    assert_eq!((one.woken(), two.woken()), (1, 1));
}

#[test]
fn a_loop_that_has_not_looked_yet_is_not_woken_again() {
    let (manager, one, event_loop) = one_reader();
    manager.open(Int(2)).unwrap();
    let two = subscribe(&manager, 2, Start::Newest);
    let _waiting = (event_loop.arm(&one), event_loop.arm(&two));
    publish(&manager, 1, &["a"]);
    publish(&manager, 2, &["b"]);
    assert_eq!(event_loop.woken(), 1);
    assert_eq!(event_loop.port.take_ready(), [one.key(), two.key()]);
}

#[test]
fn no_loop_is_woken_if_nobody_waits() {
    let (manager, reader, event_loop) = one_reader();
    publish(&manager, 1, &["a"]);
    read(&reader);
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(event_loop.woken(), 0);
}

#[test]
fn a_loop_is_not_armed_for_what_has_happened_already() {
    let (manager, reader, event_loop) = one_reader();
    let epoch = pending(&reader);
    publish(&manager, 1, &["a"]);
    assert!(Subscription::arm(&reader, epoch, &event_loop.port).is_none());
    read(&reader);
    let epoch = pending(&reader);
    reader.put(payload("x"), 1).unwrap();
    assert!(Subscription::arm(&reader, epoch, &event_loop.port).is_none());
    read(&reader);
    let epoch = pending(&reader);
    reader.close();
    assert!(Subscription::arm(&reader, epoch, &event_loop.port).is_none());
    publish(&manager, 1, &["b"]);
    assert_eq!(event_loop.woken(), 0);
}

#[test]
fn finishing_the_run_wakes_a_loop() {
    let (manager, reader, event_loop) = one_reader();
    let _waiting = event_loop.arm(&reader);
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(event_loop.woken(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
}

#[test]
fn put_and_close_wake_a_reader_that_waits() {
    let (_manager, reader, event_loop) = one_reader();
    let waiting = event_loop.arm(&reader);
    reader.put(payload("x"), 1).unwrap();
    drop(waiting);
    assert_eq!(event_loop.woken(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
    read(&reader);
    let waiting = event_loop.arm(&reader);
    reader.close();
    drop(waiting);
    assert_eq!(event_loop.woken(), 2);
}

/// Waking makes every reader of the run look, so a reader that changes only itself does it only if it waits.
#[test]
fn put_and_close_of_a_reader_that_does_not_wait_wake_nobody() {
    let (manager, reader, event_loop) = one_reader();
    let other = subscribe(&manager, 1, Start::Newest);
    // The other has waited, and been refused once; neither is waiting any more.
    let past = pending(&other);
    let waiting = event_loop.arm(&other);
    publish(&manager, 1, &["a"]);
    drop(waiting);
    assert_eq!(read(&other), ["1 a"]);
    assert!(Subscription::arm(&other, past, &event_loop.port).is_none());
    event_loop.port.take_ready();
    read(&reader);
    let _waiting = event_loop.arm(&reader);
    other.put(payload("x"), 1).unwrap();
    drop(other);
    assert_eq!(event_loop.woken(), 1);
    publish(&manager, 1, &["b"]);
    assert_eq!(event_loop.woken(), 2);
}

/// Several threads or loops may wait on one reader: it waits until the last of them does not.
#[test]
fn a_reader_waits_until_each_of_its_waits_has_ended() {
    let (_manager, reader, event_loop) = one_reader();
    let (first, second) = (event_loop.arm(&reader), event_loop.arm(&reader));
    drop(first);
    reader.put(payload("x"), 2).unwrap();
    assert_eq!(event_loop.woken(), 1, "one of them waits still");
    drop(second);
    event_loop.port.take_ready();
    read(&reader);
    drop(event_loop.arm(&reader));
    reader.put(payload("y"), 2).unwrap();
    assert_eq!(event_loop.woken(), 1, "none of them waits any more");
}

/// A wait owns a shared reader, so that one that is dropped by everyone else is still there to be woken.
#[test]
fn a_wait_keeps_a_shared_reader() {
    let (manager, reader, event_loop) = one_reader();
    let reader = Arc::new(reader);
    let waiting = Subscription::arm(reader.clone(), pending(&reader), &event_loop.port).unwrap();
    drop(reader);
    assert_eq!(manager.stats().subscribers, 1);
    drop(waiting);
    assert_eq!(manager.stats().subscribers, 0);
}

#[test]
fn a_loop_that_was_dropped_is_left_out() {
    let (manager, reader, event_loop) = one_reader();
    for _ in 0..3 {
        let short_lived = Loop::new();
        drop(short_lived.arm(&reader));
        assert_eq!(Arc::strong_count(&short_lived.port), 1, "waiting keeps no loop alive");
    }
    let _waiting = event_loop.arm(&reader);
    publish(&manager, 1, &["a"]);
    assert_eq!(event_loop.woken(), 1);
}

/// No lock is held while a loop is woken, and it finds what it is woken for.
#[test]
fn a_loop_that_is_woken_may_read_at_once() {
    let (manager, reader, _) = one_reader();
    let manager = Arc::new(manager);
    let reader = Arc::new(reader);
    let (its_manager, its_reader) = (manager.clone(), reader.clone());
    let (read_when_woken, done) = std::sync::mpsc::channel();
    let port = Arc::new(Port::new(Box::new(move || {
        its_manager.stats();
        read_when_woken.send(read(&its_reader)).unwrap();
    })));
    let _first = Subscription::arm(&*reader, pending(&reader), &port).unwrap();
    publish(&manager, 1, &["a"]);
    assert_eq!(done.recv().unwrap(), ["1 a"]);
    port.take_ready();
    let _second = Subscription::arm(&*reader, pending(&reader), &port).unwrap();
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(done.recv().unwrap(), ["end 2 done"]);
}
