//! Waiting for changes: threads wait on a bell, event loops on a port.
//!
//! # No lost wake-up
//!
//! Everything that can be waited for has an epoch, which each change increments. A reader that finds nothing remembers
//! the epoch that it saw under the lock, and waits, or arms its port, only if the epoch is still the same.
//!
//! # The cost for a publisher
//!
//! One notification for all threads, and one wake-up for each event loop that is armed. A loop is armed by its first
//! waiting reader and disarmed by the first change, so a burst wakes it once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use super::fork::once_unlocked;
use super::sync::{Bell, Mutex, is_past};

/// Identifies something that can be waited for, uniquely in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl Key {
    /// A new key.
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

/// The number of changes of something that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(u64);

/// One event loop: how to wake it, and what has changed since it was last woken.
pub struct Port {
    /// Keys of what has changed. This lock is a leaf.
    ready: Mutex<Vec<Key>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Port {
    /// A port whose loop is woken by `wake`, which the thread that makes a change calls without locks.
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

/// The waiters for one thing, guarded by the lock of that thing.
pub struct Waiters {
    key: Key,
    epoch: Epoch,
    /// The loops to wake at the next change. Weak, so that a dropped loop costs only its entry here.
    ports: Vec<Weak<Port>>,
    /// The number of waiting threads, since waking costs a system call even if there are none.
    threads: usize,
}

/// Whom to wake. Created under the lock, to be sent after releasing it.
#[must_use = "the waiters sleep until this is sent"]
pub struct Wakeup {
    key: Key,
    epoch: Epoch,
    ports: Vec<Weak<Port>>,
    threads: bool,
}

impl Waiters {
    /// No waiters for the thing with this key.
    pub fn new(key: Key) -> Self {
        Self { key, epoch: Epoch(0), ports: Vec::new(), threads: 0 }
    }

    /// The number of changes so far.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Record a change.
    pub fn changed(&mut self) -> Wakeup {
        self.epoch.0 += 1;
        Wakeup { key: self.key, epoch: self.epoch, ports: std::mem::take(&mut self.ports), threads: self.threads > 0 }
    }

    /// Register `port` for the next change after `epoch`. Returns false if there was one already.
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
    /// Wake the loops, and the threads that sleep on `bell`. Call it without the lock that guards the waiters.
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

/// Something whose waiters are behind a lock.
pub trait Waitable {
    /// Access the waiters under the lock.
    fn with_waiters<T>(&self, act: impl FnOnce(&mut Waiters) -> T) -> T;

    /// The bell that its threads sleep on.
    fn bell(&self) -> &Bell;

    /// Sleep until the first change after `epoch`, or until `deadline`. Call it without the GIL and without locks.
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

/// Counts a waiting thread until dropped.
struct Counted<'a, W: Waitable + ?Sized>(&'a W);

impl<W: Waitable + ?Sized> Drop for Counted<'_, W> {
    fn drop(&mut self) {
        self.0.with_waiters(|waiters| waiters.threads -= 1);
    }
}
