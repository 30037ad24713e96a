//! The part of a `Subscription` without Python: what an await, its frames and a wait on a loop share with it.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use super::json;
use crate::core::subscription::Waiting;
use crate::core::{self, Chunk, Epoch, Event, Key, NotReady, Port};

/// A wait of a reader for its run; see [`core::Subscription::arm`].
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

    /// The core's reader; `None` in a forked child, where it is closed and its locks must not be taken.
    pub fn open(&self) -> Option<&core::Subscription> {
        Some(&*self.core).filter(|core| !core.is_of_parent())
    }

    /// The core's reader, in whichever process: for what takes no lock there.
    pub fn core(&self) -> &core::Subscription {
        &self.core
    }

    /// The core's reader, for a thread that reads it in place of Python.
    pub fn share(&self) -> Arc<core::Subscription> {
        self.core.clone()
    }

    pub fn try_next(&self) -> Result<Event, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next()
    }

    pub fn try_next_chunk(&self, limit: usize) -> Result<Arc<Chunk>, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next_chunk(limit)
    }

    /// Refuse any event loop but the first that has awaited it; `owner` names the loop.
    pub fn bind(&self, owner: Key) -> PyResult<()> {
        if self.core.bind(owner) {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("this subscription is read from another event loop; subscribe once for each loop"))
    }

    /// Register `port` for when there may be more to read than `epoch` said, as long as what this returns is kept; `None`
    /// if there may be more already.
    pub fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> Option<Armed> {
        core::Subscription::arm(self.share(), epoch, port)
    }

    /// Why there will be nothing more to read.
    pub fn why_ended(&self) -> &'static str {
        match self.open() {
            None => "this subscription belongs to the process that was forked; subscribe again in this one",
            Some(open) if open.is_closed() => "the subscription is closed",
            Some(_) => "the run has finished, and its terminal event has been read",
        }
    }

    /// The event as a dict.
    pub fn decode<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
        json::decode(py, &event.json(self.core.run_id()))
    }
}
