//! Rust's log records in Python's `logging`, under the logger `genglossary_runs`.

use log::{LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};

use super::gate;

/// pyo3-log, but an exception of a handler goes to `sys.unraisablehook`, and not into the call that wrote the record.
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

/// Send records to Python. The level is asked for at each record, so a change at run time takes effect.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let logger = Logger::new(py, Caching::Loggers)?.filter(LevelFilter::Debug);
    // Only this module logs here, so a logger that is there is its own, of an earlier import.
    let _ = log::set_boxed_logger(Box::new(PythonLog(logger)));
    log::set_max_level(LevelFilter::Debug);
    Ok(())
}
