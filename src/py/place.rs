//! Code shared by the store classes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::core::sync::Mutex;
use crate::store::{Limits, Source};

/// The location of a store, as configured by the Python object that a manager was given.
pub trait Place: Send + Sync {
    /// A name that identifies the store within the process.
    fn name(&self) -> String;
    /// The source that connects to it.
    fn source(&self) -> Box<dyn Source>;
    /// Add the location to the store's stats.
    fn describe(&self, stats: &Bound<'_, PyDict>) -> PyResult<()>;
    /// A Python object for the store.
    fn to_python(self: Arc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

/// Check a constructor's limits.
pub fn limits(retention: f64, max_runs: i64, max_bytes: i64) -> PyResult<Limits> {
    if !(0.0..=1e9).contains(&retention) {
        return Err(PyValueError::new_err("retention must be between 0 and 1e9 seconds"));
    }
    let size = |name: &str, value: i64, least: i64| match u64::try_from(value) {
        Ok(size) if value >= least => Ok(size),
        _ => Err(PyValueError::new_err(format!("{name} must be between {least} and 2**63 - 1"))),
    };
    Ok(Limits {
        age: Duration::from_secs_f64(retention),
        runs: size("max_runs", max_runs, 1)?,
        bytes: size("max_bytes", max_bytes, 1 << 20)?,
    })
}

/// Find the place for which `is_same` holds among those `known` to the process, or `make` a new one.
pub fn share<T>(
    known: &Mutex<Vec<Weak<T>>>,
    is_same: impl Fn(&T) -> PyResult<bool>,
    make: impl FnOnce() -> PyResult<T>,
) -> PyResult<Arc<T>> {
    let find = |known: &mut Vec<Weak<T>>| {
        known.retain(|known| known.strong_count() > 0);
        known.iter().filter_map(Weak::upgrade).find_map(|place| match is_same(&place) {
            Ok(true) => Some(Ok(place)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        })
    };
    if let Some(found) = find(&mut known.lock()) {
        return found;
    }
    // Without the lock, because this may take long.
    let place = Arc::new(make()?);
    let mut known = known.lock();
    if let Some(found) = find(&mut known) {
        return found;
    }
    known.push(Arc::downgrade(&place));
    Ok(place)
}
