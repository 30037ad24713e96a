//! `Subscription`: the reading side of `queue.Queue` on a cursor.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyAny;

use super::awaitable::{Awaitable, Frames};
use super::error::Empty;
use super::wake::LoopPort;
use super::{gate, json};
use crate::core::subscription::Chunk;
use crate::core::sync::is_past;
use crate::core::{self, Event, NotReady};

/// A reader of one run: a cursor on its log, with the reading side of `queue.Queue`.
///
/// Made by `RunManager.subscribe`. Dropping it unregisters it; nothing else is needed. A reader that fell too far
/// behind gets one dict that names the gap, then goes on with the oldest event still held. After the terminal event
/// nothing more comes, and reading raises `queue.Empty` at once.
#[pyclass(frozen, weakref, module = "genglossary_runs")]
pub struct Subscription {
    core: Arc<core::Subscription>,
    /// What `full` and `put_nowait` measure by.
    capacity: usize,
    /// The key of the event loop that first awaited it.
    owner: OnceLock<u64>,
}

impl Subscription {
    pub fn new(core: core::Subscription, capacity: usize) -> Self {
        Self { core: Arc::new(core), capacity, owner: OnceLock::new() }
    }

    /// The reader; `None` in a forked child, where it is closed.
    pub fn open(&self) -> Option<&core::Subscription> {
        Some(&*self.core).filter(|core| !core.is_of_parent())
    }

    /// The reader, for somebody who reads it in place of Python.
    pub fn share(&self) -> Arc<core::Subscription> {
        self.core.clone()
    }

    /// The reader, to be used only after a look has found it open.
    pub fn core(&self) -> &core::Subscription {
        &self.core
    }

    /// Refuse any event loop but the first that has awaited it.
    pub fn bind(&self, port: &LoopPort) -> PyResult<()> {
        if *self.owner.get_or_init(|| port.key) == port.key {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("this subscription is read from another event loop; subscribe once for each loop"))
    }

    /// Have `port` rung when there may be more to read than `epoch` said: the key it reports, or `None` if there may be
    /// already. A key is to be followed by `end_wait`.
    pub fn arm(&self, epoch: u64, port: &LoopPort) -> Option<u64> {
        self.core.arm(epoch, &port.core).then(|| self.core.key())
    }

    pub fn try_next_chunk(&self, limit: usize) -> Result<Arc<Chunk>, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next_chunk(limit)
    }

    pub fn try_next(&self) -> Result<Event, NotReady> {
        self.open().ok_or(NotReady::Ended)?.try_next()
    }

    pub fn decode<'py>(&self, py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyAny>> {
        json::decode(py, &event.json(self.core.run_id()))
    }

    /// The next event, waited for until `timeout` seconds have passed; `None` if there is none.
    fn next_event(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Event>> {
        // Most reads find something: they need no clock.
        let mut found = self.try_next();
        let deadline = if found.is_err() { gate::deadline(timeout)? } else { None };
        loop {
            match found {
                Ok(event) => return Ok(Some(event)),
                Err(NotReady::Pending(epoch)) if !is_past(deadline) => {
                    gate::warn_if_loop_runs(py)?;
                    gate::block(py, deadline, |until| self.core.wait(epoch, until))?;
                }
                Err(_) => return Ok(None),
            }
            found = self.try_next();
        }
    }
}

#[pymethods]
impl Subscription {
    /// The run it reads.
    #[getter]
    fn run_id(&self) -> i64 {
        self.core.run_id()
    }

    /// The id that, passed as `after`, lets another subscription go on where this one stands.
    #[getter]
    fn last_event_id(&self) -> String {
        self.open().map_or_else(String::new, |open| open.last_event_id().to_string())
    }

    /// Whether it has been closed or unregistered.
    #[getter]
    fn closed(&self) -> bool {
        self.open().is_none_or(core::Subscription::is_closed)
    }

    /// Whether nothing more comes: it has been closed, or the terminal event has been read.
    #[getter]
    fn ended(&self) -> bool {
        self.open().is_none_or(core::Subscription::is_ended)
    }

    /// Return the next event as a dict.
    ///
    /// Lets go of the GIL while it waits, notices Ctrl-C within 100 ms, and ends when the subscription is closed.
    ///
    /// Args:
    ///     block: wait for an event if there is none.
    ///     timeout: seconds to wait at most, 0 or more; None waits without end.
    ///
    /// Raises:
    ///     queue.Empty: no event came in time; at once when closed, or after the terminal event.
    ///     ValueError: a negative timeout.
    #[pyo3(signature = (block=true, timeout=None))]
    fn get<'py>(&self, py: Python<'py>, block: bool, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let timeout = if block { timeout } else { Some(0.0) };
        timeout.map_or(Ok(()), gate::check_timeout)?;
        let event = self.next_event(py, timeout)?.ok_or_else(|| Empty::new_err(()))?;
        self.decode(py, &event)
    }

    /// Return the next event as a dict, or raise `queue.Empty`.
    fn get_nowait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event = self.try_next().map_err(|_| Empty::new_err(()))?;
        self.decode(py, &event)
    }

    /// Whether `get_nowait` would raise `queue.Empty`.
    fn empty(&self) -> bool {
        self.qsize() == 0
    }

    /// Whether `qsize()` has reached the manager's `history`.
    fn full(&self) -> bool {
        self.qsize() >= self.capacity
    }

    /// How many messages wait to be read; the notice of a gap, which comes before them, is not counted.
    fn qsize(&self) -> usize {
        self.open().map_or(0, core::Subscription::unread)
    }

    /// Give this reader alone a message, read in the place where it was put.
    ///
    /// A closed subscription ignores it.
    ///
    /// Raises:
    ///     queue.Full: the manager's `history` of such messages is unread.
    ///     TypeError, ValueError: as for `RunManager.publish`.
    #[pyo3(signature = (message, /))]
    fn put_nowait(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = json::encode(message, None)?;
        if let Some(open) = self.open() {
            open.put(message, self.capacity)?;
        }
        Ok(())
    }

    /// Unregister: nothing more is received, and a blocked `get` ends with `queue.Empty`. May be repeated.
    fn close(&self) {
        self.core.close();
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Wait for the next event; iteration ends after the terminal event, or when closed.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.next_event(py, None)? {
            Some(event) => self.decode(py, &event).map(Some),
            None => Ok(None),
        }
    }

    /// Await the next event as a dict; to be called where an event loop runs. `ensure_future` makes a task of it.
    ///
    /// A subscription belongs to the event loop that first awaits it. A cancelled await loses no event.
    ///
    /// Args:
    ///     timeout: seconds to wait at most, 0 or more; None waits without end.
    ///
    /// Raises:
    ///     queue.Empty: no event came in time; at once when closed, or after the terminal event.
    ///     RuntimeError: another event loop has awaited it before.
    ///     ValueError: a negative timeout.
    #[pyo3(signature = (timeout=None))]
    fn aget(slf: Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Awaitable> {
        Ok(Awaitable::event(slf.unbind(), gate::deadline(timeout)?))
    }

    /// Iterate over ready server-sent events: everything that waits as one chunk of at most 64 KiB.
    ///
    /// Each event has its id, a gap `event: gap` without one, the terminal event `event: complete`; the iteration ends
    /// after that, or when closed. A single event of more than 64 KiB is a chunk of its own.
    ///
    /// Args:
    ///     heartbeat: seconds without an event after which a comment line is given, more than 0; None for never.
    ///
    /// Raises:
    ///     RuntimeError: another event loop has awaited the subscription before.
    ///     ValueError: heartbeat is not positive.
    #[pyo3(signature = (heartbeat=15.0))]
    fn frames(slf: Bound<'_, Self>, heartbeat: Option<f64>) -> PyResult<Frames> {
        let heartbeat =
            heartbeat.map(Duration::try_from_secs_f64).transpose().ok().filter(|every| *every != Some(Duration::ZERO));
        let heartbeat = heartbeat
            .ok_or_else(|| PyValueError::new_err("'heartbeat' must be a positive number of seconds, or None"))?;
        Ok(Frames::new(slf.unbind(), heartbeat))
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Await the next event; iteration ends after the terminal event, or when closed.
    fn __anext__(slf: Bound<'_, Self>) -> Awaitable {
        Awaitable::next_event(slf.unbind())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(&self, _exc_type: &Bound<'_, PyAny>, _exc_value: &Bound<'_, PyAny>, _traceback: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { "closed" } else { "open" };
        format!("<Subscription of run {}: {state}, {} unread>", self.core.run_id(), self.qsize())
    }
}
