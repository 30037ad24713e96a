//! The answer to a question to the engine: set once, awaited by a thread or an event loop.

use std::sync::Arc as StdArc;
use std::time::Instant;

use crate::core::sync::{Bell, Mutex};
use crate::core::wake::{Epoch, Key, Port, Waitable, Waiters};

use super::store::{Error, Result};

/// An answer that may not be there yet.
pub struct Answer<T> {
    key: Key,
    /// This lock is a leaf.
    state: Mutex<State<T>>,
    bell: Bell,
}

struct State<T> {
    value: Value<T>,
    waiters: Waiters,
}

enum Value<T> {
    Pending,
    Given(Result<T>),
    Taken,
    /// Nobody waits for it any more.
    Abandoned,
}

impl<T> Answer<T> {
    /// An answer that is not there yet.
    pub fn new() -> StdArc<Self> {
        let key = Key::new();
        let state = State { value: Value::Pending, waiters: Waiters::new(key) };
        StdArc::new(Self { key, state: Mutex::new(state), bell: Bell::new() })
    }

    /// The key that a [`Port`] reports.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Set the answer.
    ///
    /// # Errors
    ///
    /// Nobody waits for it any more; returns the answer, so that the caller can undo its work.
    pub fn give(&self, answer: Result<T>) -> std::result::Result<(), Result<T>> {
        let mut state = self.state.lock();
        if !matches!(state.value, Value::Pending) {
            return Err(answer);
        }
        state.value = Value::Given(answer);
        let wakeup = state.waiters.changed();
        drop(state);
        wakeup.send(&self.bell);
        Ok(())
    }

    /// Take the answer, if it is there.
    ///
    /// # Errors
    ///
    /// There is none yet; the epoch is for [`Answer::arm`] and [`Waitable::sleep`].
    pub fn take(&self) -> std::result::Result<Result<T>, Epoch> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.value, Value::Taken) {
            Value::Given(answer) => Ok(answer),
            other => {
                state.value = other;
                Err(state.waiters.epoch())
            }
        }
    }

    /// Stop waiting. Returns the answer if it is there already.
    pub fn abandon(&self) -> Option<Result<T>> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.value, Value::Abandoned) {
            Value::Given(answer) => Some(answer),
            _ => None,
        }
    }

    /// Register `port` for the answer. Returns false if it is there already.
    pub fn arm(&self, epoch: Epoch, port: &StdArc<Port>) -> bool {
        self.state.lock().waiters.arm(epoch, port)
    }

    /// Block until the answer is there, or until `deadline`. Call it without the GIL.
    pub fn wait(&self, deadline: Option<Instant>) {
        let state = self.state.lock();
        let epoch = state.waiters.epoch();
        let waits = matches!(state.value, Value::Pending);
        drop(state);
        if waits {
            self.sleep(epoch, deadline);
        }
    }
}

/// The obligation to give an answer. One that is dropped without an answer gives an error.
pub struct Promise<T>(StdArc<Answer<T>>);

impl<T> Promise<T> {
    /// The obligation to give this answer.
    pub fn new(answer: StdArc<Answer<T>>) -> Self {
        Self(answer)
    }

    /// Set the answer, as [`Answer::give`] does.
    ///
    /// # Errors
    ///
    /// Nobody waits for it any more; returns the answer.
    pub fn give(&self, answer: Result<T>) -> std::result::Result<(), Result<T>> {
        self.0.give(answer)
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let _ = self.give(Err(Error::Failed("the store's thread ended before it answered".to_owned())));
    }
}

impl<T> Waitable for Answer<T> {
    fn with_waiters<R>(&self, act: impl FnOnce(&mut Waiters) -> R) -> R {
        act(&mut self.state.lock().waiters)
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }
}
