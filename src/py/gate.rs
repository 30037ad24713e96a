//! The one way to block: without the GIL, in slices short enough to notice Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::logging::TARGET;

/// How long the main thread waits before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// The end of a wait of `timeout` seconds; `None` for one without end, or longer than the clock reaches.
pub fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait)))
}

/// Whether `deadline` has passed.
pub fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Let `wait` block until the time it is given, which is `deadline` or sooner, then raise what a signal's handler
/// raised. The caller looks whether what it waits for has come, and waits again if not.
pub fn block<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    wait: impl FnOnce(Option<Instant>) -> T + Send,
) -> PyResult<T> {
    // Only the main thread runs signal handlers; the others need not wake up for them.
    let until = if on_main_thread(py)? {
        let slice = Instant::now() + SLICE;
        Some(deadline.map_or(slice, |deadline| deadline.min(slice)))
    } else {
        deadline
    };
    let waited = py.detach(|| wait(until));
    py.check_signals()?;
    Ok(waited)
}

/// Log once in a process that a thread is about to block its running event loop.
pub fn warn_if_loop_runs(py: Python<'_>) -> PyResult<()> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if WARNED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let running = RUNNING.import(py, "asyncio", "_get_running_loop")?.call0()?;
    if !running.is_none() && !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            target: TARGET,
            "a blocking get() holds up the event loop of this thread and every client of it; \
             in a coroutine use 'async for' or 'await subscription.aget()', \
             and for server-sent events genglossary_runs.sse.run_stream()"
        );
    }
    Ok(())
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}
