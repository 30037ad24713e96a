//! Forks: which process this is, and the gate that keeps threads away from locks while one happens.
//!
//! # The generation
//!
//! What was made before a fork is the parent's. Everything with a lock remembers the generation it was made in and is
//! left alone in any later one: the child makes its own.
//!
//! # The gate
//!
//! `parking_lot` keeps the threads that wait for a lock in one table of the process. A fork that copies this table while
//! another thread has a part of it locked leaves a child that hangs even on locks that it has made itself. So **no thread
//! may be at a lock of the core when a fork happens**:
//!
//! - Threads that hold the GIL are not: the thread that forks holds it. (Without a GIL, CPython stops all threads that
//!   run Python before it forks, and none of them is stopped in the midst of Rust code.)
//! - All others run in [`detached`]. There each [`Mutex`](super::sync::Mutex) takes a share of the gate before it is
//!   locked and gives it back when it is unlocked, and [`close_gate`], called before a fork, waits for all shares. So a
//!   share is held for a critical section only: never while its thread sleeps, and never while it needs the GIL, which
//!   the thread that forks has. What takes the GIL meanwhile does so in [`attached`], where there is no gate.
//!
//! Two threads that fork take turns ([`take_turn`]), and wait for theirs without the GIL: the thread whose turn it is needs
//! the GIL before it opens the gate.
//!
//! pyo3 keeps the Python objects that are dropped without the GIL in a list with a lock of its own, which is std's but one
//! for the process. So what they may hang on is dropped with [`release`], as if that lock were one of the core's.
//!
//! A share is taken once a thread, however many locks it holds: the gate lets no new share in while it is being closed,
//! and a second share of the same thread would wait for ever.
//!
//! A wake-up may need the GIL, and a thread may come to send one inside of a critical section that is not the core's: it
//! waits until the thread's last lock is unlocked ([`once_unlocked`]).

use std::cell::Cell;
#[cfg(not(loom))]
use std::cell::RefCell;
#[cfg(not(loom))]
use std::sync::RwLockReadGuard;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

static GENERATION: AtomicU32 = AtomicU32::new(0);

static GATE: RwLock<()> = RwLock::new(());

/// Whether a thread has its turn to fork.
static TURN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread runs without the GIL.
    static DETACHED: Cell<bool> = const { Cell::new(false) };
    /// How many locks it holds, or waits for, that need a share of the gate.
    #[cfg(not(loom))]
    static LOCKS: Cell<u32> = const { Cell::new(0) };
    #[cfg(not(loom))]
    static SHARE: Cell<Option<RwLockReadGuard<'static, ()>>> = const { Cell::new(None) };
    /// What waits for the last of its locks to be unlocked.
    #[cfg(not(loom))]
    static POSTPONED: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
    static CLOSED: Cell<Option<RwLockWriteGuard<'static, ()>>> = const { Cell::new(None) };
}

/// The number of forks between the process that loaded this module and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Note that this is the child of a fork. Call it once in each, before anything else of this crate.
pub fn entered_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Take the turn to fork. Returns whether no other thread has it; if one has, release the GIL before trying again.
pub fn take_turn() -> bool {
    !TURN.swap(true, Ordering::Acquire)
}

/// Give the turn back. Call it after a fork, in the parent and in the child.
pub fn give_turn() {
    TURN.store(false, Ordering::Release);
}

/// Wait until no thread without the GIL is at a lock, and keep them away. Call it before a fork, with the turn and the GIL.
pub fn close_gate() {
    let closed = CLOSED.take();
    CLOSED.set(Some(closed.unwrap_or_else(|| GATE.write().unwrap_or_else(PoisonError::into_inner))));
}

/// Let threads go to locks again. Call it after a fork, in the parent and in the child, in the thread that forked.
pub fn open_gate() {
    drop(CLOSED.take());
}

/// Run `work`, which does not hold the GIL, so that a fork waits while it is at a lock.
pub fn detached<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restore::after_setting(true);
    work()
}

/// Run `work`, which holds the GIL though the thread around it does not.
pub fn attached<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restore::after_setting(false);
    work()
}

/// Drop what Python objects may hang on, with a fork waiting if this thread does not hold the GIL. No lock must be held.
pub fn release<T>(value: T) {
    #[cfg(not(loom))]
    let _pass = Pass::new();
    drop(value);
}

/// Run `act`, which may need the GIL: now, or when this thread, if it has no GIL, has unlocked its last lock.
pub fn once_unlocked(act: impl FnOnce() + 'static) {
    #[cfg(not(loom))]
    if DETACHED.get() && LOCKS.get() > 0 {
        return POSTPONED.with_borrow_mut(|postponed| postponed.push(Box::new(act)));
    }
    act();
}

/// Sets what `DETACHED` was, also if the work panics.
struct Restore(bool);

impl Restore {
    fn after_setting(detached: bool) -> Self {
        Self(DETACHED.replace(detached))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        DETACHED.set(self.0);
    }
}

/// The right to be at a lock; of a thread without the GIL a share of the gate. Loom's locks need none.
#[cfg(not(loom))]
#[derive(Debug)]
pub(super) struct Pass {
    needs_share: bool,
}

#[cfg(not(loom))]
impl Pass {
    /// Wait until the gate is open, if this thread needs a share of it.
    #[inline(always)]
    pub(super) fn new() -> Self {
        let needs_share = DETACHED.get();
        if needs_share {
            Self::take_share();
        }
        Self { needs_share }
    }

    // Publishers, which have the GIL, come by on each event.
    #[cold]
    fn take_share() {
        let locks = LOCKS.get();
        if locks == 0 {
            SHARE.set(Some(GATE.read().unwrap_or_else(PoisonError::into_inner)));
        }
        LOCKS.set(locks + 1);
    }

    #[cold]
    fn give_share() {
        let locks = LOCKS.get() - 1;
        LOCKS.set(locks);
        if locks == 0 {
            drop(SHARE.take());
            if POSTPONED.with_borrow(|postponed| !postponed.is_empty()) {
                POSTPONED.take().into_iter().for_each(|act| act());
            }
        }
    }
}

#[cfg(not(loom))]
impl Drop for Pass {
    #[inline(always)]
    fn drop(&mut self) {
        if self.needs_share {
            Self::give_share();
        }
    }
}
