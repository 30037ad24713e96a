//! `Subscription.frames`: ready server-sent events, for an event loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::awaitable::{Awaitable, Wish};
use super::coding::{CHUNK, Coding, HEARTBEAT};
use super::loops::{LoopPort, Resume, Wait};
use super::reader::Reader;
use crate::core::NotReady;
use crate::core::sync::Mutex;

/// What `Subscription.frames` returns: an asynchronous iterator that can also be polled, but not both at a time.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Frames {
    reader: Arc<Reader>,
    heartbeat: Option<Duration>,
    /// The wait of the last poll that found nothing, and when its heartbeat is due.
    polling: Mutex<Option<(Wait, Option<Instant>)>>,
}

impl Frames {
    pub fn new(reader: Arc<Reader>, heartbeat: Option<Duration>) -> Self {
        Self { reader, heartbeat, polling: Mutex::new(None) }
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        self.heartbeat.and_then(|heartbeat| Instant::now().checked_add(heartbeat))
    }
}

#[pymethods]
impl Frames {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self) -> Awaitable {
        Awaitable::new(Wish::Frames(self.reader.clone()), self.next_heartbeat())
    }

    /// Close the subscription, which ends the iteration. To be awaited.
    fn aclose(&self, py: Python<'_>) -> Awaitable {
        self.reader.core().close();
        Awaitable::new(Wish::Value(py.None()), None)
    }

    /// Take the next chunk without a task; to be called where an event loop runs.
    ///
    /// Args:
    ///     callback: what the loop calls, once and without arguments, as soon as polling again may return a chunk or a
    ///         heartbeat; only if None is returned.
    ///     chunked: return it in HTTP/1.1's chunked transfer coding (RFC 9112, 7.1), ready to be written to a
    ///         connection.
    ///
    /// Returns:
    ///     A chunk or a heartbeat; empty bytes at the end; None if there is nothing yet.
    ///
    /// Raises:
    ///     RuntimeError: another event loop has awaited the subscription before.
    #[pyo3(signature = (callback, /, *, chunked=false))]
    fn poll<'py>(&self, py: Python<'py>, callback: Py<PyAny>, chunked: bool) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let coding = if chunked { Coding::Chunked } else { Coding::Identity };
        let last = self.polling.lock().take();
        let due = last.as_ref().and_then(|(_, due)| *due);
        drop(last);
        let (port, running) = LoopPort::current(py)?;
        self.reader.bind(port.key)?;
        loop {
            let epoch = match self.reader.try_next_chunk(CHUNK) {
                Ok(chunk) => return Ok(Some(coding.shared(py, &chunk))),
                Err(NotReady::Ended) => return Ok(Some(PyBytes::new(py, b""))),
                Err(NotReady::Pending(epoch)) => epoch,
            };
            if due.is_some_and(|due| Instant::now() >= due) {
                return Ok(Some(coding.of(py, HEARTBEAT)));
            }
            if let Some(armed) = self.reader.arm(epoch, &port.core) {
                let due = due.or_else(|| self.next_heartbeat());
                let wait = port.add(&running, self.reader.core().key(), Resume::Call(callback), due, Some(armed))?;
                let last = self.polling.lock().replace((wait, due));
                drop(last);
                return Ok(None);
            }
        }
    }
}
