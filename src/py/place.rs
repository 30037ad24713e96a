//! What the classes of stores share.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::core::sync::Mutex;
use crate::store::{Limits, Source};

/// Where a store is, as the Python object that a manager was given says.
pub trait Place: Send + Sync {
    /// Its name, which no other store of the process has.
    fn name(&self) -> String;
    /// What connects to it.
    fn source(&self) -> Box<dyn Source>;
    /// Say where it is.
    fn describe(&self, stats: &Bound<'_, PyDict>) -> PyResult<()>;
    /// The Python object.
    fn to_python(self: Arc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

/// What a store keeps, from what a constructor was given.
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

/// The place among those `known` to the process that `is_same` says, or a new one.
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
    // With no lock held, since this may take long.
    let place = Arc::new(make()?);
    let mut known = known.lock();
    if let Some(found) = find(&mut known) {
        return found;
    }
    known.push(Arc::downgrade(&place));
    Ok(place)
}
