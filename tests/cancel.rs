//! The cancel event: a flag that is set once, its waiters and its callbacks.

#![cfg(not(loom))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, manager, payload, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Callback, CancelEvent, Key, Port, Start};

/// Calls a closure.
struct Call<F>(F);

impl<F: FnOnce() + Send + 'static> Callback for Call<F> {
    fn call(self: Box<Self>) {
        (self.0)();
    }
}

fn callback(call: impl FnOnce() + Send + 'static) -> Box<dyn Callback> {
    Box::new(Call(call))
}

/// A callback that counts its calls.
fn counting(calls: &Arc<AtomicU32>) -> Box<dyn Callback> {
    let calls = calls.clone();
    callback(move || _ = calls.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn an_event_is_set_once_and_for_all() {
    let event = CancelEvent::new(Key(7));
    assert_eq!(event.key(), Key(7));
    assert!(!event.is_set());
    event.set();
    event.set();
    assert!(event.is_set());
}

#[test]
fn a_wait_ends_when_the_event_is_set() {
    let events: Vec<CancelEvent> = (0..500).map(|number| CancelEvent::new(Key(number))).collect();
    let (waits, sets): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.key().0 % 2 == 0);
    // Two threads that answer each other: a wake-up that is lost leaves both asleep.
    thread::scope(|scope| {
        scope.spawn(|| {
            for (wait, set) in waits.iter().zip(&sets) {
                assert!(wait.wait(Some(Instant::now() + PATIENCE)));
                set.set();
            }
        });
        for (set, wait) in waits.iter().zip(&sets) {
            set.set();
            assert!(wait.wait(None));
        }
    });
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let event = CancelEvent::new(Key(0));
    let deadline = Instant::now() + Duration::from_millis(20);
    assert!(!event.wait(Some(deadline)));
    assert!(Instant::now() >= deadline);
    event.set();
    assert!(event.wait(Some(deadline)));
    assert!(event.wait(None));
}

#[test]
fn callbacks_are_called_once_in_the_thread_that_sets_it() {
    let event = CancelEvent::new(Key(0));
    let threads = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..3 {
        let threads = threads.clone();
        event.add_callback(callback(move || threads.lock().unwrap().push(thread::current().id())));
    }
    assert_eq!(threads.lock().unwrap().len(), 0);
    event.set();
    event.set();
    assert_eq!(*threads.lock().unwrap(), [thread::current().id(); 3]);
}

#[test]
fn a_callback_that_is_added_late_is_called_at_once() {
    let event = CancelEvent::new(Key(0));
    event.set();
    let calls = Arc::new(AtomicU32::new(0));
    event.add_callback(counting(&calls));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&calls), 1);
}

/// No lock is held while a callback runs.
#[test]
fn a_callback_may_use_the_event() {
    let event = Arc::new(CancelEvent::new(Key(0)));
    let calls = Arc::new(AtomicU32::new(0));
    let (inner, inner_calls) = (event.clone(), calls.clone());
    event.add_callback(callback(move || {
        assert!(inner.is_set());
        assert!(inner.wait(None));
        inner.set();
        inner.add_callback(counting(&inner_calls));
        assert_eq!(inner.take_callbacks().len(), 0);
    }));
    event.set();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_callback_may_finish_the_run() {
    let manager = Arc::new(manager(10));
    let event = manager.open(Int(1)).unwrap();
    let inner = manager.clone();
    event.add_callback(callback(move || assert!(inner.finish(Int(1), payload("cancelled"), false))));
    assert!(manager.cancel(Int(1)));
    assert_eq!(manager.terminal(Int(1)).as_deref(), Some(b"cancelled".as_slice()));
}

#[test]
fn an_abandoned_run_drops_its_cancel_event_and_the_callbacks() {
    let manager = manager(10);
    let _reader = subscribe(&manager, 1, Start::Newest);
    let called = Arc::new(AtomicU32::new(0));
    let old = manager.open(Int(1)).unwrap();
    old.set();
    assert!(manager.abandon(Int(1)));
    let second = manager.open(Int(1)).unwrap();
    assert!(!second.is_set());
    second.add_callback(counting(&called));
    assert!(manager.abandon(Int(1)));
    second.set();
    assert!(!manager.open(Int(1)).unwrap().is_set());
    assert_eq!(called.load(Ordering::Relaxed), 0);
}

#[test]
fn callbacks_that_were_taken_out_are_not_called() {
    let event = CancelEvent::new(Key(0));
    let calls = Arc::new(AtomicU32::new(0));
    event.add_callback(counting(&calls));
    assert_eq!(event.take_callbacks().len(), 1);
    assert_eq!(event.take_callbacks().len(), 0);
    event.set();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn finishing_a_run_drops_its_callbacks() {
    let manager = manager(10);
    let event = manager.open(Int(1)).unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    event.add_callback(counting(&calls));
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(Arc::strong_count(&calls), 1);
    event.set();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn every_visit_is_shown_all_callbacks_while_threads_use_the_event() {
    let event = CancelEvent::new(Key(0));
    let calls = Arc::new(AtomicU32::new(0));
    event.add_callback(counting(&calls));
    event.add_callback(counting(&calls));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    event.wait(Some(Instant::now()));
                }
            });
        }
        for _ in 0..10_000 {
            let mut visited = 0;
            event.visit_callbacks(|_| visited += 1);
            // A collector that is shown fewer the second time takes the others for garbage.
            assert_eq!(visited, 2);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[test]
fn setting_wakes_a_port_once() {
    let woken = Arc::new(AtomicU32::new(0));
    let count = woken.clone();
    let port = Arc::new(Port::new(Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed))));
    let event = CancelEvent::new(Key(7));
    assert!(event.arm(&port));
    assert!(event.arm(&port), "arming again changes nothing");
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    event.set();
    event.set();
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(port.take_ready(), [Key(7)]);
    assert!(!event.arm(&port), "it is set already");
}

#[test]
fn a_woken_loop_and_a_callback_find_the_event_set() {
    let event = Arc::new(CancelEvent::new(Key(7)));
    let (woken, called) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
    let (at_wake, seen) = (woken.clone(), event.clone());
    let port = Arc::new(Port::new(Box::new(move || _ = at_wake.set(seen.is_set()))));
    assert!(event.arm(&port));
    let (at_call, seen) = (called.clone(), event.clone());
    event.add_callback(callback(move || _ = at_call.set(seen.is_set())));
    event.set();
    assert_eq!((woken.get(), called.get()), (Some(&true), Some(&true)));
}
