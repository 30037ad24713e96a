//! The one mapping from the core's errors to Python's exceptions, which `genglossary_runs.errors` defines.

use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;

use crate::core::Error;
use crate::core::event::InvalidEventName;
use crate::core::id::InvalidRunId;
use crate::core::limits::OutOfBounds;

import_exception!(genglossary_runs.errors, InvalidRunIdError);
import_exception!(genglossary_runs.errors, RunActiveError);
import_exception!(genglossary_runs.errors, StoreError);
import_exception!(genglossary_runs.errors, SubscriptionEnded);
import_exception!(genglossary_runs.errors, UnknownRunError);
import_exception!(queue, Empty);
import_exception!(queue, Full);

/// Import every exception class now; pyo3 would import each when it is first raised.
pub fn import(py: Python<'_>) -> PyResult<()> {
    py.import("genglossary_runs.errors")?;
    py.get_type::<InvalidRunIdError>();
    py.get_type::<RunActiveError>();
    py.get_type::<StoreError>();
    py.get_type::<SubscriptionEnded>();
    py.get_type::<UnknownRunError>();
    py.get_type::<Empty>();
    py.get_type::<Full>();
    Ok(())
}

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::RunActive(_) => RunActiveError::new_err(message),
            Error::UnknownRun(_) => UnknownRunError::new_err(message),
            Error::Full(_) => Full::new_err(message),
        }
    }
}

impl From<InvalidRunId> for PyErr {
    fn from(error: InvalidRunId) -> Self {
        InvalidRunIdError::new_err(error.to_string())
    }
}

impl From<InvalidEventName> for PyErr {
    fn from(error: InvalidEventName) -> Self {
        PyValueError::new_err(error.to_string())
    }
}

impl From<OutOfBounds> for PyErr {
    fn from(error: OutOfBounds) -> Self {
        PyValueError::new_err(error.to_string())
    }
}
