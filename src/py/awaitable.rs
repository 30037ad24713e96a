//! Reading from an event loop: what `await`, `async for` and `async with` step through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyStopAsyncIteration, PyStopIteration};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use super::cancel::CancelEvent;
use super::error::Empty;
use super::subscription::Subscription;
use super::wake::{LoopPort, Resume, Wait};
use crate::core::NotReady;
use crate::core::subscription::Chunk;
use crate::core::sync::Mutex;

/// The most bytes of one chunk, unless a single frame is longer.
const CHUNK: usize = 64 << 10;
/// A comment of a server-sent event stream. It has one line end: to some clients an empty line is an empty event.
const HEARTBEAT: &[u8] = b": keepalive\n";

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
                Ok(chunk) => Ok(Found::Value(Coding::Identity.shared(py, &chunk).into_any())),
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

    /// Have the loop go on with this await when a look may find more than `epoch` did: the future to wait for, or `None`
    /// if it may already.
    fn park<'py>(
        &self,
        port: &Arc<LoopPort>,
        running: &Bound<'py, PyAny>,
        epoch: u64,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = running.py();
        let (key, armed) = match &self.wish {
            Wish::Event(subscription) | Wish::NextEvent(subscription) | Wish::Frames(subscription) => {
                (subscription.get().arm(epoch, port), Some(subscription.clone_ref(py)))
            }
            Wish::Set(event) => {
                let core = event.get().core();
                (core.arm(&port.core).then(|| core.key()), None)
            }
        };
        let Some(key) = key else { return Ok(None) };
        let future = running.call_method0(intern!(py, "create_future"))?;
        // What `yield from future` would do first (asyncio/futures.py, `Future.__await__`).
        future.setattr(intern!(py, "_asyncio_future_blocking"), true)?;
        let resume = Resume::Future(future.clone().unbind());
        let wait = port.add(running, key, resume, self.deadline, armed)?;
        let last = self.waiting.lock().replace(wait);
        drop(last);
        Ok(Some(future))
    }
}

/// The transfer coding that bytes are given in.
#[derive(Clone, Copy)]
enum Coding {
    Identity,
    /// A chunk of HTTP/1.1's chunked transfer coding (RFC 9112, 7.1).
    Chunked,
}

/// A chunk's frames as `bytes`, in each coding: one object for all readers of the chunk.
struct Shared {
    identity: PyOnceLock<Py<PyBytes>>,
    chunked: PyOnceLock<Py<PyBytes>>,
}

impl Coding {
    fn of<'py>(self, py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyBytes> {
        match self {
            Self::Identity => PyBytes::new(py, bytes),
            Self::Chunked => {
                let size = format!("{:x}\r\n", bytes.len());
                PyBytes::new(py, &[size.as_bytes(), bytes, b"\r\n"].concat())
            }
        }
    }

    fn shared<'py>(self, py: Python<'py>, chunk: &Chunk) -> Bound<'py, PyBytes> {
        let unmade = || Shared { identity: PyOnceLock::new(), chunked: PyOnceLock::new() };
        let shared = chunk.attachment.get_or_init(|| Box::new(unmade()));
        let Some(shared) = shared.downcast_ref::<Shared>() else { return self.of(py, &chunk.frames) };
        let place = match self {
            Self::Identity => &shared.identity,
            Self::Chunked => &shared.chunked,
        };
        place.get_or_init(py, || self.of(py, &chunk.frames).unbind()).bind(py).clone()
    }
}

#[pymethods]
impl Awaitable {
    // A task that awaits an event and is cancelled by a callback of it is a cycle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.wish {
            Wish::Event(subscription) | Wish::NextEvent(subscription) | Wish::Frames(subscription) => {
                visit.call(subscription)
            }
            Wish::Set(event) => visit.call(event),
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
        let last = self.waiting.lock().take();
        drop(last);
        let (port, running) = LoopPort::current(py)?;
        if let Wish::Event(subscription) | Wish::NextEvent(subscription) | Wish::Frames(subscription) = &self.wish {
            subscription.get().bind(&port)?;
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

/// What `Subscription.frames` gives: an asynchronous iterator that can also be polled, but not both at a time.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct Frames {
    subscription: Py<Subscription>,
    heartbeat: Option<Duration>,
    /// The wait of the last poll that found nothing, and when its heartbeat is due.
    polling: Mutex<Option<(Wait, Option<Instant>)>>,
}

impl Frames {
    pub fn new(subscription: Py<Subscription>, heartbeat: Option<Duration>) -> Self {
        Self { subscription, heartbeat, polling: Mutex::new(None) }
    }

    fn next_heartbeat(&self) -> Option<Instant> {
        self.heartbeat.and_then(|heartbeat| Instant::now().checked_add(heartbeat))
    }
}

#[pymethods]
impl Frames {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> Awaitable {
        Awaitable::new(Wish::Frames(self.subscription.clone_ref(py)), self.next_heartbeat())
    }

    /// Take the next chunk without a task; to be called where an event loop runs.
    ///
    /// Args:
    ///     callback: what the loop calls, once and without arguments, as soon as polling again may give a chunk or a
    ///         heartbeat; only if None is returned.
    ///     chunked: give it in HTTP/1.1's chunked transfer coding (RFC 9112, 7.1), ready to be written to a connection.
    ///
    /// Returns:
    ///     A chunk or a heartbeat; empty bytes at the end; None if there is nothing yet.
    ///
    /// Raises:
    ///     RuntimeError: another event loop has awaited the subscription before.
    #[pyo3(signature = (callback, /, *, chunked=false))]
    fn poll<'py>(&self, py: Python<'py>, callback: Py<PyAny>, chunked: bool) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let coding = if chunked { Coding::Chunked } else { Coding::Identity };
        let last = self.polling.lock().take();
        let due = last.as_ref().and_then(|(_, due)| *due);
        drop(last);
        let subscription = self.subscription.get();
        let (port, running) = LoopPort::current(py)?;
        subscription.bind(&port)?;
        loop {
            let epoch = match subscription.try_next_chunk(CHUNK) {
                Ok(chunk) => return Ok(Some(coding.shared(py, &chunk))),
                Err(NotReady::Ended) => return Ok(Some(PyBytes::new(py, b""))),
                Err(NotReady::Pending(epoch)) => epoch,
            };
            if due.is_some_and(|due| Instant::now() >= due) {
                return Ok(Some(coding.of(py, HEARTBEAT)));
            }
            if let Some(key) = subscription.arm(epoch, &port) {
                let due = due.or_else(|| self.next_heartbeat());
                let armed = Some(self.subscription.clone_ref(py));
                let wait = port.add(&running, key, Resume::Call(callback), due, armed)?;
                let last = self.polling.lock().replace((wait, due));
                drop(last);
                return Ok(None);
            }
        }
    }
}
