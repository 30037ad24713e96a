//! `CancelEvent`.

use std::any::Any;

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;

use super::awaitable::{Awaitable, Operation};
use super::fork::PerProcess;
use super::{TARGET, gate};
use crate::core::sync::{Arc, is_past};
use crate::core::{self, Callback, Key};

/// A flag that can be set once, like `threading.Event` without `clear`, with callbacks.
///
/// A new event is not set and belongs to no run; `RunManager.open_run` returns the event of a run.
#[pyclass(frozen, weakref, module = "genglossary_runs")]
pub struct CancelEvent {
    cores: PerProcess<Arc<core::CancelEvent>>,
}

struct PyCallback(Py<PyAny>);

impl Callback for PyCallback {
    fn call(self: Box<Self>) {
        // The callable is dropped in here, too, with the GIL. A finalizing interpreter calls nothing more.
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
    /// The event. A forked child has its own, which is set if the parent's was.
    pub fn core(&self) -> &Arc<core::CancelEvent> {
        self.cores.get(|parent| {
            let child = Arc::new(core::CancelEvent::new(Key::new()));
            if parent.is_set() {
                child.set();
            }
            child
        })
    }

    /// Whether no run and no other wrapper shares the event. Only then do its callbacks belong to this object.
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

    /// Set the event, wake its waiters, and call the callbacks in this thread. Later calls do nothing.
    fn set(&self) {
        self.core().set();
    }

    /// Return whether the event is set.
    fn is_set(&self) -> bool {
        self.core().is_set()
    }

    /// Why the event was set without a request, as when the store declared this process dead; else None.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        self.core().reason()
    }

    /// Block until the event is set.
    ///
    /// Releases the GIL while it waits and notices Ctrl-C within 100 ms.
    ///
    /// Args:
    ///     timeout: maximum seconds to wait; None waits forever, 0 or less does not wait.
    ///
    /// Returns:
    ///     Whether the event is set.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let deadline = gate::deadline(timeout.map(|seconds| seconds.max(0.0)))?;
        while !self.core().is_set() && !is_past(deadline) {
            gate::block(py, deadline, |until| self.core().wait(until))?;
        }
        Ok(self.core().is_set())
    }

    /// Wait on an event loop until the event is set; returns True.
    fn __await__(slf: Bound<'_, Self>) -> Awaitable {
        let core = Arc::downgrade(slf.get().core());
        Awaitable::new(Operation::Set(slf.into_any().unbind(), core), None)
    }

    /// Call `callback()` once when the event is set; immediately, in this thread, if it is set already.
    ///
    /// An exception in a callback is logged, and the other callbacks still run; KeyboardInterrupt is forwarded to the
    /// main thread. A run that is never finished keeps its callbacks, and what they refer to, as long as its manager
    /// lives.
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
