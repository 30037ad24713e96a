//! The gate of a fork: no thread without the GIL is at a lock of the core while it is closed.
//!
//! A process has one gate, so the tests of this file run one after another. Only threads of their own close it: a test
//! fails, and does not hang, if that takes for ever.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use common::worker::Worker;
use common::{PATIENCE, manager, next, payload, publish, short, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::fork::{attached, close_gate, detached, open_gate};
use genglossary_runs::core::{Callback, CancelEvent, NotReady, Port, RunManager, Start, Subscription, sync};

/// Held by the only test that runs.
fn only_test() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that forks: it closes the gate, and opens it when it is told to go on.
fn forking() -> Worker {
    Worker::new(|steps| {
        close_gate();
        steps.reach("closed");
        steps.wait();
        open_gate();
        steps.reach("opened");
    })
}

/// Wait until a thread waits to close the gate: then no other gets to a lock.
fn wait_for_closing() {
    common::wait_until("the gate is being closed", || {
        let other = Worker::new(|steps| {
            detached(|| drop(sync::Mutex::new(()).lock()));
            steps.reach("unlocked");
        });
        other.is_held_up()
    });
}

#[test]
fn closing_the_gate_waits_for_a_thread_that_holds_a_lock() {
    let _only = only_test();
    let holding = Worker::new(|steps| {
        detached(|| {
            let lock = sync::Mutex::new(());
            let guard = lock.lock();
            steps.reach("locked");
            steps.wait();
            drop(guard);
            steps.reach("unlocked");
            steps.wait();
        });
    });
    holding.assert_reaches("locked");
    let forking = forking();
    forking.assert_reaches_nothing();
    holding.go_on();
    holding.assert_reaches("unlocked");
    forking.assert_reaches("closed");
    forking.go_on();
    forking.assert_reaches("opened");
}

/// The lock of a cancel event is held while its callbacks are visited.
#[test]
fn closing_the_gate_waits_for_a_lock_of_the_manager() {
    let _only = only_test();
    let event = manager_with_callback().cancel_event(Int(1)).unwrap();
    let visiting = Worker::new(move |steps| {
        detached(|| {
            event.visit_callbacks(|_| {
                steps.reach("visiting");
                steps.wait();
            });
        });
    });
    visiting.assert_reaches("visiting");
    let forking = forking();
    forking.assert_reaches_nothing();
    visiting.go_on();
    forking.assert_reaches("closed");
    forking.go_on();
    forking.assert_reaches("opened");
}

#[test]
fn no_thread_gets_to_a_lock_while_the_gate_is_closed() {
    let _only = only_test();
    let manager = Arc::new(manager(10));
    manager.open(Int(1)).unwrap();
    let lock = Arc::new(sync::Mutex::new(()));
    let forking = forking();
    forking.assert_reaches("closed");
    type Call = Box<dyn Fn(&RunManager) + Send>;
    let calls: [(&str, Call); 5] = [
        ("lock", Box::new(move |_| drop(lock.lock()))),
        ("try_lock", Box::new(|_| drop(sync::Mutex::new(()).try_lock()))),
        ("publish", Box::new(|manager| publish(manager, 1, &["a"]))),
        ("subscribe", Box::new(|manager| drop(subscribe(manager, 1, Start::Newest)))),
        ("cancel", Box::new(|manager| assert!(manager.cancel(Int(1))))),
    ];
    let workers = calls.map(|(name, call)| {
        let manager = manager.clone();
        Worker::new(move |steps| {
            detached(|| call(&manager));
            steps.reach(name);
        })
    });
    workers.iter().for_each(Worker::assert_reaches_nothing);
    assert_eq!(manager.stats().events_published, 0, "this thread has the GIL, so the gate does not concern it");
    forking.go_on();
    forking.assert_reaches("opened");
    for (worker, name) in workers.iter().zip(["lock", "try_lock", "publish", "subscribe", "cancel"]) {
        worker.assert_reaches(name);
    }
    assert_eq!(manager.stats().events_published, 1);
}

/// A second share of the same thread would wait for the closing, which waits for the first.
#[test]
fn nested_locks_do_not_deadlock_while_the_gate_is_being_closed() {
    let _only = only_test();
    let nesting = Worker::new(|steps| {
        detached(|| {
            let (outer, inner) = (sync::Mutex::new(()), sync::Mutex::new(()));
            let outer = outer.lock();
            steps.reach("outer");
            steps.wait();
            drop(inner.lock());
            drop(inner.try_lock());
            steps.reach("inner unlocked");
            steps.wait();
            drop(outer);
            steps.reach("outer unlocked");
        });
    });
    nesting.assert_reaches("outer");
    let forking = forking();
    wait_for_closing();
    nesting.go_on();
    nesting.assert_reaches("inner unlocked");
    forking.assert_reaches_nothing();
    nesting.go_on();
    nesting.assert_reaches("outer unlocked");
    forking.assert_reaches("closed");
    forking.go_on();
    forking.assert_reaches("opened");
}

/// A chunk is read with the locks of both the reader and its run.
#[test]
fn readers_do_not_deadlock_while_the_gate_is_closed_and_opened() {
    let _only = only_test();
    let manager = Arc::new(manager(10));
    let stop = Arc::new(AtomicBool::new(false));
    let readers = [(); 2].map(|()| {
        let (manager, stop) = (manager.clone(), stop.clone());
        Worker::new(move |steps| {
            detached(|| {
                let reader = subscribe(&manager, 1, Start::Newest);
                while !stop.load(Ordering::Relaxed) {
                    publish(&manager, 1, &["a"]);
                    assert!(reader.try_next_chunk(100).is_ok());
                    reader.put(payload("x"), 1).unwrap();
                    assert!(reader.try_next().is_ok());
                    while reader.try_next().is_ok() {}
                }
            });
            steps.reach("done");
        })
    });
    for _ in 0..1000 {
        let forking = forking();
        forking.assert_reaches("closed");
        forking.go_on();
        forking.assert_reaches("opened");
    }
    stop.store(true, Ordering::Relaxed);
    readers.iter().for_each(|reader| reader.assert_reaches("done"));
}

/// Threads that hold the GIL need no share: the thread that forks holds it.
#[test]
fn an_attached_thread_takes_no_share() {
    let _only = only_test();
    let attaching = Worker::new(|steps| {
        detached(|| {
            let lock = sync::Mutex::new(());
            attached(|| {
                let guard = lock.lock();
                steps.reach("locked");
                steps.wait();
                drop(guard);
                steps.reach("unlocked");
                steps.wait();
            });
            drop(lock.lock());
            steps.reach("locked without the GIL");
        });
    });
    attaching.assert_reaches("locked");
    let forking = forking();
    forking.assert_reaches("closed");
    attaching.go_on();
    attaching.assert_reaches("unlocked");
    attaching.go_on();
    attaching.assert_reaches_nothing();
    forking.go_on();
    forking.assert_reaches("opened");
    attaching.assert_reaches("locked without the GIL");
}

/// A lock that is taken with the GIL and given back without it, and the other way round, is counted as it was taken.
#[test]
fn a_share_belongs_to_the_lock_it_was_taken_for() {
    let _only = only_test();
    let mixing = Worker::new(|steps| {
        detached(|| {
            let (outer, inner) = (sync::Mutex::new(()), sync::Mutex::new(()));
            let outer_guard = outer.lock();
            let inner_guard = attached(|| inner.lock());
            drop(inner_guard);
            steps.reach("inner unlocked");
            steps.wait();
            attached(|| drop(outer_guard));
            steps.reach("outer unlocked");
            steps.wait();
        });
    });
    mixing.assert_reaches("inner unlocked");
    let forking = forking();
    forking.assert_reaches_nothing();
    mixing.go_on();
    mixing.assert_reaches("outer unlocked");
    forking.assert_reaches("closed");
    forking.go_on();
    forking.assert_reaches("opened");
}

/// The thread that writes streams holds a lock of its own around what it reads, and that may wake other readers. One whose
/// loop is woken through Python needs the GIL, which a thread has that waits for the gate.
#[test]
fn a_wake_up_sent_with_a_lock_held_does_not_keep_a_fork_waiting() {
    let _only = only_test();
    let manager = Arc::new(manager(10));
    let reader = Arc::new(subscribe(&manager, 1, Start::Newest));
    let waiting = Worker::new(move |steps| {
        let woken = Arc::new(AtomicU32::new(0));
        let port = Arc::new(Port::new(Box::new({
            let woken = woken.clone();
            move || {
                let (closed, closing) = channel();
                thread::spawn(move || {
                    close_gate();
                    open_gate();
                    closed.send(())
                });
                closing.recv_timeout(PATIENCE).unwrap();
                woken.fetch_add(1, Ordering::Relaxed);
            }
        })));
        let Err(NotReady::Pending(epoch)) = reader.try_next() else { return };
        let _armed = Subscription::arm(reader.clone(), epoch, &port).unwrap();
        detached(|| {
            let (outer, inner) = (sync::Mutex::new(()), sync::Mutex::new(()));
            let guard = outer.lock();
            publish(&manager, 1, &["a"]);
            drop(inner.lock());
            assert_eq!(woken.load(Ordering::Relaxed), 0);
            drop(guard);
        });
        assert_eq!(woken.load(Ordering::Relaxed), 1);
        steps.reach("woken, with no lock held");
    });
    waiting.assert_reaches("woken, with no lock held");
}

#[test]
fn a_thread_that_waits_for_an_event_does_not_delay_a_fork() {
    let _only = only_test();
    let manager = Arc::new(manager(10));
    let (reader, witness) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    let event = Arc::new(CancelEvent::new(witness.key()));
    let waiting = Worker::new(move |steps| {
        steps.reach("about to wait");
        let text = detached(|| short(&next(&reader).unwrap()));
        assert_eq!(text, "1 a");
        steps.reach("read");
    });
    let cancelled = event.clone();
    let sleeping = Worker::new(move |steps| {
        steps.reach("about to wait");
        assert!(detached(|| cancelled.wait(Some(Instant::now() + PATIENCE))));
        steps.reach("set");
    });
    waiting.assert_reaches("about to wait");
    sleeping.assert_reaches("about to wait");
    waiting.assert_reaches_nothing();
    let forking = forking();
    forking.assert_reaches("closed");
    publish(&manager, 1, &["a"]);
    event.set();
    waiting.assert_reaches_nothing();
    forking.go_on();
    forking.assert_reaches("opened");
    waiting.assert_reaches("read");
    sleeping.assert_reaches("set");
}

/// Counts the threads in a critical section.
#[derive(Default)]
struct Sections {
    inside: AtomicU32,
    turns: AtomicU32,
}

impl Sections {
    fn enter_and_leave(&self) {
        self.inside.fetch_add(1, Ordering::SeqCst);
        self.turns.fetch_add(1, Ordering::Relaxed);
        thread::yield_now();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn wait_for_a_turn(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        let has_turned = || self.turns.load(Ordering::Relaxed) != turns;
        common::wait_until("a thread is in a critical section", has_turned);
    }
}

#[test]
fn no_thread_is_in_a_critical_section_while_the_gate_is_closed() {
    let _only = only_test();
    let event = manager_with_callback().cancel_event(Int(1)).unwrap();
    let lock = Arc::new(sync::Mutex::new(()));
    let sections = Arc::new(Sections::default());
    let stop = Arc::new(AtomicBool::new(false));
    let workers = [(); 2].map(|()| {
        let (event, lock, sections, stop) = (event.clone(), lock.clone(), sections.clone(), stop.clone());
        Worker::new(move |steps| {
            while !stop.load(Ordering::Relaxed) {
                detached(|| {
                    event.visit_callbacks(|_| sections.enter_and_leave());
                    let guard = lock.lock();
                    sections.enter_and_leave();
                    drop(guard);
                });
            }
            steps.reach("done");
        })
    });
    let forking = Worker::new(move |steps| {
        for _ in 0..2000 {
            close_gate();
            let seen = (0..10).any(|_| sections.inside.load(Ordering::SeqCst) > 0);
            open_gate();
            if seen {
                return steps.reach("seen in a critical section");
            }
            sections.wait_for_a_turn();
        }
        steps.reach("none was seen");
    });
    let seen = forking.next();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(seen, Some("none was seen"));
    workers.iter().for_each(|worker| worker.assert_reaches("done"));
}

#[test]
fn closing_twice_is_closing_once() {
    let _only = only_test();
    let twice = Worker::new(|steps| {
        close_gate();
        close_gate();
        steps.reach("closed");
        steps.wait();
        open_gate();
        open_gate();
        steps.reach("opened");
        steps.wait();
    });
    twice.assert_reaches("closed");
    let locking = Worker::new(|steps| {
        detached(|| drop(sync::Mutex::new(()).lock()));
        steps.reach("locked");
    });
    locking.assert_reaches_nothing();
    twice.go_on();
    twice.assert_reaches("opened");
    locking.assert_reaches("locked");
}

#[test]
fn a_panic_leaves_the_thread_as_it_was() {
    let _only = only_test();
    let panicking = Worker::new(|steps| {
        let lock = sync::Mutex::new(());
        let result = catch_unwind(AssertUnwindSafe(|| {
            detached(|| {
                let _guard = lock.lock();
                panic!("as the test wants it");
            })
        }));
        assert!(result.is_err());
        steps.reach("caught");
        steps.wait();
        // It is attached again, so the gate does not keep it.
        drop(lock.lock());
        steps.reach("locked");
    });
    panicking.assert_reaches("caught");
    let forking = forking();
    forking.assert_reaches("closed");
    panicking.go_on();
    panicking.assert_reaches("locked");
    forking.go_on();
    forking.assert_reaches("opened");
}

struct Nothing;

impl Callback for Nothing {
    fn call(self: Box<Self>) {}
}

/// A manager whose run 1 is open and has a callback.
fn manager_with_callback() -> RunManager {
    let manager = manager(10);
    manager.open(Int(1)).unwrap().add_callback(Box::new(Nothing));
    manager
}
