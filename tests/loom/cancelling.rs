//! Cancel events.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{CancelEvent, Key};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::{Counting, Loop, manager, payload};

#[test]
fn set_against_wait() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(Key(7)));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        assert!(event.wait(None));
        setting.join().unwrap();
    });
}

#[test]
fn a_thread_that_sees_the_flag_sees_what_was_done_before() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(Key(7)));
        let done = Arc::new(AtomicUsize::new(0));
        let (other, was_done) = (event.clone(), done.clone());
        let looking = thread::spawn(move || !other.is_set() || was_done.load(Ordering::Relaxed) == 1);
        done.store(1, Ordering::Relaxed);
        event.set();
        assert!(looking.join().unwrap());
    });
}

#[test]
fn set_against_a_loop_that_parks() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(Key(7)));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        let event_loop = Loop::new();
        if event.arm(&event_loop.port) {
            event_loop.sleep_until_ready(Key(7));
        }
        assert!(event.is_set());
        setting.join().unwrap();
    });
}

#[test]
fn set_against_set_and_add_callback() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(Key(7)));
        let calls = Arc::new(AtomicUsize::new(0));
        event.add_callback(Box::new(Counting(calls.clone())));
        let setting = [(); 2].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.set())
        });
        event.add_callback(Box::new(Counting(calls.clone())));
        setting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn cancel_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        let calls = Arc::new(AtomicUsize::new(0));
        let event = manager.open(Int(1)).unwrap();
        event.add_callback(Box::new(Counting(calls.clone())));
        let other = manager.clone();
        let cancelling = thread::spawn(move || other.cancel(Int(1)));
        assert!(manager.finish(Int(1), payload(), false));
        let cancelled = cancelling.join().unwrap();
        assert_eq!(event.is_set(), cancelled);
        // The callback was called, or dropped with the run; never both, never twice.
        let called = calls.load(Ordering::Relaxed);
        assert!(called <= usize::from(cancelled));
        assert_eq!(Arc::strong_count(&calls), 1);
        assert!(!manager.cancel(Int(1)));
    });
}

#[test]
fn cancel_against_open() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reserved = manager.reserve(Int(1));
        let other = manager.clone();
        let cancelling = thread::spawn(move || assert!(other.cancel(Int(1))));
        let opened = manager.open(Int(1)).unwrap();
        cancelling.join().unwrap();
        assert!(opened.is_set() && reserved.is_set());
    });
}

#[test]
fn collecting_garbage_against_set() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(Key(7)));
        let calls = Arc::new(AtomicUsize::new(0));
        event.add_callback(Box::new(Counting(calls.clone())));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        event.visit_callbacks(|_| {});
        let taken = event.take_callbacks().len();
        setting.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed) + taken, 1);
    });
}
