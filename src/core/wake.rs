//! Waiting for something to change: threads on a bell, event loops on a port.
//!
//! # No lost wake-up
//!
//! What can be waited for carries an epoch that every change raises. A reader that found nothing remembers the epoch it
//! saw under the lock; it waits, or arms its port, only if the epoch is still that one.
//!
//! # What a publisher pays
//!
//! One notification for all threads, and one wake-up for each event loop that is armed. A loop is armed by its first
//! waiting reader and disarmed by the first change, so a burst wakes it once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::fork::once_unlocked;
use super::sync::{Bell, Mutex, is_past};

/// What names a thing that can be waited for; no other thing of this process has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// A key that nothing has yet.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of changes of a thing that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// One event loop: how to wake it, and what has changed since it was last awake.
pub struct Port {
    /// Keys of what has changed; this lock is a leaf.
    ready: Mutex<Vec<Key>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Port {
    /// A port whose loop is woken by `wake`, which is called by whichever thread makes a change, with no lock held.
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { ready: Mutex::new(Vec::new()), wake }
    }

    /// Take the keys of what has changed. Any change after this wakes the loop again.
    pub fn take_ready(&self) -> Vec<Key> {
        std::mem::take(&mut *self.ready.lock())
    }

    fn notify(self: Arc<Self>, key: Key) {
        let mut ready = self.ready.lock();
        let asleep = ready.is_empty();
        ready.push(key);
        drop(ready);
        if asleep {
            once_unlocked(move || (self.wake)());
        }
    }
}

/// The waiters of one thing; guarded by the lock of that thing.
pub struct Waiters {
    key: Key,
    epoch: Epoch,
    /// The loops to wake at the next change. Weak, so that a loop that has gone costs nothing but its entry here.
    ports: Vec<Weak<Port>>,
    /// How many threads wait: waking costs a system call even if none does.
    threads: usize,
}

/// Whom to wake; taken out under the lock, to be sent after it.
#[must_use = "the waiters sleep until this is sent"]
pub struct Wakeup {
    key: Key,
    epoch: Epoch,
    ports: Vec<Weak<Port>>,
    threads: bool,
}

impl Waiters {
    /// No waiters of the thing named `key`.
    pub fn new(key: Key) -> Self {
        Self { key, epoch: Epoch(0), ports: Vec::new(), threads: 0 }
    }

    /// The number of changes so far.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Note a change.
    pub fn changed(&mut self) -> Wakeup {
        self.epoch.0 += 1;
        Wakeup { key: self.key, epoch: self.epoch, ports: std::mem::take(&mut self.ports), threads: self.threads > 0 }
    }

    /// Register `port` for the next change after `epoch`. Returns whether it is; if not, there was one already.
    pub fn arm(&mut self, epoch: Epoch, port: &Arc<Port>) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let port = Arc::downgrade(port);
        if !self.ports.iter().any(|armed| armed.ptr_eq(&port)) {
            self.ports.retain(|armed| armed.strong_count() > 0);
            self.ports.push(port);
        }
        true
    }
}

impl Wakeup {
    /// Wake the threads, which sleep on `bell`, and the loops. The lock that guards the waiters must not be held.
    pub fn send(self, bell: &Bell) {
        if self.threads {
            bell.wake(self.epoch.0);
        }
        for port in &self.ports {
            if let Some(port) = port.upgrade() {
                port.notify(self.key);
            }
        }
    }
}

/// A thing whose waiters are behind a lock.
pub trait Waitable {
    /// Use the waiters, under the lock.
    fn with_waiters<T>(&self, act: impl FnOnce(&mut Waiters) -> T) -> T;

    /// What its threads sleep on.
    fn bell(&self) -> &Bell;

    /// Sleep until the first change after `epoch`, or until `deadline`. Not to be called with the GIL or a lock held.
    fn sleep(&self, epoch: Epoch, deadline: Option<Instant>) {
        let waits = self.with_waiters(|waiters| {
            let waits = waiters.epoch == epoch && !is_past(deadline);
            waiters.threads += usize::from(waits);
            waits
        });
        if waits {
            let _counted = Counted(self);
            self.bell().sleep(epoch.0, deadline);
        }
    }
}

/// A thread that is counted among the waiters, until dropped.
struct Counted<'a, W: Waitable + ?Sized>(&'a W);

impl<W: Waitable + ?Sized> Drop for Counted<'_, W> {
    fn drop(&mut self) {
        self.0.with_waiters(|waiters| waiters.threads -= 1);
    }
}
