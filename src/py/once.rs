//! Values that are made once, where a fork may come while one is made.
//!
//! `PyOnceLock` releases the GIL to make its value, under a lock. A child that is forked just then, and needs the value,
//! waits for a thread that it does not have. So here a value is made first and stored after, which needs no lock for
//! longer than the GIL is held: two threads may make it, and the first to store it wins. What pyo3 keeps in such locks of
//! its own is made when the module is imported.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A value that is made when it is first needed.
pub struct Once<T>(PyOnceLock<T>);

impl<T> Once<T> {
    /// Nothing is made yet.
    pub const fn new() -> Self {
        Self(PyOnceLock::new())
    }

    /// The value, made by `make` if there is none.
    #[inline]
    pub fn get_or_make(&self, py: Python<'_>, make: impl Fn() -> T) -> &T {
        self.0.get(py).unwrap_or_else(|| {
            let _ = self.0.set(py, make());
            // It is there; this only returns it.
            self.0.get_or_init(py, make)
        })
    }
}

/// As `pyo3::intern`: a Python str that is made once.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static NAME: $crate::py::once::Once<pyo3::Py<pyo3::types::PyString>> = $crate::py::once::Once::new();
        let py: pyo3::Python<'_> = $py;
        NAME.get_or_make(py, || pyo3::types::PyString::intern(py, $text).unbind()).bind(py)
    }};
}
pub(super) use intern;

/// An attribute of a module, imported when it is first needed.
pub struct Imported {
    module: &'static str,
    name: &'static str,
    object: PyOnceLock<Py<PyAny>>,
}

impl Imported {
    /// The attribute `name` of `module`.
    pub const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, object: PyOnceLock::new() }
    }

    /// The attribute.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(object) = self.object.get(py) {
            return Ok(object.bind(py).clone());
        }
        let object = py.import(self.module)?.getattr(self.name)?;
        let _ = self.object.set(py, object.clone().unbind());
        Ok(object)
    }
}
