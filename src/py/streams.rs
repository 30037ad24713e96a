//! `StreamGroup`: streams whose sockets leave Python.

use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::subscription::Subscription;
use crate::host::streams::{self, Group, Options, Stats};

/// Streams that a server began and that a thread without Python continues.
///
/// The thread starts with the first stream of the process and ends with the last. In a forked child there are none.
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

    /// Go on with a response that has begun, on a duplicate of its socket.
    ///
    /// What the subscription gives is sent in HTTP/1.1's chunked transfer coding, up to the end of the body; then the
    /// connection is closed. The caller is to close its own descriptor without shutting the connection down, and to
    /// leave the subscription alone.
    ///
    /// Args:
    ///     fd: an open, connected stream socket; nothing may be left to be written to it.
    ///     subscription: what is sent. It is closed when the stream ends.
    ///     heartbeat: seconds without an event after which a comment line is sent, more than 0; None for never.
    ///     send_timeout: seconds a client may take nothing of what waits for it before it is dropped, more than 0.
    ///     retry: milliseconds a client is told to wait before it comes back if the stream is drained.
    ///
    /// Raises:
    ///     OSError: `fd` is no socket, or the process has no descriptor left. Nothing has been sent.
    ///     ValueError: `heartbeat` or `send_timeout` is not positive.
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
        // SAFETY: the number is used for one system call, which fails if nothing is open under it. If the caller's
        // descriptor was closed and another is open by now, that one is duplicated: memory stays safe.
        let borrowed = (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) });
        let borrowed = borrowed.ok_or_else(|| PyValueError::new_err("'fd' must not be negative"))?;
        streams::hand_over(borrowed.try_clone_to_owned()?, subscription.get().reader().share(), options, &self.group)?;
        Ok(())
    }

    /// End the streams with a `retry:` hint. May be called in any thread, and does not wait.
    ///
    /// Args:
    ///     grace: seconds a client may take for what waits for it; then it is dropped.
    fn drain(&self, grace: f64) -> PyResult<()> {
        streams::drain(&self.group, positive("grace", grace)?);
        Ok(())
    }

    /// How many of the streams have not ended.
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
///     `open`: those that have not ended; `stalled`: those of them whose client has yet to take something; `total`: all
///     there have been; `dropped`: those whose client took nothing in time.
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
    // One that is too long for the clock never passes.
    Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
