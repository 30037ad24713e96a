//! Reading from an event loop: what `await`, `async for` and `async with` step through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::cancel::CancelEvent;
use super::error::Empty;
use super::subscription::Subscription;
use super::wake::{LoopPort, Wait};
use crate::core::NotReady;
use crate::core::subscription::Chunk;
use crate::core::sync::Mutex;

/// The most bytes of one chunk, unless a single frame is longer.
const CHUNK: usize = 64 << 10;
/// A comment line of a server-sent event stream, which clients ignore.
const HEARTBEAT: &[u8] = b": keepalive\n\n";

/// What is awaited.
enum Wish {
    /// The next event as a dict; `queue.Empty` if none comes.
    Event(Py<Subscription>),
    /// The next event as a dict; the end of the iteration if none comes.
    NextEvent(Py<Subscription>),
    /// All that waits as frames; a heartbeat at the deadline.
    Frames(Py<Subscription>),
    /// That it is set; whether it is, at the deadline.
    Set(Py<CancelEvent>),
}

/// One await. Nothing is taken from a subscription before the very step that hands it out, so cancelling loses nothing.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Awaitable {
    wish: Wish,
    deadline: Option<Instant>,
    /// The wait of the last step; taken out, then dropped without the lock.
    waiting: Mutex<Option<Wait>>,
}

/// What a step finds.
enum Found<'py> {
    Value(Bound<'py, PyAny>),
    Pending(u64),
}

impl Awaitable {
    pub fn event(subscription: Py<Subscription>, deadline: Option<Instant>) -> Self {
        Self::new(Wish::Event(subscription), deadline)
    }

    pub fn next_event(subscription: Py<Subscription>) -> Self {
        Self::new(Wish::NextEvent(subscription), None)
    }

    pub fn set(event: Py<CancelEvent>) -> Self {
        Self::new(Wish::Set(event), None)
    }

    fn new(wish: Wish, deadline: Option<Instant>) -> Self {
        Self { wish, deadline, waiting: Mutex::new(None) }
    }

    fn look<'py>(&self, py: Python<'py>) -> PyResult<Found<'py>> {
        match &self.wish {
            Wish::Event(subscription) => Self::look_for_event(py, subscription.get(), || Empty::new_err(())),
            Wish::NextEvent(subscription) => {
                Self::look_for_event(py, subscription.get(), || PyStopAsyncIteration::new_err(()))
            }
            Wish::Frames(subscription) => match subscription.get().try_next_chunk(CHUNK) {
                Ok(chunk) => Ok(Found::Value(shared_bytes(py, &chunk).into_bound(py).into_any())),
                Err(NotReady::Pending(epoch)) => Ok(Found::Pending(epoch)),
                Err(NotReady::Ended) => Err(PyStopAsyncIteration::new_err(())),
            },
            Wish::Set(event) if event.get().core().is_set() => {
                Ok(Found::Value(true.into_pyobject(py)?.to_owned().into_any()))
            }
            Wish::Set(_) => Ok(Found::Pending(0)),
        }
    }

    fn look_for_event<'py>(
        py: Python<'py>,
        subscription: &Subscription,
        end: impl FnOnce() -> PyErr,
    ) -> PyResult<Found<'py>> {
        match subscription.try_next() {
            Ok(event) => subscription.decode(py, &event).map(Found::Value),
            Err(NotReady::Pending(epoch)) => Ok(Found::Pending(epoch)),
            Err(NotReady::Ended) => Err(end()),
        }
    }

    /// What the await gives when its time is up.
    fn late<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.wish {
            Wish::Frames(_) => Ok(PyBytes::new(py, HEARTBEAT).into_any()),
            Wish::Event(_) | Wish::NextEvent(_) | Wish::Set(_) => Err(Empty::new_err(())),
        }
    }

    /// Have `port` rung when a look may find more than `epoch` did; the key it reports, or `None` if it may already.
    fn arm(&self, epoch: u64, port: &Arc<LoopPort>) -> PyResult<Option<u64>> {
        match &self.wish {
            Wish::Event(subscription) | Wish::NextEvent(subscription) | Wish::Frames(subscription) => {
                let subscription = subscription.get();
                if !subscription.belongs_to(port.key) {
                    return Err(PyRuntimeError::new_err(
                        "this subscription is read from another event loop; subscribe once for each loop",
                    ));
                }
                let core = subscription.core();
                Ok(core.arm(epoch, &port.core).then(|| core.key()))
            }
            Wish::Set(event) => {
                let core = event.get().core();
                Ok(core.arm(&port.core).then(|| core.key()))
            }
        }
    }

    /// The last step's wait is over.
    fn disarm(&self) {
        let wait = self.waiting.lock().take();
        if wait.is_some() {
            self.end_wait();
        }
        drop(wait);
    }

    fn end_wait(&self) {
        match &self.wish {
            Wish::Event(subscription) | Wish::NextEvent(subscription) | Wish::Frames(subscription) => {
                if let Some(open) = subscription.get().open() {
                    open.end_wait();
                }
            }
            Wish::Set(_) => {}
        }
    }
}

/// The chunk as `bytes`: one object for all readers of the chunk.
fn shared_bytes(py: Python<'_>, chunk: &Chunk) -> Py<PyBytes> {
    let made = || PyBytes::new(py, &chunk.frames).unbind();
    let shared = chunk.attachment.get_or_init(|| Box::new(made()));
    match shared.downcast_ref::<Py<PyBytes>>() {
        Some(bytes) => bytes.clone_ref(py),
        None => made(),
    }
}

#[pymethods]
impl Awaitable {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// One step of the task that awaits: the future to wait for, or the result as the value of `StopIteration`.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.disarm();
        loop {
            let epoch = match self.look(py)? {
                Found::Value(value) => return Err(PyStopIteration::new_err((value.unbind(),))),
                Found::Pending(epoch) => epoch,
            };
            if self.deadline.is_some_and(|at| Instant::now() >= at) {
                return Err(PyStopIteration::new_err((self.late(py)?.unbind(),)));
            }
            let (port, running) = LoopPort::current(py)?;
            let Some(key) = self.arm(epoch, &port)? else { continue };
            let waiting = running.call_method0(intern!(py, "create_future")).and_then(|future| {
                // What `yield from future` would do first (asyncio/futures.py, `Future.__await__`).
                future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
                let wait = port.add(&running, key, future.clone().unbind(), self.deadline)?;
                Ok((future, wait))
            });
            let (future, wait) = waiting.inspect_err(|_| self.end_wait())?;
            *self.waiting.lock() = Some(wait);
            return Ok(future);
        }
    }
}

impl Drop for Awaitable {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// `Subscription.frames`: chunks of ready server-sent events.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Frames {
    subscription: Py<Subscription>,
    heartbeat: Option<Duration>,
}

impl Frames {
    pub fn new(subscription: Py<Subscription>, heartbeat: Option<Duration>) -> Self {
        Self { subscription, heartbeat }
    }
}

#[pymethods]
impl Frames {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> Awaitable {
        let deadline = self.heartbeat.and_then(|heartbeat| Instant::now().checked_add(heartbeat));
        Awaitable::new(Wish::Frames(self.subscription.clone_ref(py)), deadline)
    }
}
