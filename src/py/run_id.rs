//! Conversion of run ids between Python and the core.

use std::borrow::Cow;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use pyo3::{Borrowed, IntoPyObjectExt};

use super::errors::InvalidRunIdError;
use super::once::Imported;
use crate::core::{RunId, RunIdRef};

/// The id of a run to create: an int of 64 bits, a str that is a valid id, or a `uuid.UUID`.
pub struct NewRun<'a>(Id<'a>);

/// The id of a run to look up. An object that is not a valid id matches no run, like any unknown id.
pub struct AnyRun<'a>(Option<Id<'a>>);

enum Id<'a> {
    Int(i64),
    Text(Cow<'a, str>),
}

/// Why an object is not a run id.
enum Rejected {
    Type,
    /// An int of more than 64 bits, or a str that is not valid Unicode; with the error message.
    Value(&'static str),
    Raised(PyErr),
}

impl Id<'_> {
    #[inline(always)]
    fn as_ref(&self) -> RunIdRef<'_> {
        match self {
            Self::Int(number) => RunIdRef::Int(*number),
            Self::Text(text) => RunIdRef::of_text(text),
        }
    }
}

impl NewRun<'_> {
    /// The id for the core.
    pub fn get(&self) -> RunIdRef<'_> {
        self.0.as_ref()
    }
}

impl AnyRun<'_> {
    /// The id for the core; `None` if no run can have it.
    #[inline(always)]
    pub fn get(&self) -> Option<RunIdRef<'_>> {
        self.0.as_ref().map(Id::as_ref)
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for NewRun<'a> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match read(object) {
            Ok(id) => {
                id.as_ref().check()?;
                Ok(Self(id))
            }
            Err(Rejected::Value(reason)) => Err(InvalidRunIdError::new_err(reason)),
            Err(Rejected::Type) => {
                let kind = object.get_type().name()?;
                Err(PyTypeError::new_err(format!("a run id must be an int, a str or a UUID, not {kind}")))
            }
            Err(Rejected::Raised(error)) => Err(error),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for AnyRun<'a> {
    type Error = PyErr;

    #[inline(always)]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match read(object) {
            Ok(id) => Ok(Self(Some(id))),
            Err(Rejected::Type | Rejected::Value(_)) => Ok(Self(None)),
            Err(Rejected::Raised(error)) => Err(error),
        }
    }
}

// Inlined into its callers for ints, the most frequent ids: passing an id through memory costs more than reading it.
#[inline(always)]
fn read<'a>(object: Borrowed<'a, '_, PyAny>) -> Result<Id<'a>, Rejected> {
    if object.is_exact_instance_of::<PyInt>()
        && let Ok(number) = object.extract()
    {
        return Ok(Id::Int(number));
    }
    read_any(object)
}

#[inline(never)]
fn read_any<'a>(object: Borrowed<'a, '_, PyAny>) -> Result<Id<'a>, Rejected> {
    if object.is_exact_instance_of::<PyInt>() {
        read_int(object)
    } else if object.is_instance_of::<PyString>() {
        match object.extract::<&str>() {
            Ok(text) => Ok(Id::Text(Cow::Borrowed(text))),
            Err(_) => Err(Rejected::Value("a run id cannot contain lone surrogates")),
        }
    } else {
        read_other(object)
    }
}

/// Read an int or an object with `__index__`.
fn read_int<'a>(object: Borrowed<'a, '_, PyAny>) -> Result<Id<'a>, Rejected> {
    match object.extract::<i64>() {
        Ok(number) => Ok(Id::Int(number)),
        Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
            Err(Rejected::Value("a run id must be between -2**63 and 2**63 - 1 if it is an int"))
        }
        Err(error) if error.is_instance_of::<PyTypeError>(object.py()) => Err(Rejected::Type),
        Err(error) => Err(Rejected::Raised(error)),
    }
}

#[cold]
fn read_other<'a>(object: Borrowed<'a, '_, PyAny>) -> Result<Id<'a>, Rejected> {
    if object.is_instance_of::<PyBool>() {
        Err(Rejected::Type)
    } else if object.is_instance_of::<PyInt>() || !is_uuid(object)? {
        read_int(object)
    } else {
        let text = object.str().and_then(|text| text.extract::<String>()).map_err(Rejected::Raised)?;
        Ok(Id::Text(Cow::Owned(text)))
    }
}

fn is_uuid(object: Borrowed<'_, '_, PyAny>) -> Result<bool, Rejected> {
    static UUID: Imported = Imported::new("uuid", "UUID");
    UUID.get(object.py()).and_then(|class| object.is_instance(&class)).map_err(Rejected::Raised)
}

/// Convert an id to a Python int or str.
pub fn to_python<'py>(py: Python<'py>, id: &RunId) -> PyResult<Bound<'py, PyAny>> {
    match id {
        RunId::Int(number) => number.into_bound_py_any(py),
        RunId::Text(text) => Ok(PyString::new(py, text).into_any()),
    }
}

/// Convert ids to Python ints and strs.
pub fn all_to_python<'py>(py: Python<'py>, ids: &[RunId]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    ids.iter().map(|id| to_python(py, id)).collect()
}
