//! `CancelEvent`.

use std::any::Any;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use super::awaitable::{Awaitable, Wish};
use super::fork::PerProcess;
use super::{TARGET, gate};
use crate::core::sync::{Arc, is_past};
use crate::core::{self, Callback, Key};

/// A flag that is set once, as `threading.Event` without `clear`, with callbacks.
///
/// One that is made by itself is not set and belongs to no run; a run's event comes from `RunManager.open_run`.
#[pyclass(frozen, weakref, module = "genglossary_runs")]
pub struct CancelEvent {
    cores: PerProcess<Arc<core::CancelEvent>>,
}

struct PyCallback(Py<PyAny>);

impl Callback for PyCallback {
    fn call(self: Box<Self>) {
        // Dropped in here, too; an interpreter that finalizes calls nothing more.
        let _ = gate::try_attach(move |py| {
            let callable = self.0.into_bound(py);
            if let Err(error) = callable.call0()
                && !gate::forward_interrupt(py, &error)
            {
                let trace = error.traceback(py).and_then(|trace| trace.format().ok()).unwrap_or_default();
                log::error!(target: TARGET, "a callback of a cancel event raised {error}\n{trace}");
            }
        });
    }
}

impl From<Arc<core::CancelEvent>> for CancelEvent {
    fn from(core: Arc<core::CancelEvent>) -> Self {
        Self { cores: PerProcess::new(core) }
    }
}

impl CancelEvent {
    /// The event; in a forked child one of its own, which is set if the parent's was.
    pub fn core(&self) -> &Arc<core::CancelEvent> {
        self.cores.get(|parent| {
            let child = Arc::new(core::CancelEvent::new(Key::new()));
            if parent.is_set() {
                child.set();
            }
            child
        })
    }

    /// Whether nothing else has the event: neither a run nor another wrapper. Only then are its callbacks this object's.
    fn is_sole_owner(&self) -> bool {
        Arc::strong_count(self.core()) == 1
    }
}

#[pymethods]
impl CancelEvent {
    #[new]
    fn new() -> Self {
        Self::from(Arc::new(core::CancelEvent::new(Key::new())))
    }

    /// Set it, wake the waiters, and call the callbacks in this thread. Later calls do nothing.
    fn set(&self) {
        self.core().set();
    }

    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.core().is_set()
    }

    /// Why it is set, where nobody asked for it, as when the store took this process for dead; else None.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.core().reason()
    }

    /// Wait until it is set.
    ///
    /// Releases the GIL while it waits and notices Ctrl-C within 100 ms.
    ///
    /// Args:
    ///     timeout: seconds to wait at most; None is no limit, 0 and less do not wait.
    ///
    /// Returns:
    ///     Whether it is set.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = gate::deadline(timeout.map(|seconds| seconds.max(0.0)))?;
        while !self.core().is_set() && !is_past(deadline) {
            gate::block(py, deadline, |until| self.core().wait(until))?;
        }
        Ok(self.core().is_set())
    }

    /// Wait on an event loop until it is set; True.
    fn __await__(slf: Bound<'_, Self>) -> Awaitable {
        let core = Arc::downgrade(slf.get().core());
        Awaitable::new(Wish::Set(slf.into_any().unbind(), core), None)
    }

    /// Call `callback()` once when the event is set; at once, in this thread, if it already is.
    ///
    /// What a callback raises is logged, and the others are called all the same; Ctrl-C is passed on to the main
    /// thread. A run that is never finished keeps its callbacks and what they refer to as long as its manager lives.
    #[pyo3(signature = (callback, /))]
    fn add_callback(&self, callback: Py<PyAny>) {
        self.core().add_callback(Box::new(PyCallback(callback)));
    }

    fn __eq__(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.core(), other.core())
    }

    fn __hash__(&self) -> u64 {
        self.core().key().0
    }

    fn __repr__(&self) -> String {
        format!("<CancelEvent: {}>", if self.core().is_set() { "set" } else { "unset" })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut visited = Ok(());
        if self.is_sole_owner() {
            self.core().visit_callbacks(|callback| {
                if let Some(PyCallback(callable)) = (callback as &dyn Any).downcast_ref()
                    && visited.is_ok()
                {
                    visited = visit.call(callable);
                }
            });
        }
        visited
    }

    fn __clear__(&self) {
        if self.is_sole_owner() {
            drop(self.core().take_callbacks());
        }
    }
}
