//! The cancel event of a run: a flag that is set once.

use std::any::Any;
use std::sync::Arc as StdArc;
use std::time::Instant;

#[cfg(not(loom))]
use super::fork::release;
use super::sync::{AtomicBool, Bell, Mutex, Ordering};
use super::wake::{Key, Port, Waitable, Waiters};

/// Called once when a [`CancelEvent`] is set.
pub trait Callback: Any + Send {
    /// Run it.
    fn call(self: Box<Self>);
}

/// A flag that is set once, with waiters and callbacks.
pub struct CancelEvent {
    /// Never reset. Written under `state`, read without it.
    set: AtomicBool,
    state: Mutex<State>,
    bell: Bell,
    key: Key,
}

/// Guarded by `CancelEvent.state`.
struct State {
    callbacks: Vec<Box<dyn Callback>>,
    waiters: Waiters,
    reason: Option<&'static str>,
}

impl CancelEvent {
    /// An event that is not set; a [`Port`] reports it as `key`.
    pub fn new(key: Key) -> Self {
        Self {
            set: AtomicBool::new(false),
            state: Mutex::new(State { callbacks: Vec::new(), waiters: Waiters::new(key), reason: None }),
            bell: Bell::new(),
            key,
        }
    }

    /// The key that a [`Port`] reports.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Set it, wake the waiters, then call the callbacks in this thread. Only the first call has an effect.
    pub fn set(&self) {
        self.set_for(None);
    }

    /// Why it was set, if nobody requested it.
    pub fn reason(&self) -> Option<&'static str> {
        self.state.lock().reason
    }

    /// Like [`CancelEvent::set`], with a reason if nobody requested it.
    pub fn set_for(&self, reason: Option<&'static str>) {
        let mut state = self.state.lock();
        if self.is_set() {
            return;
        }
        state.reason = reason;
        self.set.store(true, Ordering::Release);
        let callbacks = std::mem::take(&mut state.callbacks);
        let wakeup = state.waiters.changed();
        drop(state);
        wakeup.send(&self.bell);
        for callback in callbacks {
            callback.call();
        }
    }

    /// Block until it is set, or until `deadline`. Returns whether it is set. Call it without the GIL and without
    /// locks.
    pub fn wait(&self, deadline: Option<Instant>) -> bool {
        let unset = Some(self.state.lock().waiters.epoch()).filter(|_| !self.is_set());
        if let Some(epoch) = unset {
            self.sleep(epoch, deadline);
        }
        self.is_set()
    }

    /// Register `port` for when it is set. Returns false if it is set already.
    pub fn arm(&self, port: &StdArc<Port>) -> bool {
        let mut state = self.state.lock();
        let epoch = state.waiters.epoch();
        !self.is_set() && state.waiters.arm(epoch, port)
    }

    /// Call `callback` when it is set; immediately, in this thread, if it is set already.
    pub fn add_callback(&self, callback: Box<dyn Callback>) {
        let mut state = self.state.lock();
        if !self.is_set() {
            state.callbacks.push(callback);
            return;
        }
        drop(state);
        callback.call();
    }

    /// Remove and return the callbacks, which will not be called. The caller drops them without locks.
    pub fn take_callbacks(&self) -> Vec<Box<dyn Callback>> {
        std::mem::take(&mut self.state.lock().callbacks)
    }

    /// Pass each callback to `visit`, for a garbage collector, which must see the same ones each time. No thread waits
    /// for a collection while it holds this lock.
    pub fn visit_callbacks(&self, mut visit: impl FnMut(&dyn Callback)) {
        let state = self.state.lock();
        state.callbacks.iter().for_each(|callback| visit(callback.as_ref()));
    }
}

impl Waitable for CancelEvent {
    fn with_waiters<T>(&self, act: impl FnOnce(&mut Waiters) -> T) -> T {
        act(&mut self.state.lock().waiters)
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }
}

// The last reference may be dropped without the GIL.
#[cfg(not(loom))]
impl Drop for CancelEvent {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.state.get_mut().callbacks));
    }
}
