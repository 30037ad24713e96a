//! The part of a `Subscription` without Python objects, shared with its awaits, frames and waits.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::json;
use crate::core::subscription::Waiting;
use crate::core::{self, Chunk, Epoch, Event, Key, NotReady, Port};

/// A reader that is registered for its run's next change; see [`core::Subscription::arm`].
pub type Armed = Waiting<Arc<core::Subscription>>;

/// A reader of one run. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    core: Arc<core::Subscription>,
}

impl Reader {
    pub fn new(core: core::Subscription) -> Self {
        Self { core: Arc::new(core) }
    }

    /// The core's reader; `None` in a forked child, where it counts as closed and its locks must not be taken.
    pub fn open(&self) -> Option<&core::Subscription> {
        Some(&*self.core).filter(|core| !core.is_of_parent())
    }

    /// The core's reader in any process. In a forked child, call only what takes no lock there.
    pub fn core(&self) -> &core::Subscription {
        &self.core
    }

    /// The core's reader, for a thread that reads it without Python.
    pub fn share(&self) -> Arc<core::Subscription> {
        self.core.clone()
    }

    pub fn try_next(&self) -> Result<Event, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next()
    }

    pub fn try_next_chunk(&self, limit: usize) -> Result<Arc<Chunk>, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next_chunk(limit)
    }

    /// Bind the reader to the event loop named `owner`, unless another loop has awaited it.
    pub fn bind(&self, owner: Key) -> PyResult<()> {
        if self.core.bind(owner) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("this subscription belongs to another event loop; subscribe once per loop"))
    }

    /// Register `port` for the next change after `epoch`, for as long as the returned guard lives. Returns `None` if
    /// there may be something to read already.
    pub fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> Option<Armed> {
        core::Subscription::arm(self.share(), epoch, port)
    }

    /// Why there is nothing more to read.
    pub fn why_ended(&self) -> &'static str {
        match self.open() {
            None => "this subscription belongs to the parent process; subscribe again in this one",
            Some(open) if open.is_closed() => "the subscription is closed",
            Some(_) => "the run has finished, and its terminal event has been read",
        }
    }

    /// The event as a dict.
    pub fn decode<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
        json::decode(py, &event.json(self.core.run_id()))
    }
}
