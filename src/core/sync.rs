//! Locks and shared pointers: `std`'s, or loom's under `cfg(loom)` so that every interleaving of the core can be explored.
//!
//! `std`'s locks have no state but their own. Those of `parking_lot` share one table in the process, which a fork may
//! copy while another thread has a part of it locked: then a child hangs even on locks that it has made itself.
//!
//! A lock that was held during a panic is taken all the same: the core does not panic, and what it guards is whole
//! between any two statements.

use std::sync::{PoisonError, TryLockError};
use std::time::Instant;

#[cfg(loom)]
use loom::sync as locks;
#[cfg(not(loom))]
use std::sync as locks;

pub use locks::atomic::{AtomicBool, AtomicU64, Ordering};
pub use locks::{Arc, MutexGuard};

/// A lock.
#[derive(Debug, Default)]
pub struct Mutex<T>(locks::Mutex<T>);

/// What threads wait on for what a [`Mutex`] guards.
#[derive(Debug, Default)]
pub struct Condvar(locks::Condvar);

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self(locks::Mutex::new(value))
    }

    /// A lock that nobody holds.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self(locks::Mutex::new(value))
    }

    /// Wait for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take the lock if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Condvar {
    /// One that nobody waits on.
    pub fn new() -> Self {
        Self(locks::Condvar::new())
    }

    /// Wait until woken, or until `deadline`; perhaps for less. Never times out under loom.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, deadline: Option<Instant>) -> MutexGuard<'a, T> {
        match deadline {
            #[cfg(not(loom))]
            Some(deadline) => {
                let patience = deadline.saturating_duration_since(Instant::now());
                self.0.wait_timeout(guard, patience).unwrap_or_else(PoisonError::into_inner).0
            }
            _ => self.0.wait(guard).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Wake all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Whether there is a deadline, and it has passed.
pub fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Share bytes: one allocation of their size. Loom counts it, so that one that is never freed fails the model.
pub fn share(bytes: &[u8]) -> Arc<[u8]> {
    let shared = std::sync::Arc::from(bytes);
    #[cfg(loom)]
    let shared = Arc::from_std(shared);
    shared
}
