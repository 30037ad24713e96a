//! A pending question to a store, for awaits and blocking calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::errors::StoreError;
use crate::core::{Epoch, Key, Port};

/// How long to wait for an answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A pending question to a store. Dropping it abandons the answer.
pub trait PendingAnswer: Send + Sync {
    /// The key that a [`Port`] reports.
    fn key(&self) -> Key;
    /// Register `port` for the answer; see [`Answer::arm`].
    fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> bool;
    /// Take the answer, or return the epoch to wait for if there is none yet.
    fn take(&self, py: Python<'_>) -> Result<PyResult<Py<PyAny>>, Epoch>;
    /// Block until the answer arrives or `deadline` passes. Call without the GIL.
    fn wait(&self, deadline: Option<Instant>);
}

/// The exception for an answer that did not arrive in time.
pub fn timed_out() -> PyErr {
    let seconds = ANSWER_TIMEOUT.as_secs();
    StoreError::new_err(format!("the store did not answer within {seconds} seconds; see the log, or stats()['store']"))
}
