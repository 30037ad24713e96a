//! Conversion of values that JSON has no type for to plainer Python objects.
//!
//! The conventions are those of pydantic, FastAPI and orjson: dates and times in ISO 8601; `UUID`, `Path` and `Decimal`
//! as text; an `Enum` as its value; dataclasses and pydantic models as objects; NumPy scalars and arrays; any set or
//! sequence. Bytes have no canonical text form and are left to `default=`.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyType};

use super::once::{Imported, intern};

/// A class of the standard library.
struct Class(Imported);

impl Class {
    const fn new(module: &'static str, name: &'static str) -> Self {
        Self(Imported::new(module, name))
    }

    fn has(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        value.is_instance(&self.0.get(value.py())?)
    }
}

static ENUM: Class = Class::new("enum", "Enum");
static DATE: Class = Class::new("datetime", "date");
static TIME: Class = Class::new("datetime", "time");
static UUID: Class = Class::new("uuid", "UUID");
static DECIMAL: Class = Class::new("decimal", "Decimal");
static PATH: Class = Class::new("pathlib", "PurePath");
static USER_STRING: Class = Class::new("collections", "UserString");
static SET: Class = Class::new("collections.abc", "Set");
static VALUES_VIEW: Class = Class::new("collections.abc", "ValuesView");
static SEQUENCE: Class = Class::new("collections.abc", "Sequence");

/// The value of an `Enum` member; `None` for anything else.
pub fn enum_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if ENUM.has(value)? { value.getattr(intern!(value.py(), "value")).map(Some) } else { Ok(None) }
}

/// Convert `value` to a plainer object; `None` if its type is not known here.
pub fn convert<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    if value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyMemoryView>()
    {
        return Ok(None);
    }
    if DATE.has(value)? || TIME.has(value)? {
        return value.call_method0(intern!(py, "isoformat")).map(Some);
    }
    if UUID.has(value)? || DECIMAL.has(value)? || PATH.has(value)? || USER_STRING.has(value)? {
        return Ok(Some(value.str()?.into_any()));
    }
    if let Some(fields) = object_of(value)? {
        return Ok(Some(fields));
    }
    if let Some(number) = number_of(value)? {
        return Ok(Some(number));
    }
    if SET.has(value)? || VALUES_VIEW.has(value)? || SEQUENCE.has(value)? {
        let list = PyList::empty(py);
        for item in value.try_iter()? {
            list.append(item?)?;
        }
        return Ok(Some(list.into_any()));
    }
    Ok(None)
}

/// Convert a key to a str, int or float; `None` if that is not possible.
pub fn convert_key<'py>(key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let plainer = match enum_value(key)? {
        None => convert(key)?,
        found => found,
    };
    let fits = |plainer: &Bound<'_, PyAny>| {
        plainer.is_instance_of::<PyString>() || plainer.is_instance_of::<PyInt>() || plainer.is_instance_of::<PyFloat>()
    };
    Ok(plainer.filter(fits))
}

/// The fields of a pydantic model, version 1 or 2, or of a dataclass; `None` for anything else.
fn object_of<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let kind = value.get_type();
    // Looked up on the type: an instance that has every attribute, such as a mock, is not a model.
    if kind.hasattr(intern!(py, "model_dump"))? {
        let kwargs = PyDict::new(py);
        kwargs.set_item(intern!(py, "mode"), intern!(py, "json"))?;
        return value.call_method(intern!(py, "model_dump"), (), Some(&kwargs)).map(Some);
    }
    if kind.hasattr(intern!(py, "__fields__"))? && kind.hasattr(intern!(py, "dict"))? {
        return value.call_method0(intern!(py, "dict")).map(Some);
    }
    if !kind.hasattr(intern!(py, "__dataclass_fields__"))? {
        return Ok(None);
    }
    let object = PyDict::new(py);
    for field in py.import("dataclasses")?.call_method1(intern!(py, "fields"), (value,))?.try_iter()? {
        let name = field?.getattr(intern!(py, "name"))?.cast_into::<PyString>()?;
        // A field may have no value yet.
        if let Some(value) = value.getattr_opt(&name)? {
            object.set_item(name, value)?;
        }
    }
    Ok(Some(object.into_any()))
}

/// The number, or the list of an array, from a conversion method of NumPy and similar libraries.
fn number_of<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    let kind = value.get_type();
    let asked: [(&Bound<'py, PyString>, Option<Bound<'py, PyType>>); 4] = [
        (intern!(py, "tolist"), None),
        (intern!(py, "__index__"), None),
        (intern!(py, "__float__"), Some(py.get_type::<PyFloat>())),
        (intern!(py, "item"), None),
    ];
    for (name, through) in asked {
        if !kind.hasattr(name)? {
            continue;
        }
        let answer = match through {
            Some(through) => through.call1((value,)),
            None => value.call_method0(name),
        };
        match answer {
            // NumPy's `longdouble` returns itself from `tolist` and `item`; `__float__` converts it.
            Ok(answer) if !answer.get_type().is(&kind) => return Ok(Some(answer)),
            // An array with several items also has `__index__`, which raises; another method may work.
            Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
            _ => {}
        }
    }
    Ok(None)
}
