//! What one event loop waits for, by what ends a wait: a change, or a deadline.
//!
//! What a deadline costs does not depend on how many others wait: they are kept in the order of their time.

use std::collections::BTreeMap;
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyException;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;

use crate::core::Key;
use crate::py::once::intern;

/// Names a wait of a loop; later waits have larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Token(u64);

struct Waiter {
    future: Py<PyAny>,
    deadline: Option<Instant>,
}

/// The waits of one loop, and its timer.
#[derive(Default)]
pub struct Waits {
    /// By what they wait for, then in the order they came.
    by_key: FxHashMap<Key, BTreeMap<Token, Waiter>>,
    /// Those that have a deadline, soonest first, with what they wait for.
    by_deadline: BTreeMap<(Instant, Token), Key>,
    next_token: Token,
    /// The one timer of the loop: when it goes off, and its `TimerHandle`.
    pub timer: Option<(Instant, Py<PyAny>)>,
}

/// Resolve the future of a wait that is over. An error that is not an `Exception`, such as a Ctrl-C that came meanwhile, is
/// for the loop to raise; any other says that the future was cancelled meanwhile.
pub fn resolve(future: &Py<PyAny>, py: Python<'_>) -> PyResult<()> {
    match future.call_method1(py, intern!(py, "set_result"), (py.None(),)) {
        Err(error) if !error.is_instance_of::<PyException>(py) => Err(error),
        _ => Ok(()),
    }
}

impl Waits {
    /// Add a wait for `key`, whose end resolves `future`, until `deadline` if there is one.
    pub fn add(&mut self, key: Key, future: Py<PyAny>, deadline: Option<Instant>) -> Token {
        let token = self.next_token;
        self.next_token = Token(token.0 + 1);
        self.by_key.entry(key).or_default().insert(token, Waiter { future, deadline });
        if let Some(at) = deadline {
            self.by_deadline.insert((at, token), key);
        }
        token
    }

    /// Whether no timer goes off at `deadline` or before.
    pub fn needs_timer(&self, deadline: Instant) -> bool {
        self.timer.as_ref().is_none_or(|(at, _)| deadline < *at)
    }

    /// The soonest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first_key_value().map(|((at, _), _)| *at)
    }

    /// Take the future of one wait out, if it is still there.
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

    /// Take the futures of all waits for `key` out, in the order they came.
    pub fn take(&mut self, key: Key) -> Vec<Py<PyAny>> {
        let waiters = self.by_key.remove(&key).unwrap_or_default();
        for (token, waiter) in &waiters {
            if let Some(at) = waiter.deadline {
                self.by_deadline.remove(&(at, *token));
            }
        }
        waiters.into_values().map(|waiter| waiter.future).collect()
    }

    /// Take the futures of all waits out whose deadline has come at `now`, soonest first.
    pub fn take_late(&mut self, now: Instant) -> Vec<Py<PyAny>> {
        let mut late = Vec::new();
        while let Some((&(at, token), &key)) = self.by_deadline.first_key_value()
            && at <= now
        {
            self.by_deadline.pop_first();
            late.extend(self.remove(key, token));
        }
        late
    }

    /// Show the Python objects to a garbage collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for waiter in self.by_key.values().flat_map(BTreeMap::values) {
            visit.call(&waiter.future)?;
        }
        self.timer.iter().try_for_each(|(_, timer)| visit.call(timer))
    }
}
