//! The one way to block: without the GIL, in slices short enough to notice Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use super::logging::TARGET;

/// How long the main thread waits before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// The end of a wait of `timeout` seconds; `None` for one without end, or longer than the clock reaches.
pub fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    check_timeout(seconds)?;
    Ok(Duration::try_from_secs_f64(seconds).ok().and_then(|wait| Instant::now().checked_add(wait)))
}

/// Refuse a number of seconds that is none to wait.
pub fn check_timeout(seconds: f64) -> PyResult<()> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    Ok(())
}

/// Let `wait` block until the time it is given, which is `deadline` or sooner, then raise what a signal's handler
/// raised. The caller looks whether what it waits for has come, and waits again if not.
pub fn block<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    wait: impl FnOnce(Option<Instant>) -> T + Send,
) -> PyResult<T> {
    // Only the main thread runs signal handlers; the others need not wake up for them.
    if on_main_thread(py)? {
        let slice = Instant::now() + SLICE;
        let until = deadline.map_or(slice, |deadline| deadline.min(slice));
        let waited = py.detach(|| wait(Some(until)));
        py.check_signals()?;
        return Ok(waited);
    }
    let waited = py.detach(|| {
        let waited = wait(deadline);
        RETURNING.fetch_add(1, Ordering::SeqCst);
        if EXITING.load(Ordering::SeqCst) {
            RETURNING.fetch_sub(1, Ordering::SeqCst);
            loop {
                thread::park();
            }
        }
        waited
    });
    RETURNING.fetch_sub(1, Ordering::SeqCst);
    Ok(waited)
}

// A thread that takes the GIL of an interpreter which is finalizing is ended by CPython up to 3.13 with `pthread_exit`,
// which cannot pass through Rust and aborts the process. So from `atexit` on those that have waited stay where they are.

/// Whether the interpreter is about to finalize.
static EXITING: AtomicBool = AtomicBool::new(false);
/// Threads on their way from a wait to the GIL, which have found that it is not.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// Have threads that wait stay where they are once the interpreter exits.
pub fn install(py: Python<'_>) -> PyResult<()> {
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(keep_waiting, py)?,))?;
    Ok(())
}

#[pyfunction]
fn keep_waiting(py: Python<'_>) {
    EXITING.store(true, Ordering::SeqCst);
    py.detach(|| {
        while RETURNING.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Log once in a process that a thread is about to block its running event loop.
pub fn warn_if_loop_runs(py: Python<'_>) -> PyResult<()> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if WARNED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // Where it has not been imported no loop runs, and a program without loops need not load it.
    let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
    let Ok(events) = modules.get_item(intern!(py, "asyncio.events")) else { return Ok(()) };
    let running = events.call_method0(intern!(py, "_get_running_loop"))?;
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
