//! `StreamGroup`: streams whose sockets leave Python.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::subscription::Subscription;
use crate::host::streams::{self, Group, Options, Stats};

/// Streams that a server started and that threads without Python continue.
///
/// The first stream starts a thread; thousands of streams have up to one thread per core. Each thread ends with its
/// last stream. A forked child has no streams.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct StreamGroup {
    group: Arc<Group>,
}

#[pymethods]
impl StreamGroup {
    #[new]
    fn new() -> Self {
        Self { group: Arc::default() }
    }

    /// Continue a response that has started, on a duplicate of its socket.
    ///
    /// Sends the subscription's events in the chunked transfer coding of HTTP/1.1, ends the body, then closes the
    /// connection. The caller must close its own descriptor without shutting the connection down, and must not read the
    /// subscription.
    ///
    /// Args:
    ///     fd: an open, connected stream socket with no pending writes.
    ///     subscription: what is sent. It is closed when the stream ends.
    ///     heartbeat: seconds without an event before a comment line is sent, more than 0; None for no heartbeats.
    ///     send_timeout: seconds a client may accept none of its pending data before it is dropped, more than 0.
    ///     retry: milliseconds a client is told to wait before it reconnects, if the stream is drained.
    ///
    /// Raises:
    ///     OSError: `fd` is not a socket, or the process is out of descriptors. Nothing has been sent.
    ///     ValueError: `fd` is negative, or `heartbeat` or `send_timeout` is not positive.
    #[pyo3(signature = (fd, subscription, *, heartbeat, send_timeout, retry))]
    fn add(
        &self,
        fd: RawFd,
        subscription: &Bound<'_, Subscription>,
        heartbeat: Option<f64>,
        send_timeout: f64,
        retry: u32,
    ) -> PyResult<()> {
        let heartbeat = heartbeat.map(|seconds| positive("heartbeat", seconds)).transpose()?;
        let options = Options { heartbeat, send_timeout: positive("send_timeout", send_timeout)?, retry };
        #[expect(unsafe_code, reason = "a descriptor comes from Python as a number")]
        // SAFETY: the descriptor is used for one system call, which fails if it is not open. If the caller has closed
        // it and the number was reused, the new file is duplicated instead: memory stays safe.
        let borrowed = (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) });
        let borrowed = borrowed.ok_or_else(|| PyValueError::new_err("'fd' must not be negative"))?;
        streams::hand_over(borrowed.try_clone_to_owned()?, subscription.get().reader().share(), options, &self.group)?;
        Ok(())
    }

    /// End the streams with a `retry:` hint. Thread-safe; does not block.
    ///
    /// Args:
    ///     grace: seconds a client may take to accept its pending data before it is dropped, more than 0.
    ///
    /// Raises:
    ///     ValueError: `grace` is not positive.
    fn drain(&self, grace: f64) -> PyResult<()> {
        streams::drain(&self.group, positive("grace", grace)?);
        Ok(())
    }

    /// The number of streams that have not ended.
    #[getter]
    fn open(&self) -> usize {
        self.group.open()
    }

    fn __repr__(&self) -> String {
        format!("<StreamGroup: {} open>", self.group.open())
    }
}

/// Count the streams that have been handed over in this process.
///
/// Returns:
///     `open`: streams that have not ended; `stalled`: open streams whose client has not accepted all of its data;
///     `total`: all streams so far; `dropped`: streams whose client accepted nothing in time.
#[pyfunction]
pub fn stream_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let Stats { open, stalled, total, dropped } = Stats::now();
    let stats = PyDict::new(py);
    stats.set_item("open", open)?;
    stats.set_item("stalled", stalled)?;
    stats.set_item("total", total)?;
    stats.set_item("dropped", dropped)?;
    Ok(stats)
}

fn positive(name: &str, seconds: f64) -> PyResult<Duration> {
    if seconds.is_nan() || seconds <= 0.0 {
        return Err(PyValueError::new_err(format!("'{name}' must be a positive number of seconds")));
    }
    // A duration beyond the clock's range never elapses; one below its precision is not none.
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).max(Duration::from_millis(1)))
}
