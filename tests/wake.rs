//! Event loops: a port is rung once a burst, for every kind of change, and never for nobody.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{manager, payload, pending, publish, read, subscribe};
use genglossary_runs::core::{Port, RunManager, Start, Subscription};

/// An event loop that only counts how often it was rung.
struct Loop {
    port: Arc<Port>,
    rung: Arc<AtomicU32>,
}

impl Loop {
    fn new() -> Self {
        let rung = Arc::new(AtomicU32::new(0));
        let count = rung.clone();
        Self { port: Arc::new(Port::new(Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed)))), rung }
    }

    fn rung(&self) -> u32 {
        self.rung.load(Ordering::Relaxed)
    }
}

fn one_reader() -> (RunManager, Subscription, Loop) {
    let manager = manager(10);
    manager.open(1).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    (manager, reader, Loop::new())
}

#[test]
fn a_burst_rings_an_armed_loop_once() {
    let (manager, reader, event_loop) = one_reader();
    assert!(reader.arm(pending(&reader), &event_loop.port));
    assert_eq!(event_loop.rung(), 0);
    publish(&manager, 1, &["a", "b", "c"]);
    assert_eq!(event_loop.rung(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
    assert_eq!(event_loop.port.take_ready(), []);
    reader.end_wait();
    assert_eq!(read(&reader), ["1 a", "2 b", "3 c"]);
    assert!(reader.arm(pending(&reader), &event_loop.port));
    publish(&manager, 1, &["d"]);
    assert_eq!(event_loop.rung(), 2);
}

#[test]
fn many_readers_of_a_loop_ring_it_once() {
    let (manager, first, event_loop) = one_reader();
    let mut readers: Vec<_> = (0..9).map(|_| subscribe(&manager, 1, Start::Newest)).collect();
    readers.push(first);
    for reader in &readers {
        assert!(reader.arm(pending(reader), &event_loop.port));
    }
    publish(&manager, 1, &["a", "b"]);
    assert_eq!(event_loop.rung(), 1);
    assert_eq!(event_loop.port.take_ready(), [readers[0].key()]);
}

#[test]
fn each_loop_is_rung() {
    let (manager, reader, one) = one_reader();
    let (other, two) = (subscribe(&manager, 1, Start::Newest), Loop::new());
    assert!(reader.arm(pending(&reader), &one.port));
    assert!(other.arm(pending(&other), &two.port));
    publish(&manager, 1, &["a"]);
    assert_eq!((one.rung(), two.rung()), (1, 1));
}

#[test]
fn a_loop_that_has_not_looked_yet_is_not_rung_again() {
    let (manager, one, event_loop) = one_reader();
    manager.open(2).unwrap();
    let two = subscribe(&manager, 2, Start::Newest);
    assert!(one.arm(pending(&one), &event_loop.port));
    assert!(two.arm(pending(&two), &event_loop.port));
    publish(&manager, 1, &["a"]);
    publish(&manager, 2, &["b"]);
    assert_eq!(event_loop.rung(), 1);
    assert_eq!(event_loop.port.take_ready(), [one.key(), two.key()]);
}

#[test]
fn nobody_is_rung_who_does_not_wait() {
    let (manager, reader, event_loop) = one_reader();
    publish(&manager, 1, &["a"]);
    read(&reader);
    manager.finish(1, payload("done"), false);
    assert_eq!(event_loop.rung(), 0);
}

#[test]
fn a_loop_is_not_armed_for_what_has_happened_already() {
    let (manager, reader, event_loop) = one_reader();
    let epoch = pending(&reader);
    publish(&manager, 1, &["a"]);
    assert!(!reader.arm(epoch, &event_loop.port));
    read(&reader);
    let epoch = pending(&reader);
    reader.put(payload("x"), 1).unwrap();
    assert!(!reader.arm(epoch, &event_loop.port));
    read(&reader);
    let epoch = pending(&reader);
    reader.close();
    assert!(!reader.arm(epoch, &event_loop.port));
    publish(&manager, 1, &["b"]);
    assert_eq!(event_loop.rung(), 0);
}

#[test]
fn the_end_of_the_run_rings() {
    let (manager, reader, event_loop) = one_reader();
    assert!(reader.arm(pending(&reader), &event_loop.port));
    manager.finish(1, payload("done"), false);
    assert_eq!(event_loop.rung(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
}

#[test]
fn put_and_close_ring_a_reader_that_waits() {
    let (_manager, reader, event_loop) = one_reader();
    assert!(reader.arm(pending(&reader), &event_loop.port));
    reader.put(payload("x"), 1).unwrap();
    reader.end_wait();
    assert_eq!(event_loop.rung(), 1);
    assert_eq!(event_loop.port.take_ready(), [reader.key()]);
    read(&reader);
    assert!(reader.arm(pending(&reader), &event_loop.port));
    reader.close();
    reader.end_wait();
    assert_eq!(event_loop.rung(), 2);
}

/// Waking costs every reader of the run a look, so those who change only themselves do it only if they wait.
#[test]
fn put_and_close_of_a_reader_that_does_not_wait_disturb_nobody() {
    let (manager, reader, event_loop) = one_reader();
    let other = subscribe(&manager, 1, Start::Newest);
    // The other has waited, and been refused once; neither is waiting any more.
    assert!(other.arm(pending(&other), &event_loop.port));
    publish(&manager, 1, &["a"]);
    other.end_wait();
    assert_eq!(read(&other), ["1 a"]);
    assert!(!other.arm(0, &event_loop.port));
    event_loop.port.take_ready();
    read(&reader);
    assert!(reader.arm(pending(&reader), &event_loop.port));
    other.put(payload("x"), 1).unwrap();
    drop(other);
    assert_eq!(event_loop.rung(), 1);
    publish(&manager, 1, &["b"]);
    assert_eq!(event_loop.rung(), 2);
}

#[test]
fn a_loop_that_is_gone_is_left_out() {
    let (manager, reader, event_loop) = one_reader();
    for _ in 0..3 {
        let short_lived = Loop::new();
        assert!(reader.arm(pending(&reader), &short_lived.port));
        reader.end_wait();
        assert_eq!(Arc::strong_count(&short_lived.port), 1, "waiting keeps no loop alive");
    }
    assert!(reader.arm(pending(&reader), &event_loop.port));
    publish(&manager, 1, &["a"]);
    assert_eq!(event_loop.rung(), 1);
}

/// What rings finds no lock taken, and sees what it is rung for.
#[test]
fn whoever_is_rung_may_read_at_once() {
    let (manager, reader, _) = one_reader();
    let manager = Arc::new(manager);
    let reader = Arc::new(reader);
    let (ring_manager, ring_reader) = (manager.clone(), reader.clone());
    let (read_at_ring, done) = std::sync::mpsc::channel();
    let port = Arc::new(Port::new(Box::new(move || {
        ring_manager.stats();
        read_at_ring.send(read(&ring_reader)).unwrap();
    })));
    assert!(reader.arm(pending(&reader), &port));
    publish(&manager, 1, &["a"]);
    assert_eq!(done.recv().unwrap(), ["1 a"]);
    port.take_ready();
    assert!(reader.arm(pending(&reader), &port));
    manager.finish(1, payload("done"), false);
    assert_eq!(done.recv().unwrap(), ["end 2 done"]);
}
