//! Conversion of the arguments of `RunManager`'s methods to the types of the core and the store.

use pyo3::Borrowed;
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::scalar;
use crate::core::Fence;
use crate::store::Query;

/// Extract an integer. One that does not fit becomes negative, which every limit refuses.
pub fn limit(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    match value.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(i64::MIN),
        number => number,
    }
}

/// Extract a number of seconds; infinite if it is too large for a float.
pub fn seconds(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract::<f64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(f64::INFINITY),
        number => number,
    }
}

/// A text that only people read. Lone surrogates become U+FFFD.
pub struct Label(pub String);

impl<'py> FromPyObject<'_, 'py> for Label {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let text = object.cast::<PyString>()?;
        match text.to_str() {
            Ok(text) => Ok(Self(text.to_owned())),
            Err(_) => scalar::without_surrogates(&text).map(Self),
        }
    }
}

/// One status or several.
#[derive(FromPyObject)]
pub enum Statuses {
    One(String),
    Several(Vec<String>),
}

/// The query for `run_records`.
pub fn query(
    key: Option<String>,
    status: Option<Statuses>,
    text: Option<String>,
    also: Option<Vec<u64>>,
    before: Option<u64>,
    limit: usize,
) -> Query {
    let statuses = match status {
        None => Vec::new(),
        Some(Statuses::One(status)) => vec![status],
        Some(Statuses::Several(statuses)) => statuses,
    };
    let also = also.unwrap_or_default().into_iter().map(Fence).collect();
    Query { key, statuses, text, also, before: before.map(Fence), limit }
}
