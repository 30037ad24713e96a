//! `Subscription.frames`: ready-made server-sent events for an event loop.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::awaitable::{Awaitable, Operation};
use super::reader::Reader;

/// The asynchronous iterator that `Subscription.frames` returns, over chunks of frames and heartbeats.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Frames {
    reader: Reader,
    heartbeat: Option<Duration>,
}

impl Frames {
    pub fn new(reader: Reader, heartbeat: Option<Duration>) -> Self {
        Self { reader, heartbeat }
    }
}

#[pymethods]
impl Frames {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self) -> Awaitable {
        let heartbeat = self.heartbeat.and_then(|heartbeat| Instant::now().checked_add(heartbeat));
        Awaitable::new(Operation::Frames(self.reader.clone()), heartbeat)
    }

    /// Close the subscription, which ends the iteration. Awaitable.
    fn aclose(&self, py: Python<'_>) -> Awaitable {
        self.reader.core().close();
        Awaitable::new(Operation::Value(py.None()), None)
    }
}
