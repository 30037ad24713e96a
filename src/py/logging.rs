//! Rust's log records in Python's `logging`, under the logger `genglossary_runs`.

use log::LevelFilter;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3_log::{Caching, Logger};

/// The logger's name.
pub const TARGET: &str = "genglossary_runs";

/// Send records to Python. Levels are asked for at each record, so that one changed at run time takes effect.
pub fn install(py: Python<'_>) -> PyResult<()> {
    Logger::new(py, Caching::Loggers)?
        .filter(LevelFilter::Debug)
        .install()
        .map(|_| ())
        .map_err(|error| PyRuntimeError::new_err(error.to_string()))
}
