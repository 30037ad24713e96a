//! The one map from the core's errors to Python's exceptions.

use pyo3::create_exception;
use pyo3::exceptions::{PyLookupError, PyRuntimeError, PyValueError};
use pyo3::import_exception;
use pyo3::prelude::*;

use crate::core::Error;

create_exception!(
    genglossary_runs,
    RunActiveError,
    PyRuntimeError,
    "The run is already open; finish it, or choose another id, before opening it again."
);
create_exception!(genglossary_runs, UnknownRunError, PyLookupError, "No such run is open, subscribed to or retained.");
import_exception!(queue, Empty);
import_exception!(queue, Full);

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::RunActive(_) => RunActiveError::new_err(message),
            Error::UnknownRun(_) => UnknownRunError::new_err(message),
            Error::Full(_) => Full::new_err(message),
            Error::Limit { .. } => PyValueError::new_err(message),
        }
    }
}
