//! Forks: which process this is, and the gate that keeps threads away from locks during a fork.
//!
//! # The generation
//!
//! Everything created before a fork belongs to the parent. Each object with a lock remembers the generation that
//! created it, and is left alone in later ones: the child creates its own.
//!
//! # The gate
//!
//! `parking_lot` keeps waiting threads in one table for the process. A fork that copies this table while another thread
//! has part of it locked leaves a child that hangs even on locks it creates itself. So **no other thread may hold or
//! wait for a lock of the core during a fork**:
//!
//! - Threads that hold the GIL do not: the forking thread holds it. (Without a GIL, CPython stops all threads that run
//!   Python before it forks, and none of them in the middle of Rust code.)
//! - All other threads run in [`detached`]. There each [`Mutex`](super::sync::Mutex) takes a share of the gate before
//!   it is locked and returns it after it is unlocked, and [`close_gate`], called before a fork, waits for all shares.
//!   So a share is held for a critical section only: never while its thread sleeps, and never while it needs the GIL,
//!   which the forking thread has. Code that takes the GIL meanwhile does so in [`attached`], where no share is needed.
//!
//! Forking threads take turns ([`take_turn`]) and wait for their turn without the GIL: the thread whose turn it is
//! needs the GIL before it opens the gate.
//!
//! pyo3 keeps Python objects that were dropped without the GIL in a list for the process, behind a lock of std. So
//! values that may own Python objects are dropped with [`release`], as if that lock were one of the core's.
//!
//! A thread takes one share, however many locks it holds: a gate that is being closed admits no new share, so a second
//! share of the same thread would deadlock.
//!
//! A wake-up may need the GIL, and a thread may send one within a critical section of another room. It is postponed
//! until the thread releases its last lock ([`once_unlocked`]).

use std::cell::Cell;
#[cfg(not(loom))]
use std::cell::RefCell;
#[cfg(not(loom))]
use std::sync::RwLockReadGuard;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

static GENERATION: AtomicU32 = AtomicU32::new(0);

static GATE: RwLock<()> = RwLock::new(());

/// Whether some thread has the turn to fork.
static TURN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread runs without the GIL.
    static DETACHED: Cell<bool> = const { Cell::new(false) };
    /// The number of locks that it holds or waits for and that need a share of the gate.
    #[cfg(not(loom))]
    static LOCKS: Cell<u32> = const { Cell::new(0) };
    #[cfg(not(loom))]
    static SHARE: Cell<Option<RwLockReadGuard<'static, ()>>> = const { Cell::new(None) };
    /// Actions postponed until it releases its last lock.
    #[cfg(not(loom))]
    static POSTPONED: RefCell<Vec<Box<dyn FnOnce()>>> = const { RefCell::new(Vec::new()) };
    static CLOSED: Cell<Option<RwLockWriteGuard<'static, ()>>> = const { Cell::new(None) };
}

/// The number of forks between the process that loaded this module and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Record that this is the child of a fork. Call it once in each child, before anything else of this crate.
pub fn entered_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Take the turn to fork. Returns false if another thread has it; release the GIL before trying again.
pub fn take_turn() -> bool {
    !TURN.swap(true, Ordering::Acquire)
}

/// Return the turn. Call it after a fork, in the parent and in the child.
pub fn give_turn() {
    TURN.store(false, Ordering::Release);
}

/// Wait until no thread without the GIL is at a lock, and block new ones. Call it before a fork, with the turn and the
/// GIL.
pub fn close_gate() {
    let closed = CLOSED.take();
    CLOSED.set(Some(closed.unwrap_or_else(|| GATE.write().unwrap_or_else(PoisonError::into_inner))));
}

/// Admit threads to locks again. Call it after a fork, in the parent and in the child, in the thread that forked.
pub fn open_gate() {
    drop(CLOSED.take());
}

/// Run `work` without the GIL, in such a way that a fork waits while it is at a lock.
pub fn detached<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restore::after_setting(true);
    work()
}

/// Run `work` with the GIL, in a thread that is otherwise without it.
pub fn attached<T>(work: impl FnOnce() -> T) -> T {
    let _restored = Restore::after_setting(false);
    work()
}

/// Drop a value that may own Python objects; a fork waits for it if this thread does not hold the GIL. Call it without
/// locks.
pub fn release<T>(value: T) {
    #[cfg(not(loom))]
    let _pass = Pass::new();
    drop(value);
}

/// Run `act`, which may need the GIL: now or, in a thread without the GIL, when its last lock is released.
pub fn once_unlocked(act: impl FnOnce() + 'static) {
    #[cfg(not(loom))]
    if DETACHED.get() && LOCKS.get() > 0 {
        return POSTPONED.with_borrow_mut(|postponed| postponed.push(Box::new(act)));
    }
    act();
}

/// Restores `DETACHED`, even if the work panics.
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

/// Permission to be at a lock. For a thread without the GIL, it includes a share of the gate. Loom's locks need none.
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

    // Cold: publishers, which lock for each event, hold the GIL.
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
