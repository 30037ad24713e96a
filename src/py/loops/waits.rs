//! The waits of one event loop. Each ends with a change or at its deadline.
//!
//! Deadlines are kept in order, so a tick visits only the waits that are due.

use std::collections::BTreeMap;
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyException;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;

use crate::core::Key;
use crate::py::once::intern;

/// Identifies a wait of a loop; later waits have larger tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Token(u64);

struct Waiter {
    future: Py<PyAny>,
    deadline: Option<Instant>,
}

/// The waits of one loop, and its timer.
#[derive(Default)]
pub struct Waits {
    /// By key, then in the order they were added.
    by_key: FxHashMap<Key, BTreeMap<Token, Waiter>>,
    /// The keys of the waits that have a deadline, earliest first.
    by_deadline: BTreeMap<(Instant, Token), Key>,
    next_token: Token,
    /// The loop's one timer: its time and its `TimerHandle`.
    pub timer: Option<(Instant, Py<PyAny>)>,
}

/// Resolve the future of a wait that is over. An `Exception` means that the future was cancelled meanwhile, and is
/// ignored; anything else, such as KeyboardInterrupt, is returned for the loop to raise.
pub fn resolve(future: &Py<PyAny>, py: Python<'_>) -> PyResult<()> {
    match future.call_method1(py, intern!(py, "set_result"), (py.None(),)) {
        Err(error) if !error.is_instance_of::<PyException>(py) => Err(error),
        _ => Ok(()),
    }
}

impl Waits {
    /// Add a wait for `key`, until `deadline` if there is one; `future` is resolved when it ends.
    pub fn add(&mut self, key: Key, future: Py<PyAny>, deadline: Option<Instant>) -> Token {
        let token = self.next_token;
        self.next_token = Token(token.0 + 1);
        self.by_key.entry(key).or_default().insert(token, Waiter { future, deadline });
        if let Some(at) = deadline {
            self.by_deadline.insert((at, token), key);
        }
        token
    }

    /// Whether no timer is set for `deadline` or earlier.
    pub fn needs_timer(&self, deadline: Instant) -> bool {
        self.timer.as_ref().is_none_or(|(at, _)| deadline < *at)
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first_key_value().map(|((at, _), _)| *at)
    }

    /// Remove one wait and return its future, if it is still there.
    pub fn remove(&mut self, key: Key, token: Token) -> Option<Py<PyAny>> {
        let waiters = self.by_key.get_mut(&key)?;
        let waiter = waiters.remove(&token)?;
        if waiters.is_empty() {
            self.by_key.remove(&key);
        }
        if let Some(at) = waiter.deadline {
            self.by_deadline.remove(&(at, token));
        }
        Some(waiter.future)
    }

    /// Remove all waits for `key` and return their futures, in the order they were added.
    pub fn take(&mut self, key: Key) -> Vec<Py<PyAny>> {
        let waiters = self.by_key.remove(&key).unwrap_or_default();
        for (token, waiter) in &waiters {
            if let Some(at) = waiter.deadline {
                self.by_deadline.remove(&(at, *token));
            }
        }
        waiters.into_values().map(|waiter| waiter.future).collect()
    }

    /// Remove all waits whose deadline has passed at `now` and return their futures, earliest first.
    pub fn take_due(&mut self, now: Instant) -> Vec<Py<PyAny>> {
        let mut due = Vec::new();
        while let Some((&(at, token), &key)) = self.by_deadline.first_key_value()
            && at <= now
        {
            self.by_deadline.pop_first();
            due.extend(self.remove(key, token));
        }
        due
    }

    /// Visit the Python objects for the garbage collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for waiter in self.by_key.values().flat_map(BTreeMap::values) {
            visit.call(&waiter.future)?;
        }
        self.timer.iter().try_for_each(|(_, timer)| visit.call(timer))
    }
}
