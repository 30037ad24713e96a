//! Values that are created once and stay safe if the process forks meanwhile.
//!
//! `PyOnceLock::get_or_init` may release the GIL while it creates its value under a lock. A child forked at that moment
//! would wait for a thread that it does not have. Here a value is created first and stored afterwards, so no such lock
//! is held without the GIL: two threads may create it, and the first to store it wins. What pyo3 itself keeps in such
//! locks is created when the module is imported.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// A value that is created on first use.
pub struct Once<T>(PyOnceLock<T>);

impl<T> Once<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self(PyOnceLock::new())
    }

    /// The value, created by `make` if there is none.
    #[inline]
    pub fn get_or_make(&self, py: Python<'_>, make: impl Fn() -> T) -> &T {
        self.0.get(py).unwrap_or_else(|| {
            let _ = self.0.set(py, make());
            // It is set by now; this only returns it.
            self.0.get_or_init(py, make)
        })
    }
}

/// Like `pyo3::intern`: a Python str that is created once.
macro_rules! intern {
    ($py:expr, $text:expr) => {{
        static NAME: $crate::py::once::Once<pyo3::Py<pyo3::types::PyString>> = $crate::py::once::Once::new();
        let py: pyo3::Python<'_> = $py;
        NAME.get_or_make(py, || pyo3::types::PyString::intern(py, $text).unbind()).bind(py)
    }};
}
pub(super) use intern;

/// An attribute of a module, imported on first use.
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
