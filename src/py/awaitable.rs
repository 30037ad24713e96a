//! Reading from an event loop: what `await`, `async for` and `async with` step through.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::asked::{Asked, late};
use super::chunks::{CHUNK, HEARTBEAT, shared_bytes};
use super::errors::{Empty, SubscriptionEnded};
use super::loops::{LoopPort, Wait};
use super::once::intern;
use super::reader::Reader;
use crate::core::sync::Mutex;
use crate::core::{CancelEvent, Epoch, NotReady};

/// What is awaited.
pub enum Wish {
    /// The next event as a dict; `queue.Empty` if none comes.
    Event(Reader),
    /// The next event as a dict; the end of the iteration if none comes.
    NextEvent(Reader),
    /// All events that are ready, as frames; a heartbeat at the deadline.
    Frames(Reader),
    /// True, once the event is set. Its Python object keeps it alive, and shows a garbage collector its callbacks.
    Set(Py<PyAny>, Weak<CancelEvent>),
    /// The answer of a store.
    Answer(Box<dyn Asked>),
    /// This, at once.
    Value(Py<PyAny>),
}

/// One await, with all that a coroutine has. Nothing is taken from a subscription before the very step that returns it,
/// so cancelling loses nothing.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Awaitable {
    wish: Wish,
    deadline: Option<Instant>,
    /// The wait of the last step; taken out, then dropped without the lock.
    waiting: Mutex<Option<Wait>>,
    /// Whether it has returned or raised.
    done: AtomicBool,
}

/// What a step finds.
enum Found<'py> {
    Value(Bound<'py, PyAny>),
    Pending(Option<Epoch>),
}

impl Awaitable {
    /// An await until `deadline`.
    pub fn new(wish: Wish, deadline: Option<Instant>) -> Self {
        Self { wish, deadline, waiting: Mutex::new(None), done: AtomicBool::new(false) }
    }

    fn reader(&self) -> Option<&Reader> {
        match &self.wish {
            Wish::Event(reader) | Wish::NextEvent(reader) | Wish::Frames(reader) => Some(reader),
            Wish::Set(..) | Wish::Answer(_) | Wish::Value(_) => None,
        }
    }

    fn look<'py>(&self, py: Python<'py>) -> PyResult<Found<'py>> {
        let found = match &self.wish {
            Wish::Event(reader) | Wish::NextEvent(reader) => {
                reader.try_next().map(|event| reader.decode(py, &event).map(Found::Value))
            }
            Wish::Frames(reader) => {
                let chunk = reader.try_next_chunk(CHUNK);
                chunk.map(|chunk| Ok(Found::Value(shared_bytes(py, &chunk).into_any())))
            }
            Wish::Set(_, event) if event.upgrade().is_some_and(|event| event.is_set()) => {
                return Ok(Found::Value(true.into_pyobject(py)?.to_owned().into_any()));
            }
            Wish::Set(..) => return Ok(Found::Pending(None)),
            Wish::Answer(asked) => {
                return match asked.take(py) {
                    Ok(answer) => answer.map(|answer| Found::Value(answer.into_bound(py))),
                    Err(epoch) => Ok(Found::Pending(Some(epoch))),
                };
            }
            Wish::Value(value) => return Ok(Found::Value(value.bind(py).clone())),
        };
        match (found, &self.wish) {
            (Ok(value), _) => value,
            (Err(NotReady::Pending(epoch)), _) => Ok(Found::Pending(Some(epoch))),
            (Err(NotReady::Ended), Wish::Event(reader)) => Err(SubscriptionEnded::new_err(reader.why_ended())),
            (Err(NotReady::Ended), _) => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    /// What the await returns when its time is up.
    fn late<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.wish {
            Wish::Frames(_) => Ok(PyBytes::new(py, HEARTBEAT).into_any()),
            Wish::Answer(_) => Err(late()),
            Wish::Event(_) | Wish::NextEvent(_) | Wish::Set(..) | Wish::Value(_) => Err(Empty::new_err(())),
        }
    }

    /// Have the loop continue this await when a look may find more than it did at `epoch`. Returns the future to wait
    /// for, or `None` if there may be more already.
    fn park<'py>(
        &self,
        port: &Arc<LoopPort>,
        running: &Bound<'py, PyAny>,
        epoch: Option<Epoch>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = running.py();
        let (key, armed) = match (&self.wish, epoch) {
            (Wish::Event(reader) | Wish::NextEvent(reader) | Wish::Frames(reader), Some(epoch)) => {
                let Some(armed) = reader.arm(epoch, &port.core) else { return Ok(None) };
                (reader.core().key(), Some(armed))
            }
            (Wish::Set(_, event), _) => {
                let event = event.upgrade().filter(|event| event.arm(&port.core));
                let Some(event) = event else { return Ok(None) };
                (event.key(), None)
            }
            (Wish::Answer(asked), Some(epoch)) if asked.arm(epoch, &port.core) => (asked.key(), None),
            _ => return Ok(None),
        };
        let future = running.call_method0(intern!(py, "create_future"))?;
        // What `yield from future` would do first (asyncio/futures.py, `Future.__await__`).
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        let wait = port.add(running, key, future.clone().unbind(), self.deadline, armed)?;
        self.replace_wait(Some(wait));
        Ok(Some(future))
    }

    fn replace_wait(&self, wait: Option<Wait>) {
        let last = std::mem::replace(&mut *self.waiting.lock(), wait);
        drop(last);
    }

    fn step<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Wish::Value(value) = &self.wish {
            return Err(PyStopIteration::new_err((value.clone_ref(py),)));
        }
        let (port, running) = LoopPort::current(py)?;
        if let Some(reader) = self.reader() {
            reader.bind(port.key)?;
        }
        loop {
            let epoch = match self.look(py)? {
                Found::Value(value) => return Err(PyStopIteration::new_err((value.unbind(),))),
                Found::Pending(epoch) => epoch,
            };
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(PyStopIteration::new_err((self.late(py)?.unbind(),)));
            }
            if let Some(future) = self.park(&port, &running, epoch)? {
                return Ok(future);
            }
        }
    }
}

#[pymethods]
impl Awaitable {
    /// What a task's `repr` shows.
    #[getter]
    fn __qualname__(&self) -> &'static str {
        match &self.wish {
            Wish::Event(_) => "Subscription.aget",
            Wish::NextEvent(_) => "Subscription.__anext__",
            Wish::Frames(_) => "Subscription.frames",
            Wish::Set(..) => "CancelEvent.__await__",
            Wish::Answer(_) => "RunManager.ask",
            Wish::Value(_) => "Subscription.aclose",
        }
    }

    // A task that awaits an event and is cancelled by a callback of it is a cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.wish {
            Wish::Set(object, _) | Wish::Value(object) => visit.call(object),
            Wish::Event(_) | Wish::NextEvent(_) | Wish::Frames(_) | Wish::Answer(_) => Ok(()),
        }
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// One step of the task that awaits: the future to wait for, or the result as the value of `StopIteration`.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.replace_wait(None);
        if self.done.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err(
                "this has been awaited already; call the method again to await once more",
            ));
        }
        let stepped = self.step(py);
        self.done.store(stepped.is_err(), Ordering::Relaxed);
        stepped
    }

    /// As a coroutine's (PEP 342); the value is ignored, since there is no `yield` to take it.
    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)
    }

    /// As a coroutine's (PEP 342): end the await by raising this.
    #[pyo3(signature = (kind, value=None, traceback=None, /))]
    fn throw<'py>(
        &self,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.close();
        let error = match value {
            Some(value) if value.is_instance_of::<PyBaseException>() => value.clone(),
            Some(value) if !value.is_none() => kind.call1((value,))?,
            _ if kind.is_callable() => kind.call0()?,
            _ => kind.clone(),
        };
        if let Some(traceback) = traceback {
            error.call_method1(intern!(kind.py(), "with_traceback"), (traceback,))?;
        }
        Err(PyErr::from_value(error))
    }

    /// As a coroutine's (PEP 342): end the await.
    fn close(&self) {
        self.replace_wait(None);
        self.done.store(true, Ordering::Relaxed);
    }
}
