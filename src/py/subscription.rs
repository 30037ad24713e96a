//! `Subscription`: the reading methods of `queue.Queue`, on a cursor.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyAny;

use super::awaitable::{Awaitable, Operation};
use super::errors::{Empty, SubscriptionEnded};
use super::frames::Frames;
use super::reader::Reader;
use super::{gate, json, run_id};
use crate::core::sync::is_past;
use crate::core::{self, Event, NotReady};

/// A reader of one run: a cursor on its log, with the reading methods of `queue.Queue`.
///
/// Created by `RunManager.subscribe`. Dropping it closes it. A reader that falls too far behind gets one dict that
/// describes the gap, then continues with the oldest event still held. After the terminal event, reading raises
/// `SubscriptionEnded`, a subclass of `queue.Empty`, at once.
#[pyclass(frozen, weakref, module = "genglossary_runs")]
pub struct Subscription {
    reader: Reader,
    /// Maximum number of unread private messages; also the threshold of `full`.
    capacity: usize,
}

impl Subscription {
    pub fn new(core: core::Subscription, capacity: usize) -> Self {
        Self { reader: Reader::new(core), capacity }
    }

    /// The part without Python.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The next event; blocks for at most `timeout` seconds.
    fn next_event(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Result<Event, NotReady>> {
        // Most reads find an event at once and need no clock.
        let mut found = self.reader.try_next();
        let deadline = if found.is_err() { gate::deadline(timeout)? } else { None };
        while let Err(NotReady::Pending(epoch)) = found
            && !is_past(deadline)
        {
            gate::warn_if_loop_runs(py)?;
            gate::block(py, deadline, |until| self.reader.core().wait(epoch, until))?;
            found = self.reader.try_next();
        }
        Ok(found)
    }

    /// The event as a dict, or the exception to raise.
    fn event_or_raise<'py>(&self, py: Python<'py>, found: Result<Event, NotReady>) -> PyResult<Bound<'py, PyAny>> {
        match found {
            Ok(event) => self.reader.decode(py, &event),
            Err(NotReady::Pending(_)) => Err(Empty::new_err(())),
            Err(NotReady::Ended) => Err(SubscriptionEnded::new_err(self.reader.why_ended())),
        }
    }
}

#[pymethods]
impl Subscription {
    /// The id of the run.
    #[getter]
    fn run_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        run_id::to_python(py, self.reader.core().run_id())
    }

    /// The id to pass as `after` so that another subscription continues from this one's position.
    #[getter]
    fn last_event_id(&self) -> String {
        self.reader.open().map_or_else(String::new, |open| open.last_event_id().to_string())
    }

    /// The name that the last event returned as a dict has in a stream.
    ///
    /// That is `gap` or `complete`, or what was passed to `RunManager.publish`; None if it has none.
    #[getter]
    fn last_event_name(&self) -> Option<String> {
        self.reader.open().and_then(core::Subscription::last_event_name).map(String::from)
    }

    /// Whether the subscription is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.reader.open().is_none_or(core::Subscription::is_closed)
    }

    /// Whether there is nothing more to read: it is closed, or the terminal event has been read.
    #[getter]
    fn ended(&self) -> bool {
        self.reader.open().is_none_or(core::Subscription::is_ended)
    }

    /// Return the next event as a dict.
    ///
    /// Releases the GIL while it waits, notices Ctrl-C within 100 ms, and ends when the subscription is closed.
    ///
    /// Args:
    ///     block: wait for an event if none is ready.
    ///     timeout: maximum seconds to wait, 0 or more; None waits forever.
    ///
    /// Raises:
    ///     queue.Empty: no event arrived in time.
    ///     SubscriptionEnded: the subscription is closed, or the terminal event has been read.
    ///     ValueError: `timeout` is negative.
    #[pyo3(signature = (block=true, timeout=None))]
    fn get<'py>(&self, py: Python<'py>, block: bool, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let timeout = if block { timeout } else { Some(0.0) };
        timeout.map_or(Ok(()), gate::check_timeout)?;
        let found = self.next_event(py, timeout)?;
        self.event_or_raise(py, found)
    }

    /// Return the next event as a dict.
    ///
    /// Raises:
    ///     queue.Empty: no event is ready.
    ///     SubscriptionEnded: the subscription is closed, or the terminal event has been read.
    fn get_nowait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_or_raise(py, self.reader.try_next())
    }

    /// Return whether `get_nowait` would raise `queue.Empty`.
    fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Return whether `qsize()` has reached the manager's `history`.
    fn full(&self) -> bool {
        self.qsize() >= self.capacity
    }

    /// Return the number of messages that are ready to be read. A gap before them does not count.
    fn qsize(&self) -> usize {
        self.reader.open().map_or(0, core::Subscription::unread)
    }

    /// Add a private message for this reader alone, to be read after the events published so far.
    ///
    /// A closed subscription ignores it.
    ///
    /// Args:
    ///     message: as `event` of `RunManager.publish`; the manager's `default` is not used.
    ///
    /// Raises:
    ///     queue.Full: as many private messages as the manager's `history` are unread.
    ///     TypeError, ValueError: as for `RunManager.publish`.
    #[pyo3(signature = (message, /))]
    fn put_nowait(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = json::encode(None, message, None)?;
        if let Some(open) = self.reader.open() {
            open.put(message, self.capacity)?;
        }
        Ok(())
    }

    /// Close the subscription; a blocked `get` raises `SubscriptionEnded`. May be called more than once.
    fn close(&self) {
        self.reader.core().close();
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Wait for the next event. Iteration ends after the terminal event, or when the subscription is closed.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next_event(py, None)?.ok().map(|event| self.reader.decode(py, &event)).transpose()
    }

    /// Await the next event as a dict.
    ///
    /// Returns a coroutine-like object, which `asyncio.create_task` accepts. A subscription belongs to the event loop
    /// that first awaits it. A cancelled await loses no event.
    ///
    /// Args:
    ///     timeout: maximum seconds to wait, 0 or more, counted from this call; None waits forever.
    ///
    /// Raises:
    ///     queue.Empty: no event arrived in time.
    ///     SubscriptionEnded: the subscription is closed, or the terminal event has been read.
    ///     RuntimeError: another event loop has awaited the subscription.
    ///     ValueError: `timeout` is negative.
    #[pyo3(signature = (timeout=None))]
    fn aget(&self, timeout: Option<f64>) -> PyResult<Awaitable> {
        Ok(Awaitable::new(Operation::Event(self.reader.clone()), gate::deadline(timeout)?))
    }

    /// Iterate asynchronously over ready-made server-sent events, in chunks of at most 64 KiB.
    ///
    /// Each event has its id and name; a gap is `event: gap` without an id; the terminal event is `event: complete`.
    /// Iteration ends after it, or when the subscription is closed. A single event of more than 64 KiB is one chunk.
    /// While the store cannot be reached, a run of another process yields `event: stalled` without an id, once.
    ///
    /// Args:
    ///     heartbeat: seconds without an event before a comment line is yielded, more than 0; None for no heartbeats.
    ///
    /// Raises:
    ///     RuntimeError: another event loop has awaited the subscription.
    ///     ValueError: `heartbeat` is not positive.
    #[pyo3(signature = (heartbeat=15.0))]
    fn frames(&self, heartbeat: Option<f64>) -> PyResult<Frames> {
        let heartbeat =
            heartbeat.map(Duration::try_from_secs_f64).transpose().ok().filter(|every| *every != Some(Duration::ZERO));
        let heartbeat = heartbeat
            .ok_or_else(|| PyValueError::new_err("'heartbeat' must be a positive number of seconds, or None"))?;
        Ok(Frames::new(self.reader.clone(), heartbeat))
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Await the next event. Iteration ends after the terminal event, or when the subscription is closed.
    fn __anext__(&self) -> Awaitable {
        Awaitable::new(Operation::NextEvent(self.reader.clone()), None)
    }

    /// Close the subscription, for `contextlib.aclosing`. Awaitable.
    fn aclose(&self, py: Python<'_>) -> Awaitable {
        self.close();
        Awaitable::new(Operation::Value(py.None()), None)
    }

    fn __aenter__(slf: Bound<'_, Self>) -> Awaitable {
        Awaitable::new(Operation::Value(slf.into_any().unbind()), None)
    }

    fn __aexit__(
        &self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc_value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> Awaitable {
        self.aclose(py)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(&self, _exc_type: &Bound<'_, PyAny>, _exc_value: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let state = match self.reader.open() {
            None => "of the process that was forked",
            Some(open) if open.is_closed() => "closed",
            Some(_) => "open",
        };
        format!("<Subscription to run {}: {state}, {} unread>", self.reader.core().run_id(), self.qsize())
    }
}
