//! `RunManager`.

use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use super::cancel::CancelEvent;
use super::error::UnknownRunError;
use super::fork::PerProcess;
use super::json;
use super::logging::TARGET;
use super::subscription::Subscription;
use crate::core::log::LogLimits;
use crate::core::retention::RetentionLimits;
use crate::core::{self, EventId, Limits, Payload, Start};

/// The longest retention, in seconds: about 30 years, which every clock can add.
const MAX_RETENTION: f64 = 1e9;

/// Owns runs, their subscribers and their cancel events. Every method may be called from any thread.
///
/// Run ids are integers of 64 bits; others raise `OverflowError`.
///
/// A run is one bounded, numbered log; a subscription is only a cursor on it. Publishing costs the same for one
/// reader and for ten thousand, and nothing is queued for a reader that could be left behind when it vanishes.
/// After a fork the child's manager is empty.
///
/// Args:
///     history: events a run's log holds at most, 1 to 2**31 - 1; the oldest go first. Also how many messages
///         `Subscription.put_nowait` takes before `queue.Full`.
///     history_bytes: bytes of JSON a run's log holds at most, at least 1. The newest event is kept even if it
///         alone is larger.
///     retained_runs: finished runs kept for late readers, 0 or more.
///     retained_bytes: bytes of JSON these may hold together, 0 or more.
///     retention: seconds a finished run is kept, 0 to 1e9. No thread looks after it: what is too old goes with the
///         next call of any method but `publish` and `cancel_run`.
///     default: called with a value that JSON has no form for; returns one to be written instead. None refuses it.
///     args, kwargs: ignored, so that a subclass may have a constructor of its own; `RunManager` itself refuses
///         them with `TypeError`.
///
/// Raises:
///     ValueError: a limit is out of its bounds.
#[pyclass(frozen, subclass, weakref, module = "genglossary_runs")]
pub struct RunManager {
    cores: PerProcess<core::RunManager>,
    default: Option<Py<PyAny>>,
}

impl RunManager {
    fn core(&self) -> &core::RunManager {
        self.cores.get(|parent| core::RunManager::new(*parent.limits()))
    }

    fn encode(&self, event: &Bound<'_, PyAny>) -> PyResult<Payload> {
        json::encode(event, self.default.as_ref().map(|default| default.bind(event.py())))
    }
}

/// An integer; a negative one, which every limit refuses, if it is too large.
fn limit(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    match value.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(i64::MIN),
        number => number,
    }
}

/// A number of seconds, infinite if it is too large for a float.
fn seconds(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract::<f64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => Ok(f64::INFINITY),
        number => number,
    }
}

/// The id of a run to be found; one that no run can have is unknown like any other.
fn run_to_find(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    match value.extract::<i64>() {
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            Err(UnknownRunError::new_err(format!("run {value} is unknown; ids are between -2**63 and 2**63 - 1")))
        }
        id => id,
    }
}

#[pymethods]
impl RunManager {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, history=1000, history_bytes=8388608, retained_runs=256, retained_bytes=67108864,
                        retention=300.0, default=None, **kwargs))]
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
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let unknown = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if unknown && cls.is(cls.py().get_type::<Self>()) {
            return Err(PyTypeError::new_err(
                "RunManager takes only the keywords history, history_bytes, retained_runs, retained_bytes, retention \
                 and default",
            ));
        }
        if default.as_ref().is_some_and(|default| !default.is_callable()) {
            return Err(PyTypeError::new_err("default must be a callable that takes one value, or None"));
        }
        if !(0.0..=MAX_RETENTION).contains(&retention) {
            return Err(PyValueError::new_err("retention must be between 0 and 1e9 seconds"));
        }
        let natural = |name: &str, value: i64| {
            usize::try_from(value).map_err(|_| PyValueError::new_err(format!("{name} must be between 0 and 2**63 - 1")))
        };
        let limits = Limits {
            log: LogLimits { events: natural("history", history)?, bytes: natural("history_bytes", history_bytes)? },
            retention: RetentionLimits {
                runs: natural("retained_runs", retained_runs)?,
                bytes: natural("retained_bytes", retained_bytes)?,
                age: Duration::from_secs_f64(retention),
            },
        };
        limits.check()?;
        Ok(Self { cores: PerProcess::new(core::RunManager::new(limits)), default: default.map(Bound::unbind) })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.default)
    }

    /// Open a run and return its cancel event.
    ///
    /// Takes over an entry that subscribers, or `cancel_event(run_id, create=True)`, have made. What an earlier
    /// life of the id left is forgotten.
    ///
    /// Args:
    ///     run_id: the run.
    ///
    /// Raises:
    ///     RunActiveError: the run is open.
    fn open_run(&self, run_id: i64) -> PyResult<CancelEvent> {
        let cancel = self.core().open(run_id)?;
        log::debug!(target: TARGET, "run {run_id} opened");
        Ok(cancel.into())
    }

    /// Take back `open_run`, as if the run had never been opened; its subscribers wait on.
    ///
    /// Returns:
    ///     Whether the run was open.
    fn abandon_run(&self, run_id: i64) -> bool {
        self.core().abandon(run_id)
    }

    /// Close a subscription that this manager has made; whether it has.
    #[pyo3(signature = (subscription, /))]
    fn unsubscribe(&self, subscription: &Subscription) -> bool {
        let own = subscription.open().is_some_and(|open| self.core().has_made(open));
        if own {
            subscription.core().close();
        }
        own
    }

    /// Append an event to the run's log and wake its readers.
    ///
    /// Args:
    ///     run_id: a run that is open, subscribed to, or has a cancel event.
    ///     event: a dict or another mapping. NaN and infinities become null, lone surrogates U+FFFD, keys what
    ///         `json.dumps` makes of them. Besides what JSON has a form for, values may be dates and times (ISO 8601),
    ///         UUID, Decimal and Path (text), Enum (its value), dataclasses, pydantic models, mappings, sequences and
    ///         sets of any kind, and NumPy scalars and arrays. Anything else goes through the manager's `default`.
    ///
    /// Returns:
    ///     The event's id, `<fence>-<seq>`; or None where no reader could ever get it: the run is unknown or
    ///     finished.
    ///
    /// Raises:
    ///     TypeError: the event is no mapping, or has a value or key that cannot be written, such as bytes (the message
    ///         names where). Nothing is published.
    ///     ValueError: the event is nested deeper than 128 levels, refers to itself, or has an integer of more
    ///         than 4,300 digits, or more than Python prints. Nothing is published.
    #[pyo3(signature = (run_id, event, /))]
    fn publish<'py>(&self, run_id: i64, event: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyString>>> {
        let Some(id) = self.core().publish(run_id, self.encode(event)?) else { return Ok(None) };
        Ok(Some(PyString::new(event.py(), id.encode(&mut [0; EventId::MAX_LEN]))))
    }

    /// Set the run's cancel event.
    ///
    /// Returns:
    ///     Whether there was a run to cancel. Unknown and finished runs are none.
    fn cancel_run(&self, run_id: i64) -> bool {
        let found = self.core().cancel(run_id);
        if found {
            log::debug!(target: TARGET, "run {run_id} cancelled");
        }
        found
    }

    /// End the run with this terminal event and clear every entry of it, as one step for everyone else.
    ///
    /// A run that was never opened is recorded as finished, so that a later reader learns its outcome.
    ///
    /// Args:
    ///     run_id: the run.
    ///     event: as for `publish`.
    ///     unless_active: leave a run that is open alone.
    ///
    /// Returns:
    ///     Whether this call ended the run. False where it had ended before: its first terminal event stays.
    ///
    /// Raises:
    ///     TypeError, ValueError: as for `publish`; the run is not ended.
    #[pyo3(signature = (run_id, event, /, *, unless_active=false))]
    fn finish_run(&self, run_id: i64, event: &Bound<'_, PyAny>, unless_active: bool) -> PyResult<bool> {
        let ended = self.core().finish(run_id, self.encode(event)?, unless_active);
        if ended {
            log::debug!(target: TARGET, "run {run_id} finished");
        }
        Ok(ended)
    }

    /// Make a reader of the run.
    ///
    /// A run nobody knows is waited for, unless `must_exist`. On a finished run that is retained, a reader without
    /// `after` gets the terminal event at once.
    ///
    /// Args:
    ///     run_id: the run.
    ///     after: None for new events only; the id of an event of this life of the run for those after it; anything
    ///         else (`"0"`, an id of another life, nonsense) for all from the oldest, with a gap first if the
    ///         oldest are gone.
    ///     must_exist: refuse a run that is not open, subscribed to or retained.
    ///
    /// Raises:
    ///     UnknownRunError: with `must_exist`; and for a number that no run can have.
    #[pyo3(signature = (run_id, after=None, *, must_exist=false))]
    fn subscribe(
        &self,
        #[pyo3(from_py_with = run_to_find)] run_id: i64,
        after: Option<Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Subscription> {
        let core = self.core();
        // What has no UTF-8 is no id either.
        let after = after.as_ref().map(|after| after.to_str().unwrap_or_default());
        let subscription = core.subscribe(run_id, Start::parse(after), must_exist)?;
        Ok(Subscription::new(subscription, core.limits().log.events))
    }

    /// The cancel event of a run that is open, or for which it was made before by `create`; else None.
    ///
    /// Args:
    ///     run_id: the run.
    ///     create: make the event, and the run's entry, if there is none; `open_run` takes it over.
    #[pyo3(signature = (run_id, *, create=false))]
    fn cancel_event(&self, run_id: i64, create: bool) -> Option<CancelEvent> {
        self.core().cancel_event(run_id, create).map(CancelEvent::from)
    }

    /// The terminal event of a finished run, while it is retained.
    fn terminal_event<'py>(&self, py: Python<'py>, run_id: i64) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.core().terminal(run_id).map(|terminal| json::decode(py, &terminal)).transpose()
    }

    /// Whether the run is open.
    fn is_active(&self, run_id: i64) -> bool {
        self.core().is_open(run_id)
    }

    /// The ids of the runs that are open, or that have a cancel event before they open, in rising order.
    fn active_runs(&self) -> Vec<i64> {
        self.core().claimed_runs()
    }

    /// The ids of the runs, open or yet to start, that have a subscription, in rising order.
    fn subscribed_runs(&self) -> Vec<i64> {
        self.core().subscribed_runs()
    }

    /// The ids of the finished runs that are retained, oldest first.
    fn retained_runs(&self) -> Vec<i64> {
        self.core().retained_runs()
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
        dict.set_item("events_missed", stats.events_missed)?;
        Ok(dict)
    }
}
