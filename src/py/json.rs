//! Python objects to JSON and back.
//!
//! What is written equals, once decoded, what `json.dumps` writes, except where `json.dumps` has no answer: NaN and
//! infinities become null, lone surrogates U+FFFD, and the types of [`native`](super::native) plainer objects.
//! U+0085, U+2028 and U+2029 are escaped, because clients that split a stream with `str.splitlines` break at them.

use std::cell::Cell;

use jiter::{PythonParse, StringCacheMode, map_json_error};
use pyo3::exceptions::{PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple};

use super::native;
use super::once::Once;
use super::scalar::{float_key, int_repr, write_plain, write_str, write_text};
use crate::core::{EventName, Payload};

/// How deep objects and arrays may be nested, the outermost counted as 1.
const MAX_DEPTH: usize = 128;
/// The most digits of an integer, which is what Python reads by default and what a reader here does.
const MAX_DIGITS: usize = 4300;
/// How often one value may be replaced by a plainer one, so that an object that converts to itself comes to an end.
const MAX_CONVERSIONS: usize = 32;
/// A buffer larger than this is not kept for the next event.
const KEPT_BUFFER: usize = 64 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is asked for a plainer object where JSON has no form for a value: the `default` of a manager.
type Fallback<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// The payload of an event: its name, and its JSON object.
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

/// The Python object of a JSON text that [`encode`] has written.
pub fn decode<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let parse = PythonParse { cache_mode: StringCacheMode::Keys, ..PythonParse::default() };
    parse.python_parse(py, json).map_err(|error| map_json_error(json, &error))
}

/// Why an object was refused, and where in the event it stands, innermost step first.
struct Refused {
    reason: Reason,
    path: Vec<String>,
}

enum Reason {
    NoForm(String),
    TooDeep,
    Raised(PyErr),
    /// A conversion raised this; the text names the type.
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

/// Write one value, in which `depth` levels may be nested.
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

/// Write a value as the plainer one that it converts to, as often as that takes.
#[inline(never)]
fn write_other<'py>(value: &Bound<'py, PyAny>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    let mut value = value.clone();
    for _ in 0..MAX_CONVERSIONS {
        // A member of an Enum may be a str or an int as well; its value is what counts.
        value = match native::enum_value(&value).map_err(|error| unconvertible(&value, error))? {
            Some(inner) => inner,
            None if write_known(&value, out, depth, default)? => return Ok(()),
            None => plainer(&value, default)?,
        };
    }
    let what = type_name(&value)?;
    Err(refuse(Reason::NoForm(format!("of type {what}, which converts to itself again and again"))))
}

/// Write what JSON has a form for; `false`, with nothing written, if it has none for the value's type.
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

/// The plainer object that is written for a value of a type that JSON has no form for.
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

/// Write a value that is exactly a str, int, float, bool or None, without running any Python code; `false`, with
/// nothing written, if it is anything else or needs more care.
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
    // Writing the items may run Python code, which may change the dict; a copy is nobody else's to change.
    write_object(dict.copy()?.iter(), out, depth, default)
}

fn write_list<'py>(list: &Bound<'py, PyList>, out: &mut Vec<u8>, depth: usize, default: Fallback<'_, 'py>) -> Written {
    if is_free_threaded(list.py()) {
        return write_changing_list(list, out, depth, default);
    }
    write_array(list.iter(), out, depth, default)
}

// Apart, and what they share is inlined into each, so that the two before are as fast as if these were not there.

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

/// Whether this is a CPython that can do without the GIL. Then other threads change an object at any time, and a
/// critical section keeps them away only until something in it waits, which reading the text of a str may do: so dicts
/// and lists are to be copied, which CPython does in one step. With the GIL nothing that is written without Python code
/// lets other threads run.
#[inline]
fn is_free_threaded(py: Python<'_>) -> bool {
    static FREE_THREADED: Once<bool> = Once::new();
    *FREE_THREADED.get_or_make(py, || is_built_free_threaded(py))
}

/// Asked of the build: such a CPython has the GIL for a while at an import, which may be now.
#[cold]
fn is_built_free_threaded(py: Python<'_>) -> bool {
    let flags = py.import("sys").and_then(|sys| sys.getattr("abiflags")?.extract::<String>());
    flags.is_ok_and(|flags| flags.contains('t'))
}

/// Write a dict of text keys and simple values, as nearly all log messages are; `false` if it is another.
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

/// Write a key as `json.dumps` does, numbers, booleans and None as text; what converts to one of these as that.
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
        let reason = format!("a key of type {what}; keys are str, int, float, bool or None");
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

/// An object as it is shown in an error, at most 60 characters of it.
pub fn short_repr(key: &Bound<'_, PyAny>) -> String {
    let shown = key.repr().map(|repr| repr.to_string_lossy().into_owned()).unwrap_or_else(|_| "?".to_owned());
    match shown.char_indices().nth(60) {
        Some((end, _)) => shown.get(..end).unwrap_or_default().to_owned() + "…",
        None => shown,
    }
}
