//! `RunManager` as Python sees it: signatures and documentation.
//!
//! `arguments.rs` reads what the methods are given, `stored.rs` has what those do that may have to ask a store, and
//! `fork.rs` what a child has of a manager. First come the methods of any manager, then those that need a store, then the
//! forms to be awaited, then what the GenGlossary application needs.

use arrayvec::ArrayString;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::arguments::{Statuses, limit, query, seconds};
use super::awaitable::{Awaitable, Wish};
use super::cancel::CancelEvent;
use super::fork::PerProcess;
use super::json;
use super::run_id::{self, AnyRun, NewRun};
use super::store::Link;
use super::subscription::Subscription;
use crate::core::limits::Requested;
use crate::core::{self, EventId, EventName, Limits, Payload};

/// Owns runs, their subscribers and their cancel events. Every method may be called from any thread.
///
/// A run is named by an int of 64 bits or by a str of 1 to 200 characters without control characters; a `uuid.UUID`
/// is its text, and a str that is the decimal form of such an int is that int. Methods that make a run refuse any
/// other id: with `TypeError` one of another type (a bool or a float, too), else with `InvalidRunIdError`. To all
/// others, which find runs, it is the id of an unknown one.
///
/// A run is one bounded, numbered log; a subscription is only a cursor on it. Publishing costs the same for one
/// reader and for ten thousand, and nothing is queued for a reader that could be left behind when it vanishes.
/// After a fork the child's manager is empty.
///
/// Args:
///     history: events a run's log holds at most, 1 to 2**31 - 1; the oldest are evicted first. Also how many messages
///         `Subscription.put_nowait` takes before `queue.Full`.
///     history_bytes: bytes of JSON a run's log holds at most, at least 1. The newest event is kept even if it
///         alone is larger.
///     retained_runs: finished runs kept for late readers, 0 or more.
///     retained_bytes: bytes of JSON these may hold together, 0 or more.
///     retention: seconds a finished run is kept, 0 to 1e9. No thread sees to it: what is too old is evicted by the
///         next call of any method but `publish` and `cancel_run`.
///     store: keeps the runs outside the process: a `SqliteStore` or `RedisStore`. They outlive it then, and every
///         process that uses the store reads, cancels, finishes and publishes to all of them, under the ids of their
///         owner, the process that opened them. None keeps them in memory alone. With a store `open_run`, and whatever
///         concerns a run that is not open in this process, waits for the store, for some milliseconds; in a coroutine
///         await the forms that begin with an `a`.
///     default: called with a value that has no JSON form; returns one to be written instead. None refuses it.
///     tells_interrupted: tell readers of a run whose process ended how it ended, by the store's word. False has them
///         wait until `finish_run` with `unless_active` is called here, by an application that knows more.
///     args, kwargs: ignored, so that a subclass may have a constructor of its own; `RunManager` itself refuses
///         them with `TypeError`.
///
/// Raises:
///     ValueError: a limit is out of its bounds.
#[pyclass(frozen, subclass, weakref, module = "genglossary_runs")]
pub struct RunManager {
    kept: PerProcess<Kept>,
    default: Option<Py<PyAny>>,
}

/// What a manager has in one process.
pub struct Kept {
    pub core: core::RunManager,
    pub link: Option<Link>,
}

impl RunManager {
    pub fn kept(&self) -> &Kept {
        let again = |parent: &Kept| {
            let core = parent.core.anew();
            Kept { core, link: parent.link.as_ref().map(Link::again) }
        };
        self.kept.get(again)
    }

    pub fn core(&self) -> &core::RunManager {
        &self.kept().core
    }

    fn payload(&self, event: &Bound<'_, PyAny>, name: Option<&Bound<'_, PyString>>) -> PyResult<Payload> {
        let name = name.map(|name| name.to_str()).transpose()?.map(EventName::try_from).transpose()?;
        self.encode(name, event)
    }

    pub fn encode(&self, name: Option<EventName<'_>>, event: &Bound<'_, PyAny>) -> PyResult<Payload> {
        json::encode(name, event, self.default.as_ref().map(|default| default.bind(event.py())))
    }
}

/// The id of an event as Python has it.
fn shown(py: Python<'_>, id: Option<EventId>) -> Py<PyAny> {
    id.map_or_else(|| py.None(), |id| PyString::new(py, id.encode(&mut ArrayString::new())).into_any().unbind())
}

#[pymethods]
impl RunManager {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, history=1000, history_bytes=8388608, retained_runs=256, retained_bytes=67108864,
                        retention=300.0, default=None, store=None, tells_interrupted=true, **kwargs))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        cls: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        #[pyo3(from_py_with = limit)] history: i64,
        #[pyo3(from_py_with = limit)] history_bytes: i64,
        #[pyo3(from_py_with = limit)] retained_runs: i64,
        #[pyo3(from_py_with = limit)] retained_bytes: i64,
        #[pyo3(from_py_with = seconds)] retention: f64,
        default: Option<Bound<'_, PyAny>>,
        store: Option<Bound<'_, PyAny>>,
        tells_interrupted: bool,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let unknown = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if unknown && cls.is(cls.py().get_type::<Self>()) {
            return Err(PyTypeError::new_err(
                "RunManager takes only the keywords history, history_bytes, retained_runs, retained_bytes, retention, \
                 default, store and tells_interrupted",
            ));
        }
        if default.as_ref().is_some_and(|default| !default.is_callable()) {
            return Err(PyTypeError::new_err("default must be a callable that takes one value, or None"));
        }
        let requested = Requested { history, history_bytes, retained_runs, retained_bytes, retention };
        let limits = Limits::try_from(requested)?;
        let link = store.map(|store| Link::new(&store)).transpose()?;
        let core =
            if tells_interrupted { core::RunManager::new(limits) } else { core::RunManager::with_orphans(limits) };
        let kept = Kept { core, link };
        Ok(Self { kept: PerProcess::new(kept), default: default.map(Bound::unbind) })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.default)
    }

    /// Open a run and return its cancel event.
    ///
    /// Takes over an entry that subscribers, or `cancel_event(run_id, create=True)`, have made. An earlier life of the
    /// id is not retained any longer.
    ///
    /// Args:
    ///     run_id: the run.
    ///
    /// Raises:
    ///     RunActiveError: the run is open.
    ///     InvalidRunIdError, TypeError: the id cannot name a run.
    #[pyo3(signature = (run_id, *, key=None))]
    fn open_run(&self, py: Python<'_>, run_id: NewRun<'_>, key: Option<String>) -> PyResult<Py<PyAny>> {
        self.opening(py, &run_id, key)?.wait(py)
    }

    /// Append an event to the run's log and wake its readers.
    ///
    /// Args:
    ///     run_id: a run that is open, subscribed to, or has a cancel event.
    ///     event: a dict or another mapping. NaN and infinities become null, lone surrogates U+FFFD, keys as in
    ///         `json.dumps`. Besides what has a JSON form, values may be dates and times (ISO 8601), UUID, Decimal and
    ///         Path (text), Enum (its value), dataclasses, pydantic models, mappings, sequences and sets of any kind,
    ///         and NumPy scalars and arrays. Anything else goes through the manager's `default`.
    ///     name: the field `event:` of the server-sent event, by which a page tells kinds of events apart: 1 to 255
    ///         bytes of UTF-8 without line ends and control characters, other than `gap` and `complete`. None for none.
    ///
    /// Returns:
    ///     The event's id, `<fence>-<seq>`; None if no reader could ever get the event, because the run is unknown or
    ///     finished.
    ///
    /// Raises:
    ///     TypeError: the event is not a mapping, or has a value or key that cannot be written, such as bytes (the
    ///         message says where). Nothing is published.
    ///     ValueError: the name is not within its bounds; or the event is nested deeper than 128 levels, refers to
    ///         itself, or has an integer of more than 4,300 digits, or more than Python prints. Nothing is published.
    #[pyo3(signature = (run_id, event, /, *, name=None))]
    fn publish(
        &self,
        run_id: AnyRun<'_>,
        event: &Bound<'_, PyAny>,
        name: Option<Bound<'_, PyString>>,
    ) -> PyResult<Py<PyAny>> {
        let py = event.py();
        let payload = self.payload(event, name.as_ref())?;
        match self.publish_here(&run_id, payload) {
            Ok(id) => Ok(shown(py, id)),
            Err(payload) => self.publishing_elsewhere(py, &run_id, payload)?.wait(py),
        }
    }

    /// Set the run's cancel event.
    ///
    /// Returns:
    ///     Whether there was a run to cancel: False for unknown and finished runs.
    fn cancel_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.cancelling(py, &run_id)?.wait(py)
    }

    /// Finish the run with this terminal event and clear every entry of it, as one step for everyone else.
    ///
    /// A run that was never opened is recorded as finished, so that a later reader learns its outcome.
    ///
    /// Args:
    ///     run_id: the run.
    ///     event: as for `publish`.
    ///     unless_active: leave a run that is open alone.
    ///     result: what the run returned, as JSON, for its record in the store; what is no JSON is left out.
    ///
    /// Returns:
    ///     Whether this call finished the run. False if it had finished before: its first terminal event stays.
    ///
    /// Raises:
    ///     TypeError, ValueError: as for `publish`; the run has not finished.
    ///     InvalidRunIdError, TypeError: the id cannot name a run.
    #[pyo3(signature = (run_id, event, /, *, unless_active=false, result=None))]
    fn finish_run(
        &self,
        run_id: NewRun<'_>,
        event: &Bound<'_, PyAny>,
        unless_active: bool,
        result: Option<String>,
    ) -> PyResult<Py<PyAny>> {
        self.finishing(&run_id, event, unless_active, result)?.wait(event.py())
    }

    /// Make a reader of the run.
    ///
    /// An unknown run is waited for, unless `must_exist`. On a finished run that is retained, a reader without `after`
    /// gets the terminal event at once. A run that has ended is never waited for: if `after` is the id of an event of
    /// this manager, and nothing is kept of the run, the reader gets a terminal event with the status `unknown`.
    ///
    /// Args:
    ///     run_id: the run.
    ///     after: None for new events only; the id of an event of this life of the run for those after it; anything
    ///         else (`"0"`, an id of another life, text that is not an id) for all from the oldest, with a gap first if
    ///         the oldest have been evicted.
    ///     must_exist: refuse a run that is not open, subscribed to or retained.
    ///
    /// Raises:
    ///     UnknownRunError: with `must_exist`; and for an id that no run can have.
    #[pyo3(signature = (run_id, after=None, *, must_exist=false))]
    fn subscribe(
        &self,
        run_id: &Bound<'_, PyAny>,
        after: Option<Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Py<PyAny>> {
        self.subscribing(run_id, after.as_ref(), must_exist)?.wait(run_id.py())
    }

    /// The terminal event of a finished run, while it is retained.
    fn terminal_event<'py>(&self, py: Python<'py>, run_id: AnyRun<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let terminal = run_id.get().and_then(|run_id| self.core().terminal(run_id));
        terminal.map(|terminal| json::decode(py, &terminal)).transpose()
    }

    /// Whether the run is open.
    fn is_active(&self, run_id: AnyRun<'_>) -> bool {
        run_id.get().is_some_and(|run_id| self.core().is_open(run_id))
    }

    /// The ids of the runs that are open, or have a cancel event before they open: rising ints, then strs.
    fn active_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().claimed_runs())
    }

    /// The ids of the runs, open or yet to start, that have a subscription: rising ints, then strs.
    fn subscribed_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().subscribed_runs())
    }

    /// The ids of the finished runs that are retained, oldest first.
    fn retained_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().retained_runs())
    }

    /// The cancel event of a run that is open, or for which it was made before by `create`; else None.
    ///
    /// Args:
    ///     run_id: the run.
    ///     create: make the event, and the run's entry, if there is none; `open_run` takes it over.
    ///
    /// Raises:
    ///     InvalidRunIdError, TypeError: with `create`, if the id cannot name a run.
    #[pyo3(signature = (run_id, *, create=false))]
    fn cancel_event(&self, run_id: &Bound<'_, PyAny>, create: bool) -> PyResult<Option<CancelEvent>> {
        let found = if create {
            Some(self.core().reserve(run_id.extract::<NewRun<'_>>()?.get()))
        } else {
            run_id.extract::<AnyRun<'_>>()?.get().and_then(|run_id| self.core().cancel_event(run_id))
        };
        Ok(found.map(CancelEvent::from))
    }

    /// What the manager holds now, and what it has done.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.core().stats();
        let dict = PyDict::new(py);
        dict.set_item("active_runs", stats.active_runs)?;
        dict.set_item("subscribed_runs", stats.subscribed_runs)?;
        dict.set_item("subscribers", stats.subscribers)?;
        dict.set_item("retained_runs", stats.retained_runs)?;
        dict.set_item("events_held", stats.events_held)?;
        dict.set_item("bytes_held", stats.bytes_held)?;
        dict.set_item("events_published", stats.events_published)?;
        dict.set_item("bytes_published", stats.bytes_published)?;
        dict.set_item("events_missed", stats.events_missed)?;
        if let Some(link) = &self.kept().link {
            dict.set_item("store", link.describe(py)?)?;
        }
        Ok(dict)
    }

    fn __repr__(&self) -> String {
        let stats = self.core().stats();
        format!(
            "<RunManager: {} active and {} retained runs, {} subscribers>",
            stats.active_runs, stats.retained_runs, stats.subscribers
        )
    }

    /// Open a run for the time of a `with` block, which finishes it however it is left.
    ///
    ///     with manager.run("import 7") as context:
    ///         context.log("begun")
    ///
    /// The block is given a `genglossary_runs.runner.RunContext`. What it raises is recorded, and goes on.
    ///
    /// Args:
    ///     run_id: the run; None for a random UUID as text.
    #[pyo3(signature = (run_id=None))]
    fn run<'py>(slf: &Bound<'py, Self>, run_id: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("genglossary_runs.runner")?.getattr("ManagedRun")?.call1((slf, run_id))
    }

    // With a store

    /// Open a run with an int id that the store gives, larger than all before it below 2**52. Waits for the store.
    ///
    /// Args:
    ///     key: at most one run with this key is active in all processes that use the store; None for no limit.
    ///
    /// Returns:
    ///     The id and the cancel event.
    ///
    /// Raises:
    ///     RunActiveError: the key has an active run, which its `run_id` names.
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    #[pyo3(signature = (*, key=None))]
    fn open_new_run(&self, py: Python<'_>, key: Option<String>) -> PyResult<Py<PyAny>> {
        self.opening_new(key)?.wait(py)
    }

    /// The store that was given to the manager, or None.
    #[getter]
    fn store(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.kept().link.as_ref().map(|link| link.store(py)).transpose()
    }

    /// What the store knows of a run, wherever it was executed. Waits for the store.
    ///
    /// Args:
    ///     run_id: the run.
    ///     with_result: read its result, too, which may be large. Without it `result` is None.
    ///
    /// Returns:
    ///     A dict with `run_id`, `fence` (which life of the id), `key`, `status` (`running`, or how it finished),
    ///     `owner`, `started_at` and `finished_at` (seconds since 1970), `error`, `result`, and `result_kind` (`text`,
    ///     `link`, `json`, or None where there is no result); None if unknown.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    #[pyo3(signature = (run_id, *, with_result=true))]
    fn run_record(&self, py: Python<'_>, run_id: AnyRun<'_>, with_result: bool) -> PyResult<Py<PyAny>> {
        self.looking_up(py, &run_id, with_result)?.wait(py)
    }

    /// What the store knows of runs, the newest first, as a list of what `run_record` returns. Waits for the store.
    ///
    /// Args:
    ///     key: only runs with this key.
    ///     status: only runs with this status, or one of these.
    ///     text: only runs that have this text in their id, key or error. ASCII letters match in either case, others
    ///         only as they are.
    ///     also: the `fence` of runs that are listed whether they have the text or not.
    ///     before: only runs that began before the one with this `fence`, the last of the page before.
    ///     limit: how many at most.
    ///     with_results: read their results, too, which may be large. Without them each `result` is None.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    #[pyo3(signature = (*, key=None, status=None, text=None, also=None, before=None, limit=100, with_results=true))]
    #[allow(clippy::too_many_arguments)]
    fn run_records(
        &self,
        py: Python<'_>,
        key: Option<String>,
        status: Option<Statuses>,
        text: Option<String>,
        also: Option<Vec<u64>>,
        before: Option<u64>,
        limit: usize,
        with_results: bool,
    ) -> PyResult<Py<PyAny>> {
        self.listing(query(key, status, text, also, before, limit), with_results)?.wait(py)
    }

    /// Whether the run is open in this process, and no other has taken this one for dead. Waits for the store.
    ///
    /// With a `RedisStore` this holds for its `lease` from now on. Ask before writing what must not be written twice.
    ///
    /// Args:
    ///     run_id: the run.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    fn owns_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.claiming(py, &run_id)?.wait(py)
    }

    // To be awaited

    /// Await what `open_run` returns. For event loops: only the caller waits for the store.
    #[pyo3(signature = (run_id, *, key=None))]
    fn aopen_run(&self, py: Python<'_>, run_id: NewRun<'_>, key: Option<String>) -> PyResult<Awaitable> {
        Ok(self.opening(py, &run_id, key)?.awaited())
    }

    /// Await what `open_new_run` returns.
    #[pyo3(signature = (*, key=None))]
    fn aopen_new_run(&self, key: Option<String>) -> PyResult<Awaitable> {
        Ok(self.opening_new(key)?.awaited())
    }

    /// Await what `publish` returns.
    #[pyo3(signature = (run_id, event, /, *, name=None))]
    fn apublish(
        &self,
        run_id: AnyRun<'_>,
        event: &Bound<'_, PyAny>,
        name: Option<Bound<'_, PyString>>,
    ) -> PyResult<Awaitable> {
        let py = event.py();
        let payload = self.payload(event, name.as_ref())?;
        match self.publish_here(&run_id, payload) {
            Ok(id) => Ok(Awaitable::new(Wish::Value(shown(py, id)), None)),
            Err(payload) => Ok(self.publishing_elsewhere(py, &run_id, payload)?.awaited()),
        }
    }

    /// Await what `cancel_run` returns.
    fn acancel_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Awaitable> {
        Ok(self.cancelling(py, &run_id)?.awaited())
    }

    /// Await what `finish_run` returns.
    #[pyo3(signature = (run_id, event, /, *, unless_active=false, result=None))]
    fn afinish_run(
        &self,
        run_id: NewRun<'_>,
        event: &Bound<'_, PyAny>,
        unless_active: bool,
        result: Option<String>,
    ) -> PyResult<Awaitable> {
        Ok(self.finishing(&run_id, event, unless_active, result)?.awaited())
    }

    /// Await what `subscribe` returns.
    #[pyo3(signature = (run_id, after=None, *, must_exist=false))]
    fn asubscribe(
        &self,
        run_id: &Bound<'_, PyAny>,
        after: Option<Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Awaitable> {
        Ok(self.subscribing(run_id, after.as_ref(), must_exist)?.awaited())
    }

    /// Await what `owns_run` returns.
    fn aowns_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Awaitable> {
        Ok(self.claiming(py, &run_id)?.awaited())
    }

    /// Await what `run_record` returns.
    #[pyo3(signature = (run_id, *, with_result=true))]
    fn arun_record(&self, py: Python<'_>, run_id: AnyRun<'_>, with_result: bool) -> PyResult<Awaitable> {
        Ok(self.looking_up(py, &run_id, with_result)?.awaited())
    }

    /// Await what `run_records` returns.
    #[pyo3(signature = (*, key=None, status=None, text=None, also=None, before=None, limit=100, with_results=true))]
    #[allow(clippy::too_many_arguments)]
    fn arun_records(
        &self,
        key: Option<String>,
        status: Option<Statuses>,
        text: Option<String>,
        also: Option<Vec<u64>>,
        before: Option<u64>,
        limit: usize,
        with_results: bool,
    ) -> PyResult<Awaitable> {
        Ok(self.listing(query(key, status, text, also, before, limit), with_results)?.awaited())
    }

    // For the GenGlossary application

    /// A manager of the same runs that never asks the store: it opens, reads, publishes to and finishes what this
    /// process has in memory. For one use; another process, such as a forked child, needs its own.
    fn without_store(&self, py: Python<'_>) -> Self {
        let kept = Kept { core: self.core().clone(), link: None };
        Self { kept: PerProcess::new(kept), default: self.default.as_ref().map(|default| default.clone_ref(py)) }
    }

    /// Have the store keep a run that `without_store` has opened and nobody has published to. Waits for the store.
    ///
    /// Returns:
    ///     Whether it keeps the run: False if another process executes a run of this id.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    fn keep_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.keeping(py, &run_id)?.wait(py)
    }

    /// Take back `open_run`, as if the run had never been opened; its subscribers keep waiting.
    ///
    /// Returns:
    ///     Whether the run was open.
    fn abandon_run(&self, run_id: AnyRun<'_>) -> bool {
        run_id.get().is_some_and(|run_id| self.core().abandon(run_id))
    }

    /// Close a subscription that this manager has made. Returns whether it has made it.
    #[pyo3(signature = (subscription, /))]
    fn unsubscribe(&self, subscription: &Subscription) -> bool {
        let reader = subscription.reader();
        let made = reader.open().is_some_and(|open| self.core().has_made(open));
        if made {
            reader.core().close();
        }
        made
    }
}
