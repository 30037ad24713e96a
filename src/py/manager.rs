//! `RunManager` as Python sees it: signatures and documentation.
//!
//! `arguments.rs` converts arguments, `stored.rs` implements the methods that may need the store, and `fork.rs` gives a
//! forked child a manager of its own. The methods of any manager come first, then those that need a store, then the
//! awaitable forms, then those for the GenGlossary application.

use arrayvec::ArrayString;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::arguments::{Label, Statuses, limit, query, seconds};
use super::awaitable::{Awaitable, Operation};
use super::cancel::CancelEvent;
use super::fork::PerProcess;
use super::json;
use super::run_id::{self, AnyRun, NewRun};
use super::store::Link;
use super::subscription::Subscription;
use crate::core::limits::Requested;
use crate::core::{self, EventId, EventName, Limits, Payload};

/// Manages runs, their subscribers and their cancel events. All methods are thread-safe.
///
/// A run id is an int of 64 bits or a str of 1 to 200 characters without control characters. A `uuid.UUID` is converted
/// to its text, and a str that is the decimal form of a 64-bit int to that int. Methods that create a run refuse other
/// ids: with `TypeError` if the type is wrong (bool and float included), else with `InvalidRunIdError`. Methods that
/// look a run up treat them as ids of unknown runs.
///
/// A run is one bounded, numbered log; a subscription is only a cursor on it. Publishing costs the same for one reader
/// and for ten thousand, and nothing is queued per reader. In a forked child the manager is empty.
///
/// Args:
///     history: maximum number of events in a run's log, 1 to 2**31 - 1; the oldest are evicted first. Also the maximum
///         number of unread private messages per subscription, see `Subscription.put_nowait`.
///     history_bytes: maximum bytes of JSON in a run's log, 1 or more. The newest event is kept even if it is larger.
///     retained_runs: maximum number of finished runs kept for late readers, 0 or more.
///     retained_bytes: maximum bytes of JSON in all retained runs together, 0 or more.
///     retention: seconds a finished run is retained, 0 to 1e9. There is no timer: opening, finishing and subscribing
///         to runs, `terminal_event`, `retained_runs` and `stats` evict expired runs.
///     default: called with a value that has no JSON form; returns a value to write instead. None refuses such values.
///     store: a `SqliteStore` or `RedisStore` that keeps runs outside the process; None keeps them in memory only.
///         Stored runs outlive the process, and every process that uses the store can read, cancel, finish and publish
///         to them. With a store, `open_run` and all calls about a run that is not open in this process block until the
///         store answers, usually for milliseconds; in a coroutine, await the methods that start with `a` instead.
///     tells_interrupted: whether readers of a run whose process died get the outcome that the store recorded. If
///         False, they wait until `without_store().finish_run(...)` is called in this process, for an application that
///         knows the real outcome.
///     args, kwargs: ignored, so that a subclass can have its own constructor; `RunManager` itself raises `TypeError`
///         if there are any.
///
/// Raises:
///     ValueError: a limit is out of bounds.
///     TypeError: `default` is not callable, or `store` is not a store.
#[pyclass(frozen, subclass, weakref, module = "genglossary_runs")]
pub struct RunManager {
    state: PerProcess<State>,
    default: Option<Py<PyAny>>,
}

/// The state of a manager in one process.
pub struct State {
    pub core: core::RunManager,
    pub link: Option<Link>,
}

impl RunManager {
    pub fn state(&self) -> &State {
        let for_child = |parent: &State| {
            let core = parent.core.new_like();
            State { core, link: parent.link.as_ref().map(Link::for_child) }
        };
        self.state.get(for_child)
    }

    pub fn core(&self) -> &core::RunManager {
        &self.state().core
    }

    fn payload(&self, event: &Bound<'_, PyAny>, name: Option<&Bound<'_, PyString>>) -> PyResult<Payload> {
        let name = name.map(|name| name.to_str()).transpose()?.map(EventName::try_from).transpose()?;
        self.encode(name, event)
    }

    pub fn encode(&self, name: Option<EventName<'_>>, event: &Bound<'_, PyAny>) -> PyResult<Payload> {
        json::encode(name, event, self.default.as_ref().map(|default| default.bind(event.py())))
    }
}

/// Convert an event id to a str or None.
fn event_id_to_python(py: Python<'_>, id: Option<EventId>) -> Py<PyAny> {
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
        let state = State { core, link };
        Ok(Self { state: PerProcess::new(state), default: default.map(Bound::unbind) })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.default)
    }

    /// Open a run and return its cancel event.
    ///
    /// Takes over an entry created by subscribers or by `cancel_event(run_id, create=True)`. A retained earlier life of
    /// the id is dropped.
    ///
    /// Args:
    ///     run_id: the run.
    ///     key: at most one run with this key is active in all processes that use the store; None for no limit.
    ///         Requires a store.
    ///     name: what people call the run; kept in its record, so without a store it is ignored. Lone surrogates become
    ///         U+FFFD.
    ///
    /// Raises:
    ///     RunActiveError: the run is open, or the key has an active run; with a store, `run_id` of the error names it.
    ///     InvalidRunIdError, TypeError: the id is invalid.
    ///     StoreError: the store cannot be used.
    ///     ValueError: there is a key but no store.
    #[pyo3(signature = (run_id, *, key=None, name=None))]
    fn open_run(
        &self,
        py: Python<'_>,
        run_id: NewRun<'_>,
        key: Option<String>,
        name: Option<Label>,
    ) -> PyResult<Py<PyAny>> {
        self.opening(py, &run_id, key, name)?.wait(py)
    }

    /// Append an event to the run's log and wake its readers.
    ///
    /// Args:
    ///     run_id: a run that is open or has subscribers or a cancel event.
    ///     event: a dict or another mapping. NaN and infinities become null, lone surrogates U+FFFD, keys as in
    ///         `json.dumps`. Besides JSON's types, values may be dates and times (ISO 8601), UUID, Decimal and Path
    ///         (text), Enum (its value), dataclasses, pydantic models, mappings, sequences and sets of any kind, and
    ///         NumPy scalars and arrays. Other values are passed to the manager's `default`.
    ///     name: the `event:` field of the server-sent event, by which a page distinguishes kinds of events: 1 to 255
    ///         bytes of UTF-8 without line ends and control characters, other than `gap` and `complete`. None for no
    ///         name.
    ///
    /// Returns:
    ///     The event's id, `<fence>-<seq>`; None if no reader could ever get the event, because the run is unknown or
    ///     finished.
    ///
    /// Raises:
    ///     TypeError: the event is not a mapping, or contains a value or key that cannot be written, such as bytes; the
    ///         message says where. Nothing is published.
    ///     ValueError: the name is out of bounds; or the event is nested deeper than 128 levels, refers to itself, or
    ///         contains an integer of more than 4,300 digits or more than Python prints. Nothing is published.
    ///     StoreError: the run is not open in this process, and the store cannot be used.
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
            Ok(id) => Ok(event_id_to_python(py, id)),
            Err(payload) => self.publishing_elsewhere(py, &run_id, payload)?.wait(py),
        }
    }

    /// Set the run's cancel event.
    ///
    /// Returns:
    ///     True if there was a run to cancel; False if it is unknown or finished.
    ///
    /// Raises:
    ///     StoreError: the run is not open in this process, and the store cannot be used.
    fn cancel_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.cancelling(py, &run_id)?.wait(py)
    }

    /// Finish the run with a terminal event and remove its entry, in one atomic step.
    ///
    /// Without a store, a run that was never opened is recorded as finished, so that later readers learn its outcome.
    ///
    /// Args:
    ///     run_id: the run.
    ///     event: as for `publish`.
    ///     unless_active: do nothing if the run is open. Only for managers without a store.
    ///     result: what the run returned, as JSON, for its record in the store; invalid JSON is ignored.
    ///
    /// Returns:
    ///     True if this call finished the run; False if not, since a finished run keeps its first terminal event.
    ///
    /// Raises:
    ///     TypeError, ValueError: as for `publish`; the run is not finished.
    ///     InvalidRunIdError, TypeError: the id is invalid.
    ///     StoreError: the run is not open in this process, and the store cannot be used.
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

    /// Create a reader of the run.
    ///
    /// A reader of an unknown run waits for it to be opened, even if an earlier run of that id has been evicted. A
    /// reader of a retained run without `after` gets the terminal event at once. If `after` is the id of an event of
    /// this manager and nothing is kept of its run, the reader gets a terminal event with the status `unknown`.
    ///
    /// Args:
    ///     run_id: the run.
    ///     after: None for new events only; the id of an event of this life of the run for the events after it;
    ///         anything else (`"0"`, an id of another life, text that is not an id) for all events. A gap comes first
    ///         if some of these have been evicted.
    ///     must_exist: refuse a run that is not open, subscribed to, retained or stored.
    ///
    /// Raises:
    ///     UnknownRunError: the run does not exist and `must_exist` is set, or the id is invalid.
    ///     StoreError: the run is not open in this process, and the store cannot be used.
    #[pyo3(signature = (run_id, after=None, *, must_exist=false))]
    fn subscribe(
        &self,
        run_id: &Bound<'_, PyAny>,
        after: Option<Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Py<PyAny>> {
        self.subscribing(run_id, after.as_ref(), must_exist)?.wait(run_id.py())
    }

    /// Return the terminal event of a finished run while it is retained, else None.
    fn terminal_event<'py>(&self, py: Python<'py>, run_id: AnyRun<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let terminal = run_id.get().and_then(|run_id| self.core().terminal(run_id));
        terminal.map(|terminal| json::decode(py, &terminal)).transpose()
    }

    /// Return whether the run is open.
    fn is_active(&self, run_id: AnyRun<'_>) -> bool {
        run_id.get().is_some_and(|run_id| self.core().is_open(run_id))
    }

    /// Return the ids of the runs that are open or reserved by `cancel_event`: ascending ints, then strs.
    ///
    /// `stats` counts only the open ones as active.
    fn active_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().claimed_runs())
    }

    /// Return the ids of the unfinished runs that have subscribers: ascending ints, then strs.
    fn subscribed_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().subscribed_runs())
    }

    /// Return the ids of the finished runs that are retained, oldest first.
    fn retained_runs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        run_id::all_to_python(py, &self.core().retained_runs())
    }

    /// Return the cancel event of a run that is open, or that has one from an earlier `create`; else None.
    ///
    /// Args:
    ///     run_id: the run.
    ///     create: create the event and the run's entry if they do not exist; `open_run` takes the entry over.
    ///
    /// Raises:
    ///     InvalidRunIdError, TypeError: `create` is set and the id is invalid.
    #[pyo3(signature = (run_id, *, create=false))]
    fn cancel_event(&self, run_id: &Bound<'_, PyAny>, create: bool) -> PyResult<Option<CancelEvent>> {
        let found = if create {
            Some(self.core().reserve(run_id.extract::<NewRun<'_>>()?.get()))
        } else {
            run_id.extract::<AnyRun<'_>>()?.get().and_then(|run_id| self.core().cancel_event(run_id))
        };
        Ok(found.map(CancelEvent::from))
    }

    /// Return what the manager holds now and what it has done so far.
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
        if let Some(link) = &self.state().link {
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

    /// Open a run for a `with` block, and finish it when the block exits, however it exits.
    ///
    ///     with manager.run("import 7") as context:
    ///         context.log("started")
    ///
    /// The block gets a `genglossary_runs.runner.RunContext`. An exception is recorded and propagates.
    ///
    /// Args:
    ///     run_id: the run; None for a random UUID.
    #[pyo3(signature = (run_id=None))]
    fn run<'py>(slf: &Bound<'py, Self>, run_id: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("genglossary_runs.runner")?.getattr("ManagedRun")?.call1((slf, run_id))
    }

    // With a store

    /// Open a run under a new int id from the store, larger than all before it below 2**52. Waits for the store.
    ///
    /// Args:
    ///     key: at most one run with this key is active in all processes that use the store; None for no limit.
    ///     name: as for `open_run`.
    ///
    /// Returns:
    ///     The id and the cancel event.
    ///
    /// Raises:
    ///     RunActiveError: the key has an active run; `run_id` of the error names it.
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    #[pyo3(signature = (*, key=None, name=None))]
    fn open_new_run(&self, py: Python<'_>, key: Option<String>, name: Option<Label>) -> PyResult<Py<PyAny>> {
        self.opening_new(key, name)?.wait(py)
    }

    /// The store that was passed to the manager, or None.
    #[getter]
    fn store(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.state().link.as_ref().map(|link| link.store(py)).transpose()
    }

    /// The name of this process as an owner of runs, as it stands in their records; None without a store.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    #[getter]
    fn owner(&self) -> PyResult<Option<String>> {
        self.owner_name()
    }

    /// Return the store's record of a run, wherever it was executed. Waits for the store.
    ///
    /// Args:
    ///     run_id: the run.
    ///     with_result: read its result, too, which may be large. Otherwise `result` is None.
    ///
    /// Returns:
    ///     A dict with `run_id`, `fence` (identifies this life of the id), `key`, `name`, `status` (`running`, or the
    ///     outcome), `owner`, `started_at` and `finished_at` (seconds since 1970), `error`, `result`, and `result_kind`
    ///     (`text`, `link`, `json`, or None without a result); None if the run is unknown.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    #[pyo3(signature = (run_id, *, with_result=true))]
    fn run_record(&self, py: Python<'_>, run_id: AnyRun<'_>, with_result: bool) -> PyResult<Py<PyAny>> {
        self.looking_up(py, &run_id, with_result)?.wait(py)
    }

    /// Return the store's records of runs, newest first, each as `run_record` returns it. Waits for the store.
    ///
    /// Args:
    ///     key: only runs with this key.
    ///     status: only runs with this status, or with one of these.
    ///     text: only runs with this text in their id, key, name or error. Case is ignored for ASCII letters only.
    ///     also: the `fence` of runs to list even if they do not contain the text.
    ///     before: only runs that began before the run with this `fence`, the last of the previous page.
    ///     limit: maximum number of records.
    ///     with_results: read their results, too, which may be large. Otherwise each `result` is None.
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

    /// Return whether the run is open in this process and no other process has declared this one dead.
    ///
    /// Waits for the store. With a `RedisStore`, the answer holds for its `lease`. Call this before a write that must
    /// not happen twice.
    ///
    /// Args:
    ///     run_id: the run.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    fn owns_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.claiming(py, &run_id)?.wait(py)
    }

    // Awaitable forms

    /// Like `open_run`, but awaitable: the event loop does not block while the store answers.
    #[pyo3(signature = (run_id, *, key=None, name=None))]
    fn aopen_run(
        &self,
        py: Python<'_>,
        run_id: NewRun<'_>,
        key: Option<String>,
        name: Option<Label>,
    ) -> PyResult<Awaitable> {
        Ok(self.opening(py, &run_id, key, name)?.awaited())
    }

    /// Like `open_new_run`, but awaitable.
    #[pyo3(signature = (*, key=None, name=None))]
    fn aopen_new_run(&self, key: Option<String>, name: Option<Label>) -> PyResult<Awaitable> {
        Ok(self.opening_new(key, name)?.awaited())
    }

    /// Like `publish`, but awaitable.
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
            Ok(id) => Ok(Awaitable::new(Operation::Value(event_id_to_python(py, id)), None)),
            Err(payload) => Ok(self.publishing_elsewhere(py, &run_id, payload)?.awaited()),
        }
    }

    /// Like `cancel_run`, but awaitable.
    fn acancel_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Awaitable> {
        Ok(self.cancelling(py, &run_id)?.awaited())
    }

    /// Like `finish_run`, but awaitable.
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

    /// Like `subscribe`, but awaitable.
    #[pyo3(signature = (run_id, after=None, *, must_exist=false))]
    fn asubscribe(
        &self,
        run_id: &Bound<'_, PyAny>,
        after: Option<Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Awaitable> {
        Ok(self.subscribing(run_id, after.as_ref(), must_exist)?.awaited())
    }

    /// Like `owns_run`, but awaitable.
    fn aowns_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Awaitable> {
        Ok(self.claiming(py, &run_id)?.awaited())
    }

    /// Like `run_record`, but awaitable.
    #[pyo3(signature = (run_id, *, with_result=true))]
    fn arun_record(&self, py: Python<'_>, run_id: AnyRun<'_>, with_result: bool) -> PyResult<Awaitable> {
        Ok(self.looking_up(py, &run_id, with_result)?.awaited())
    }

    /// Like `run_records`, but awaitable.
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

    /// Return a manager of the same runs that never uses the store.
    ///
    /// It opens, reads, publishes to and finishes what this process has in memory. Do not use it in a forked child;
    /// call this method there again.
    fn without_store(&self, py: Python<'_>) -> Self {
        let state = State { core: self.core().clone(), link: None };
        Self { state: PerProcess::new(state), default: self.default.as_ref().map(|default| default.clone_ref(py)) }
    }

    /// Store a run that `without_store()` has opened and nobody has published to. Waits for the store.
    ///
    /// Returns:
    ///     True if the store keeps the run; False if another process executes a run with this id.
    ///
    /// Raises:
    ///     StoreError: the store cannot be used.
    ///     ValueError: the manager has no store.
    fn keep_run(&self, py: Python<'_>, run_id: AnyRun<'_>) -> PyResult<Py<PyAny>> {
        self.keeping(py, &run_id)?.wait(py)
    }

    /// Undo `open_run`, as if the run had never been opened; its subscribers keep waiting.
    ///
    /// Returns:
    ///     True if the run was open.
    fn abandon_run(&self, run_id: AnyRun<'_>) -> bool {
        run_id.get().is_some_and(|run_id| self.core().abandon(run_id))
    }

    /// Close a subscription of this manager. Returns False, and does nothing, if it is another manager's.
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
