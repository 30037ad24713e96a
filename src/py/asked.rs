//! A question that a store has been asked, as an await and a wait see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::errors::StoreError;
use crate::core::{Epoch, Key, Port};

/// How long an answer of the store's is waited for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A question that a store has been asked. Dropping it gives the answer up.
pub trait Asked: Send + Sync {
    /// Its name among the things a [`Port`] reports.
    fn key(&self) -> Key;
    /// Register `port` for the answer; see [`Answer::arm`].
    fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> bool;
    /// The answer, if there is one.
    fn take(&self, py: Python<'_>) -> Result<PyResult<Py<PyAny>>, Epoch>;
    /// Wait for it, without the GIL.
    fn wait(&self, deadline: Option<Instant>);
}

/// What is raised when no answer comes.
pub fn late() -> PyErr {
    let seconds = ANSWER_TIMEOUT.as_secs();
    StoreError::new_err(format!("the store did not answer within {seconds} seconds; see the log, or stats()['store']"))
}
