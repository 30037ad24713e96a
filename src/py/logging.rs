//! Forwarding of Rust's log records to Python's `logging`, under the logger `genglossary_runs`.

use log::{LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};

use super::gate;

/// pyo3-log, except that an exception in a handler goes to `sys.unraisablehook` instead of the call that logged.
struct PythonLog(Logger);

impl Log for PythonLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        gate::attach(|py| {
            let pending = PyErr::take(py);
            self.0.log(record);
            if let Some(raised) = PyErr::take(py)
                && !gate::forward_interrupt(py, &raised)
            {
                raised.write_unraisable(py, None);
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }

    fn flush(&self) {}
}

/// Forward records to Python. The level is checked for each record, so a change at run time takes effect.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let logger = Logger::new(py, Caching::Loggers)?.filter(LevelFilter::Debug);
    // Nothing else in this library sets a logger, so one that exists is from an earlier import.
    let _ = log::set_boxed_logger(Box::new(PythonLog(logger)));
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}
