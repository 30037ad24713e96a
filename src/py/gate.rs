//! The one way to block: without the GIL, in slices short enough to notice Ctrl-C.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

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

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(intern!(py, "threading"))?;
    let main = threading.call_method0(intern!(py, "main_thread"))?.getattr(intern!(py, "ident"))?;
    threading.call_method0(intern!(py, "get_ident"))?.eq(main)
}
