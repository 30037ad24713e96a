//! Conversion of Python objects to JSON and back.
//!
//! The output decodes to the same value as that of `json.dumps`, except where `json.dumps` writes no valid JSON or
//! raises: NaN and infinities become null, lone surrogates U+FFFD, and the types of [`native`](super::native) plainer
//! objects. U+0085, U+2028 and U+2029 are escaped, because clients that use `str.splitlines` would break lines at them.

use std::cell::Cell;

use jiter::{PythonParse, StringCacheMode, map_json_error};
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};

use super::native;
use super::once::Once;
use super::scalar::{float_key, int_repr, write_plain, write_str, write_text};
use crate::core::{EventName, Payload};

/// Maximum nesting of objects and arrays; the outermost counts as 1.
const MAX_DEPTH: usize = 128;
/// Maximum number of digits of an integer: what Python, and [`decode`], parse by default.
const MAX_DIGITS: usize = 4300;
/// How often one value may be converted to a plainer one, so that an object that converts to itself ends in an error.
const MAX_CONVERSIONS: usize = 32;
/// Larger buffers are not kept for the next event.
const KEPT_BUFFER: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A manager's `default`, called for values that have no JSON form.
type Fallback<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// Encode the payload of an event: its name and its JSON object.
pub fn encode<'py>(
    name: Option<EventName<'_>>,
    event: &Bound<'py, PyAny>,
    default: Fallback<'_, 'py>,
) -> PyResult<Payload> {
    let mut out = BUFFER.take();
    out.clear();
    Payload::begin(name, &mut out);
    let written = write_event(event, &mut out, default);
    let shared = written.map(|()| Payload::share(&out));
    if out.capacity() <= KEPT_BUFFER {
        BUFFER.set(out);
    }
    shared.map_err(|refused| refused.into_error(event.py()))
}

/// Decode JSON that [`encode`] has written.
pub fn decode<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let parse = PythonParse { cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    parse.python_parse(py, json).map_err(|error| map_json_error(json, &error))
}

/// Why an object was refused, and the path to it in the event, innermost step first.
struct Refused {
    reason: Reason,
    path: Vec<String>,
}

enum Reason {
    NoForm(String),
    TooDeep,
    Raised(PyErr),
    /// A conversion raised this error; the text is the type's name.
    Unconvertible(String, PyErr),
}

type Written = Result<(), Box<Refused>>;

impl From<PyErr> for Box<Refused> {
    fn from(error: PyErr) -> Self {
        refuse(Reason::Raised(error))
    }
}

fn refuse(reason: Reason) -> Box<Refused> {
    Box::new(Refused { reason, path: Vec::new() })
}

impl Refused {
    fn into_error(self, py: Python<'_>) -> PyErr {
        let place: String = self.path.into_iter().rev().collect();
        match self.reason {
            Reason::NoForm(what) => PyTypeError::new_err(format!("event{place} is {what}")),
            Reason::TooDeep => PyValueError::new_err(format!(
                "the event is nested deeper than {MAX_DEPTH} levels, or refers to itself"
            )),
            Reason::Raised(error) if error.is_instance_of::<PyValueError>(py) => {
                let named = PyValueError::new_err(format!("event{place}: {}", error.value(py)));
                named.set_cause(py, Some(error));
                named
            }
            Reason::Unconvertible(kind, error) if error.is_instance_of::<PyException>(py) => {
                let why = format!("event{place} is of type {kind} and could not be converted: {error}");
                let named = PyTypeError::new_err(why);
                named.set_cause(py, Some(error));
                named
            }
            Reason::Raised(error) | Reason::Unconvertible(_, error) => error,
        }
    }
}

fn write_event<'py>(event: &Bound<'py, PyAny>, out: &mut Vec<u8>, default: Fallback<'_, 'py>) -> Written {
    if let Ok(dict) = event.cast_exact::<PyDict>() {
        write_dict(dict, out, MAX_DEPTH, default)
    } else if event.cast::<PyMapping>().is_ok() {
        write_value(event, out, MAX_DEPTH, default)
    } else {
        let what = type_name(event)?;
        Err(PyTypeError::new_err(format!("an event must be a dict or another mapping, not {what}")).into())
    }
}

/// Write one value, which may be nested `depth` levels deep.
fn write_value<'py>(value: &Bound<'py, PyAny>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    if write_simple(value, out) {
        Ok(())
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        write_dict(dict, out, depth, default)
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        write_list(list, out, depth, default)
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        write_array(tuple.iter(), out, depth, default)
    } else {
        write_other(value, out, depth, default)
    }
}

/// Convert a value to plainer ones until one can be written.
#[inline(never)]
fn write_other<'py>(value: &Bound<'py, PyAny>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    let mut value = value.clone();
    for _ in 0..MAX_CONVERSIONS {
        // A member of an Enum may also be a str or an int; its value is what counts.
        value = match native::enum_value(&value).map_err(|error| unconvertible(&value, error))? {
            Some(inner) => inner,
            None if write_known(&value, out, depth, default)? => return Ok(()),
            None => plainer(&value, default)?,
        };
    }
    let what = type_name(&value)?;
    Err(refuse(Reason::NoForm(format!("of type {what}, which keeps converting to itself"))))
}

/// Write a value whose type has a JSON form. Returns `false`, with nothing written, for any other type.
fn write_known<'py>(
    value: &Bound<'py, PyAny>,
    out: &mut Vec<u8>,
    depth: usize,
    default: Fallback<'_, 'py>,
) -> Result<bool, Box<Refused>> {
    if write_simple(value, out) {
    } else if let Ok(dict) = value.cast_exact::<PyDict>() {
        write_dict(dict, out, depth, default)?;
    } else if let Ok(list) = value.cast::<PyList>() {
        write_list(list, out, depth, default)?;
    } else if let Ok(tuple) = value.cast::<PyTuple>() {
        write_array(tuple.iter(), out, depth, default)?;
    } else if let Ok(text) = value.cast::<PyString>() {
        write_text(text, out)?;
    } else if let Ok(number) = value.cast::<PyInt>() {
        let digits = int_repr(number)?;
        if digits.trim_start_matches('-').len() > MAX_DIGITS {
            let message = format!("an integer of more than {MAX_DIGITS} digits cannot be read back");
            return Err(PyValueError::new_err(message).into());
        }
        out.extend_from_slice(digits.as_bytes());
    } else if let Ok(number) = value.cast::<PyFloat>() {
        write_plain(&number.value(), out);
    } else if let Ok(mapping) = value.cast::<PyMapping>() {
        let pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = mapping.items()?.extract()?;
        write_object(pairs, out, depth, default)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Convert a value whose type has no JSON form to a plainer one.
fn plainer<'py>(value: &Bound<'py, PyAny>, default: Fallback<'_, 'py>) -> Result<Bound<'py, PyAny>, Box<Refused>> {
    match (native::convert(value), default) {
        (Ok(Some(plainer)), _) => Ok(plainer),
        (Ok(None), Some(default)) => default.call1((value,)).map_err(|error| unconvertible(value, error)),
        (Ok(None), None) => {
            let what = type_name(value)?;
            let why = "which JSON has no form for; convert it first, or give the RunManager a default";
            Err(refuse(Reason::NoForm(format!("of type {what}, {why}"))))
        }
        (Err(error), _) => Err(unconvertible(value, error)),
    }
}

fn unconvertible(value: &Bound<'_, PyAny>, error: PyErr) -> Box<Refused> {
    match type_name(value) {
        Ok(what) => refuse(Reason::Unconvertible(what, error)),
        Err(error) => error.into(),
    }
}

/// Write a value that is exactly a str, int, float, bool or None, without running Python code. Returns `false`, with
/// nothing written, for any other value and for those that need more care.
fn write_simple(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> bool {
    if let Ok(text) = value.cast_exact::<PyString>() {
        text.to_str().map(|text| write_str(text, out)).is_ok()
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        number.extract::<i64>().map(|number| write_plain(&number, out)).is_ok()
    } else if value.is_none() {
        out.extend_from_slice(b"null");
        true
    } else if let Ok(flag) = value.cast_exact::<PyBool>() {
        out.extend_from_slice(if flag.is_true() { b"true" } else { b"false" });
        true
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        write_plain(&number.value(), out);
        true
    } else {
        false
    }
}

fn write_dict<'py>(dict: &Bound<'py, PyDict>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    if is_free_threaded(dict.py()) {
        return write_changing_dict(dict, out, depth, default);
    }
    let start = out.len();
    if depth > 0 && write_flat(dict, out) {
        return Ok(());
    }
    out.truncate(start);
    // Writing the items may run Python code that changes the dict, so a copy is iterated.
    write_object(dict.copy()?.iter(), out, depth, default)
}

fn write_list<'py>(list: &Bound<'py, PyList>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    if is_free_threaded(list.py()) {
        return write_changing_list(list, out, depth, default);
    }
    write_array(list.iter(), out, depth, default)
}

// Separate functions with the shared parts inlined into each, so that the two above do not pay for them.

#[inline(never)]
fn write_changing_dict<'py>(
    dict: &Bound<'py, PyDict>,
    out: &mut Vec<u8>,
    depth: usize,
    default: Fallback<'_, 'py>,
) -> Written {
    let copy = dict.copy()?;
    let start = out.len();
    if depth > 0 && write_flat(&copy, out) {
        return Ok(());
    }
    out.truncate(start);
    write_object(copy.iter(), out, depth, default)
}

#[inline(never)]
fn write_changing_list<'py>(
    list: &Bound<'py, PyList>,
    out: &mut Vec<u8>,
    depth: usize,
    default: Fallback<'_, 'py>,
) -> Written {
    write_array(list.to_tuple().iter(), out, depth, default)
}

/// Whether this CPython can run without the GIL. Then other threads may change an object at any time, and a critical
/// section keeps them out only until something in it blocks, as reading the text of a str may. So dicts and lists are
/// copied, which CPython does atomically. With the GIL, no other thread runs while values are written without Python
/// code.
#[inline]
fn is_free_threaded(py: Python<'_>) -> bool {
    static FREE_THREADED: Once<bool> = Once::new();
    *FREE_THREADED.get_or_make(py, || is_built_free_threaded(py))
}

/// Checks the build: at run time, such a CPython may have the GIL enabled for the duration of an import.
#[cold]
fn is_built_free_threaded(py: Python<'_>) -> bool {
    let flags = py.import("sys").and_then(|sys| sys.getattr("abiflags")?.extract::<String>());
    flags.is_ok_and(|flags| flags.contains('t'))
}

/// Write a dict of str keys and simple values, as nearly all log messages are. Returns `false` for any other dict.
#[inline(always)]
fn write_flat(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>) -> bool {
    let mut separator = b'{';
    for (key, value) in dict.iter() {
        out.push(separator);
        separator = b',';
        if !key.is_exact_instance_of::<PyString>() || !write_simple(&key, out) {
            return false;
        }
        out.push(b':');
        if !write_simple(&value, out) {
            return false;
        }
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    true
}

#[inline(always)]
fn write_object<'py>(
    items: impl IntoIterator<Item = (Bound<'py, PyAny>, Bound<'py, PyAny>)>,
    out: &mut Vec<u8>,
    depth: usize,
    default: Fallback<'_, 'py>,
) -> Written {
    let depth = depth.checked_sub(1).ok_or_else(|| refuse(Reason::TooDeep))?;
    let mut separator = b'{';
    for (key, value) in items {
        out.push(separator);
        separator = b',';
        write_key(&key, out)?;
        out.push(b':');
        write_value(&value, out, depth, default).map_err(|mut refused| {
            refused.path.push(format!("[{}]", short_repr(&key)));
            refused
        })?;
    }
    if separator == b'{' {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(())
}

#[inline(always)]
fn write_array<'py>(
    items: impl IntoIterator<Item = Bound<'py, PyAny>>,
    out: &mut Vec<u8>,
    depth: usize,
    default: Fallback<'_, 'py>,
) -> Written {
    let depth = depth.checked_sub(1).ok_or_else(|| refuse(Reason::TooDeep))?;
    out.push(b'[');
    for (index, value) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(&value, out, depth, default).map_err(|mut refused| {
            refused.path.push(format!("[{index}]"));
            refused
        })?;
    }
    out.push(b']');
    Ok(())
}

/// Write a key as `json.dumps` does: numbers, booleans and None as text. Other keys are converted to one of these.
fn write_key(key: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Written {
    if let Ok(text) = key.cast::<PyString>() {
        return Ok(write_text(text, out)?);
    }
    let text = if let Ok(flag) = key.cast_exact::<PyBool>() {
        if flag.is_true() { "true".to_owned() } else { "false".to_owned() }
    } else if key.is_none() {
        "null".to_owned()
    } else if let Ok(number) = key.cast::<PyInt>() {
        int_repr(number)?
    } else if let Ok(number) = key.cast::<PyFloat>() {
        float_key(number)?
    } else if let Some(plainer) = native::convert_key(key)? {
        return write_key(&plainer, out);
    } else {
        let what = type_name(key)?;
        let reason = format!("a key of type {what}; keys must be str, int, float, bool or None");
        let mut refused = refuse(Reason::NoForm(reason));
        refused.path.push(format!("[{}]", short_repr(key)));
        return Err(refused);
    };
    write_str(&text, out);
    Ok(())
}

fn type_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(value.get_type().name()?.to_string())
}

/// The `repr` of an object for an error message, cut to 60 characters.
pub fn short_repr(key: &Bound<'_, PyAny>) -> String {
    let shown = key.repr().map(|repr| repr.to_string_lossy().into_owned()).unwrap_or_else(|_| "?".to_owned());
    match shown.char_indices().nth(60) {
        Some((end, _)) => shown.get(..end).unwrap_or_default().to_owned() + "…",
        None => shown,
    }
}
