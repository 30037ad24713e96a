//! The cancel event of a run: a flag that is set once.

use std::any::Any;
use std::sync::Arc as StdArc;
use std::time::Instant;

use super::sync::{AtomicBool, Condvar, Mutex, Ordering, is_past};
use super::wake::{Port, Waiters};

/// What is called once when a [`CancelEvent`] is set.
pub trait Callback: Any + Send {
    /// Run it.
    fn call(self: Box<Self>);
}

/// A flag that is set once, with those who wait for it and callbacks.
pub struct CancelEvent {
    /// Never goes back to false. Set under `state`, read without.
    set: AtomicBool,
    state: Mutex<State>,
    /// Goes with `state`.
    changed: Condvar,
    key: u64,
}

/// Guarded by `CancelEvent.state`.
struct State {
    callbacks: Vec<Box<dyn Callback>>,
    waiters: Waiters,
}

impl CancelEvent {
    /// An event that is not set; `key` names it among the things a [`Port`] reports.
    pub fn new(key: u64) -> Self {
        Self {
            set: AtomicBool::new(false),
            state: Mutex::new(State { callbacks: Vec::new(), waiters: Waiters::new(key) }),
            changed: Condvar::new(),
            key,
        }
    }

    /// Its name among the things a [`Port`] reports.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Set it, wake who waits, then call the callbacks in this thread. Only the first call does anything.
    pub fn set(&self) {
        let mut state = self.state.lock();
        if self.is_set() {
            return;
        }
        self.set.store(true, Ordering::Release);
        let callbacks = std::mem::take(&mut state.callbacks);
        let wakeup = state.waiters.changed();
        drop(state);
        wakeup.send(&self.changed);
        for callback in callbacks {
            callback.call();
        }
    }

    /// Wait until it is set, until `deadline` at most; whether it is set.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        state.waiters.begin_wait();
        while !self.is_set() && !is_past(deadline) {
            state = self.changed.wait(state, deadline);
        }
        state.waiters.end_wait();
        self.is_set()
    }

    /// Have `port` rung when it is set; `false` if it is set already.
    pub fn arm(&self, port: &StdArc<Port>) -> bool {
        let mut state = self.state.lock();
        let epoch = state.waiters.epoch();
        !self.is_set() && state.waiters.arm(epoch, port)
    }

    /// Have `callback` called when it is set; at once, in this thread, if it is set already.
    pub fn add_callback(&self, callback: Box<dyn Callback>) {
        let mut state = self.state.lock();
        if !self.is_set() {
            state.callbacks.push(callback);
            return;
        }
        drop(state);
        callback.call();
    }

    /// Take the callbacks out; they will not be called. For the caller to drop without a lock.
    pub fn take_callbacks(&self) -> Vec<Box<dyn Callback>> {
        std::mem::take(&mut self.state.lock().callbacks)
    }

    /// Show each callback to `visit`: for a garbage collector, which must be shown the same at each look. Nobody who
    /// holds the lock waits for one.
    pub fn visit_callbacks(&self, mut visit: impl FnMut(&dyn Callback)) {
        let state = self.state.lock();
        state.callbacks.iter().for_each(|callback| visit(callback.as_ref()));
    }
}
