//! Locks and shared pointers: those of parking_lot and std or, under `cfg(loom)`, those of loom, which explores every
//! interleaving.
//!
//! A [`Mutex`] is held for a few statements at most, and never while sleeping. Threads that wait for something sleep on
//! its [`Bell`].

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::time::Instant;

#[cfg(loom)]
use loom::sync as std_sync;
#[cfg(not(loom))]
use std::sync as std_sync;

#[cfg(not(loom))]
use super::fork::Pass;

pub use std_sync::Arc;
pub use std_sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(loom)]
type RawMutex<T> = loom::sync::Mutex<T>;
#[cfg(loom)]
type RawGuard<'a, T> = loom::sync::MutexGuard<'a, T>;
#[cfg(not(loom))]
type RawMutex<T> = parking_lot::Mutex<T>;
#[cfg(not(loom))]
type RawGuard<'a, T> = parking_lot::MutexGuard<'a, T>;

/// A lock that a fork waits for; see [`fork`](super::fork).
#[derive(Debug, Default)]
pub struct Mutex<T>(RawMutex<T>);

/// A locked [`Mutex`].
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    // The order matters: dropping unlocks first, then leaves the gate.
    guard: RawGuard<'a, T>,
    #[cfg(not(loom))]
    _pass: Pass,
}

impl<T> Mutex<T> {
    /// Create an unlocked lock.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
        Self(parking_lot::const_mutex(value))
    }

    /// Create an unlocked lock.
    #[cfg(loom)]
    pub fn new(value: T) -> Self {
        Self(RawMutex::new(value))
    }

    /// Acquire the lock.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let pass = Pass::new();
        MutexGuard { guard: self.0.lock(), _pass: pass }
    }

    /// Acquire the lock.
    #[cfg(loom)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { guard: self.0.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The value, which nobody else can reach.
    #[cfg(not(loom))]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    /// Acquire the lock if nobody holds it.
    #[cfg(not(loom))]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let pass = Pass::new();
        Some(MutexGuard { guard: self.0.try_lock()?, _pass: pass })
    }

    /// Acquire the lock if nobody holds it.
    #[cfg(loom)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(MutexGuard { guard: self.0.try_lock().ok()? })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// Threads sleep on it until the epoch of the thing they wait for has passed. Waking costs the same for one thread and
/// for a thousand.
///
/// A std condition variable with its own lock: neither has state outside itself that a fork could copy.
#[derive(Debug)]
pub struct Bell {
    /// The newest epoch that threads were woken for.
    woken_for: std_sync::Mutex<u64>,
    changed: std_sync::Condvar,
}

impl Bell {
    /// A bell that has woken no thread yet.
    pub fn new() -> Self {
        Self { woken_for: std_sync::Mutex::new(0), changed: std_sync::Condvar::new() }
    }

    /// Wake every thread that waits for an epoch before `epoch` to pass.
    pub fn wake(&self, epoch: u64) {
        let mut woken_for = self.woken_for.lock().unwrap_or_else(PoisonError::into_inner);
        *woken_for = epoch.max(*woken_for);
        drop(woken_for);
        self.changed.notify_all();
    }

    /// Sleep until woken for an epoch after `epoch`, or until `deadline`. Under loom, no sleep ends at its deadline.
    pub fn sleep(&self, epoch: u64, deadline: Option<Instant>) {
        let mut woken_for = self.woken_for.lock().unwrap_or_else(PoisonError::into_inner);
        while *woken_for <= epoch && !is_past(deadline) {
            woken_for = match deadline {
                #[cfg(not(loom))]
                Some(deadline) => {
                    let rest = deadline.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(woken_for, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.changed.wait(woken_for).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is a deadline and it has passed.
pub fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Share bytes in a single allocation of their size. Loom tracks it, so that a leak fails the model.
pub fn share(bytes: &[u8]) -> Arc<[u8]> {
    let shared = std::sync::Arc::from(bytes);
    #[cfg(loom)]
    let shared = Arc::from_std(shared);
    shared
}
