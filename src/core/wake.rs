//! Who waits for something to change: threads on a condition variable, event loops on a port.
//!
//! # No lost wake-up
//!
//! What can be waited for carries an epoch that every change raises. A reader that found nothing remembers the epoch it
//! saw under the lock; it waits, or arms its port, only if the epoch is still that one.
//!
//! # What a publisher pays
//!
//! One notification for all threads, and one ring for each event loop that is armed. A loop is armed by its first reader
//! that waits and disarmed by the first change, so a burst rings it once.

use std::sync::{Arc as StdArc, Weak};

use super::sync::{Condvar, Mutex};

/// One event loop: how to wake it, and what has changed since it was last awake.
pub struct Port {
    /// Names of what has changed (`Waiters::key`); guarded by its own lock, a leaf.
    ready: Mutex<Vec<u64>>,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Port {
    /// A port whose loop is woken by `ring`, called by whatever thread makes a change, holding no lock.
    pub fn new(ring: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { ready: Mutex::new(Vec::new()), ring }
    }

    /// Take the keys of what has changed. Whatever changes after this rings again.
    pub fn take_ready(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ready.lock())
    }

    fn notify(&self, key: u64) {
        let mut ready = self.ready.lock();
        let asleep = ready.is_empty();
        ready.push(key);
        drop(ready);
        if asleep {
            (self.ring)();
        }
    }
}

/// Those who wait for one thing to change; guarded by the lock of that thing.
pub struct Waiters {
    key: u64,
    epoch: u64,
    /// The loops to ring at the next change. Weak, so that a loop that is gone costs nothing but its place here.
    ports: Vec<Weak<Port>>,
    /// How many threads wait: notifying costs a system call even if there is none.
    threads: usize,
}

/// Whom to wake, taken out under the lock, to be sent after it.
#[must_use = "those who wait sleep until this is sent"]
pub struct Wakeup {
    key: u64,
    ports: Vec<Weak<Port>>,
    threads: bool,
}

impl Waiters {
    /// Nobody waits for the thing named `key`.
    pub fn new(key: u64) -> Self {
        Self { key, epoch: 0, ports: Vec::new(), threads: 0 }
    }

    /// The number of changes so far.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Note a change.
    pub fn changed(&mut self) -> Wakeup {
        self.epoch += 1;
        Wakeup { key: self.key, ports: std::mem::take(&mut self.ports), threads: self.threads > 0 }
    }

    /// Count a thread that waits on the condition variable until [`Waiters::end_wait`].
    pub fn begin_wait(&mut self) {
        self.threads += 1;
    }

    /// A thread that waited does not any more.
    pub fn end_wait(&mut self) {
        self.threads -= 1;
    }

    /// Have `port` rung at the next change after `epoch`; `false` if that has been already.
    pub fn arm(&mut self, epoch: u64, port: &StdArc<Port>) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let port = StdArc::downgrade(port);
        if !self.ports.iter().any(|armed| armed.ptr_eq(&port)) {
            self.ports.retain(|armed| armed.strong_count() > 0);
            self.ports.push(port);
        }
        true
    }
}

impl Wakeup {
    /// Wake the threads, which wait on `changed`, and ring the loops. The lock that guards the waiters must not be held.
    pub fn send(self, changed: &Condvar) {
        if self.threads {
            changed.notify_all();
        }
        for port in &self.ports {
            if let Some(port) = port.upgrade() {
                port.notify(self.key);
            }
        }
    }
}
