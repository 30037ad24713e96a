//! The only place where the binding releases the GIL, acquires it, or blocks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;

use super::TARGET;
use super::once::intern;
use crate::core::fork;

/// How long the main thread waits between checks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// Run `work` without the GIL. A fork waits while it holds a lock.
pub fn detach<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    py.detach(|| fork::detached(work))
}

/// Run `work` with the GIL, whether or not this thread holds it already.
pub fn attach<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    fork::attached(|| Python::attach(work))
}

/// Run `work` with the GIL; `None` if there is no interpreter, or it is finalizing.
pub fn try_attach<T>(work: impl FnOnce(Python<'_>) -> T) -> Option<T> {
    fork::attached(|| Python::try_attach(work))
}

/// The deadline of a wait of `timeout` seconds; `None` for no timeout, or one beyond the clock's range.
pub fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    check_timeout(seconds)?;
    Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait)))
}

/// Raise `ValueError` for a negative timeout or NaN.
pub fn check_timeout(seconds: f64) -> PyResult<()> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    Ok(())
}

/// Let `wait` block until the time it is given, at most `deadline`, then raise any exception of a signal handler. The
/// caller checks its condition and calls this again if necessary.
pub fn block<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    wait: impl FnOnce(Option<Instant>) -> T + Send,
) -> PyResult<T> {
    // Only the main thread runs signal handlers; the others need not wake up for them.
    if on_main_thread(py)? {
        let slice = Instant::now() + SLICE;
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        let waited = detach(py, || wait(Some(until)));
        py.check_signals()?;
        return Ok(waited);
    }
    Ok(detach(py, || wait(deadline)))
}

/// Warn, once per process, if this thread is about to block its running event loop.
pub fn warn_if_loop_runs(py: Python<'_>) -> PyResult<()> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if WARNED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // If asyncio is not imported, no loop runs; and a program without loops need not load it.
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(events) = modules.get_item(intern!(py, "asyncio.events")) else { return Ok(()) };
    // The module may be half imported by another thread.
    let Ok(running) = events.call_method0(intern!(py, "_get_running_loop")) else { return Ok(()) };
    if !running.is_none() && !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!(
            target: TARGET,
            "a blocking get() holds up this thread's event loop and all its clients; \
             in a coroutine use 'async for' or 'await subscription.aget()', \
             and for server-sent events genglossary_runs.sse.run_stream()"
        );
    }
    Ok(())
}

/// Forward a KeyboardInterrupt to the main thread, because it cannot propagate here. Returns whether `error` was one.
pub fn forward_interrupt(py: Python<'_>, error: &PyErr) -> bool {
    let interrupted = error.is_instance_of::<PyKeyboardInterrupt>(py);
    if interrupted && let Err(failed) = py.import("_thread").and_then(|thread| thread.call_method0("interrupt_main")) {
        failed.write_unraisable(py, None);
    }
    interrupted
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}
