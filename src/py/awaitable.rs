//! Reading on an event loop: the steps of `await`, `async for` and `async with`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::chunks::{CHUNK, HEARTBEAT, shared_bytes};
use super::errors::{Empty, SubscriptionEnded};
use super::loops::{LoopPort, Wait};
use super::once::intern;
use super::pending_answer::{PendingAnswer, timed_out};
use super::reader::Reader;
use crate::core::sync::Mutex;
use crate::core::{CancelEvent, Epoch, NotReady};

/// What an [`Awaitable`] waits for.
pub enum Operation {
    /// The next event as a dict. Raises `queue.Empty` at the deadline, `SubscriptionEnded` at the end.
    Event(Reader),
    /// The next event as a dict. Raises `StopAsyncIteration` at the end.
    NextEvent(Reader),
    /// All events that are ready, as frames; a heartbeat at the deadline. Raises `StopAsyncIteration` at the end.
    Frames(Reader),
    /// True, once the event is set. The Python object keeps the event alive and shows its callbacks to the garbage
    /// collector.
    Set(Py<PyAny>, Weak<CancelEvent>),
    /// A store's answer.
    Answer(Box<dyn PendingAnswer>),
    /// This value, immediately.
    Value(Py<PyAny>),
}

/// One await, with the methods of a coroutine. An event is taken from the subscription only in the step that returns
/// it, so a cancelled await loses nothing.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Awaitable {
    operation: Operation,
    deadline: Option<Instant>,
    /// The wait that the last step registered. Taken out under the lock, dropped after it.
    waiting: Mutex<Option<Wait>>,
    /// Whether it has returned or raised.
    done: AtomicBool,
}

/// The result of a poll.
enum Poll<'py> {
    Ready(Bound<'py, PyAny>),
    Pending(Option<Epoch>),
}

impl Awaitable {
    /// An await that times out at `deadline`.
    pub fn new(operation: Operation, deadline: Option<Instant>) -> Self {
        Self { operation, deadline, waiting: Mutex::new(None), done: AtomicBool::new(false) }
    }

    fn reader(&self) -> Option<&Reader> {
        match &self.operation {
            Operation::Event(reader) | Operation::NextEvent(reader) | Operation::Frames(reader) => Some(reader),
            Operation::Set(..) | Operation::Answer(_) | Operation::Value(_) => None,
        }
    }

    fn poll<'py>(&self, py: Python<'py>) -> PyResult<Poll<'py>> {
        let found = match &self.operation {
            Operation::Event(reader) | Operation::NextEvent(reader) => {
                reader.try_next().map(|event| reader.decode(py, &event).map(Poll::Ready))
            }
            Operation::Frames(reader) => {
                let chunk = reader.try_next_chunk(CHUNK);
                chunk.map(|chunk| Ok(Poll::Ready(shared_bytes(py, &chunk).into_any())))
            }
            Operation::Set(_, event) if event.upgrade().is_some_and(|event| event.is_set()) => {
                return Ok(Poll::Ready(true.into_pyobject(py)?.to_owned().into_any()));
            }
            Operation::Set(..) => return Ok(Poll::Pending(None)),
            Operation::Answer(asked) => {
                return match asked.take(py) {
                    Ok(answer) => answer.map(|answer| Poll::Ready(answer.into_bound(py))),
                    Err(epoch) => Ok(Poll::Pending(Some(epoch))),
                };
            }
            Operation::Value(value) => return Ok(Poll::Ready(value.bind(py).clone())),
        };
        match (found, &self.operation) {
            (Ok(value), _) => value,
            (Err(NotReady::Pending(epoch)), _) => Ok(Poll::Pending(Some(epoch))),
            (Err(NotReady::Ended), Operation::Event(reader)) => Err(SubscriptionEnded::new_err(reader.why_ended())),
            (Err(NotReady::Ended), _) => Err(PyStopAsyncIteration::new_err(())),
        }
    }

    /// The result or exception at the deadline.
    fn timed_out<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.operation {
            Operation::Frames(_) => Ok(PyBytes::new(py, HEARTBEAT).into_any()),
            Operation::Answer(_) => Err(timed_out()),
            Operation::Event(_) | Operation::NextEvent(_) | Operation::Set(..) | Operation::Value(_) => {
                Err(Empty::new_err(()))
            }
        }
    }

    /// Register with the loop for the next change after `epoch`. Returns the future to wait for, or `None` if something
    /// changed already.
    fn park<'py>(
        &self,
        port: &Arc<LoopPort>,
        running: &Bound<'py, PyAny>,
        epoch: Option<Epoch>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = running.py();
        let (key, armed) = match (&self.operation, epoch) {
            (Operation::Event(reader) | Operation::NextEvent(reader) | Operation::Frames(reader), Some(epoch)) => {
                let Some(armed) = reader.arm(epoch, &port.core) else { return Ok(None) };
                (reader.core().key(), Some(armed))
            }
            (Operation::Set(_, event), _) => {
                let event = event.upgrade().filter(|event| event.arm(&port.core));
                let Some(event) = event else { return Ok(None) };
                (event.key(), None)
            }
            (Operation::Answer(asked), Some(epoch)) if asked.arm(epoch, &port.core) => (asked.key(), None),
            _ => return Ok(None),
        };
        let future = running.call_method0(intern!(py, "create_future"))?;
        // `Future.__await__` sets this before it yields (asyncio/futures.py).
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
        if let Operation::Value(value) = &self.operation {
            return Err(PyStopIteration::new_err((value.clone_ref(py),)));
        }
        let (port, running) = LoopPort::current(py)?;
        if let Some(reader) = self.reader() {
            reader.bind(port.key)?;
        }
        loop {
            let epoch = match self.poll(py)? {
                Poll::Ready(value) => return Err(PyStopIteration::new_err((value.unbind(),))),
                Poll::Pending(epoch) => epoch,
            };
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(PyStopIteration::new_err((self.timed_out(py)?.unbind(),)));
            }
            if let Some(future) = self.park(&port, &running, epoch)? {
                return Ok(future);
            }
        }
    }
}

#[pymethods]
impl Awaitable {
    /// Shown in the `repr` of a task.
    #[getter]
    fn __qualname__(&self) -> &'static str {
        match &self.operation {
            Operation::Event(_) => "Subscription.aget",
            Operation::NextEvent(_) => "Subscription.__anext__",
            Operation::Frames(_) => "Subscription.frames",
            Operation::Set(..) => "CancelEvent.__await__",
            Operation::Answer(_) => "RunManager.ask",
            Operation::Value(_) => "Subscription.aclose",
        }
    }

    // A task that awaits an event and is cancelled by one of its callbacks is a reference cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.operation {
            Operation::Set(object, _) | Operation::Value(object) => visit.call(object),
            Operation::Event(_) | Operation::NextEvent(_) | Operation::Frames(_) | Operation::Answer(_) => Ok(()),
        }
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Take one step: return the future to wait for, or raise `StopIteration` with the result.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.replace_wait(None);
        if self.done.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("this has been awaited already; call the method again"));
        }
        let stepped = self.step(py);
        self.done.store(stepped.is_err(), Ordering::Relaxed);
        stepped
    }

    /// As for a coroutine (PEP 342). The value is ignored: there is no `yield` to receive it.
    fn send<'py>(&self, py: Python<'py>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py)
    }

    /// As for a coroutine (PEP 342): end the await with this exception.
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

    /// As for a coroutine (PEP 342): end the await.
    fn close(&self) {
        self.replace_wait(None);
        self.done.store(true, Ordering::Relaxed);
    }
}
