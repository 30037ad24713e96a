//! A `RunManager`'s link to its store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::awaitable::{Awaitable, Operation};
use super::errors::{RunActiveError, StoreError};
use super::pending_answer::{ANSWER_TIMEOUT, PendingAnswer, timed_out};
use super::place::Place;
use super::redis_store::RedisStore;
use super::sqlite_store::SqliteStore;
use super::{TARGET, gate, json, run_id};
use crate::core::sync::{Mutex, is_past};
use crate::core::{self, Epoch, Key, Port, RunId, fork};
use crate::store::record::interrupted_event;
use crate::store::{Answer, Engine, Error, Found, Level, Opened, Record, ResultKind, engine};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        StoreError::new_err(error.to_string())
    }
}

/// A manager's link to its store. The engine is started on first use.
pub struct Link {
    place: Arc<dyn Place>,
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Link {
    /// Link to the store that a Python object configures.
    pub fn new(store: &Bound<'_, PyAny>) -> PyResult<Self> {
        let place: Arc<dyn Place> = if let Ok(store) = store.cast::<SqliteStore>() {
            store.get().file.clone()
        } else if let Ok(store) = store.cast::<RedisStore>() {
            store.get().project.clone()
        } else {
            let kind = store.get_type().name()?;
            return Err(PyTypeError::new_err(format!("store must be a SqliteStore or a RedisStore, not {kind}")));
        };
        Ok(Self { place, engine: Mutex::new(None) })
    }

    /// A link to the same store, for a forked child.
    pub fn for_child(&self) -> Self {
        Self { place: self.place.clone(), engine: Mutex::new(None) }
    }

    /// The store as a Python object.
    pub fn store(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.place.clone().to_python(py)
    }

    /// The engine, started if it is not running.
    pub fn engine(&self, manager: &core::RunManager) -> PyResult<Arc<Engine>> {
        let mut engine = self.engine.lock();
        if let Some(engine) = engine.as_ref() {
            return Ok(engine.clone());
        }
        engine::check_process()?;
        let place = &self.place;
        let started = Engine::of(&place.name(), manager.clone(), || place.source(), Box::new(report))?;
        let started = Arc::new(started);
        *engine = Some(started.clone());
        Ok(started)
    }

    /// The state of the store, for `stats`.
    pub fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let health = self.engine.lock().as_ref().map(|engine| engine.health()).unwrap_or_default();
        let dict = PyDict::new(py);
        self.place.describe(&dict)?;
        dict.set_item("error", health.error)?;
        dict.set_item("runs", health.usage.runs)?;
        dict.set_item("bytes", health.usage.bytes)?;
        dict.set_item("events_stored", health.events_stored)?;
        dict.set_item("events_lost", health.events_lost)?;
        dict.set_item("owned_runs", health.owned_runs)?;
        dict.set_item("mirrors", health.mirrors)?;
        Ok(dict)
    }
}

/// Log a message of the engine.
fn report(level: Level, message: &str) {
    // Nobody reads what is logged while the interpreter finalizes.
    gate::try_attach(|_| match level {
        Level::Info => log::info!(target: TARGET, "{message}"),
        Level::Warning => log::warn!(target: TARGET, "{message}"),
    });
}

type Convert<T> = Box<dyn Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync>;

struct Question<T> {
    /// The process that asked.
    generation: u32,
    answer: Arc<Answer<T>>,
    convert: Convert<T>,
    /// Undoes what was done for an asker that no longer waits.
    undo: Option<Box<dyn Fn(T) + Send + Sync>>,
}

impl<T: Send + 'static> PendingAnswer for Question<T> {
    fn key(&self) -> Key {
        self.answer.key()
    }

    fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> bool {
        self.answer.arm(epoch, port)
    }

    fn take(&self, py: Python<'_>) -> Result<PyResult<Py<PyAny>>, Epoch> {
        let answer = self.answer.take()?;
        Ok(answer.map_err(PyErr::from).and_then(|value| (self.convert)(py, value)))
    }

    fn wait(&self, deadline: Option<Instant>) {
        self.answer.wait(deadline);
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        // In a child, the question and what it would undo belong to the parent.
        if self.generation != fork::generation() {
            return;
        }
        if let (Some(Ok(value)), Some(undo)) = (self.answer.abandon(), &self.undo) {
            undo(value);
        }
    }
}

/// A question whose answer `convert` turns into a Python object.
pub fn ask<T: Send + 'static>(
    answer: Arc<Answer<T>>,
    convert: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
) -> Box<dyn PendingAnswer> {
    Box::new(Question { generation: fork::generation(), answer, convert: Box::new(convert), undo: None })
}

/// The question that begins a run. If nobody waits for the answer any more, the run is ended again.
pub fn ask_to_open(
    manager: &core::RunManager,
    answer: Arc<Answer<Opened>>,
    convert: impl Fn(Python<'_>, RunId, crate::core::sync::Arc<core::CancelEvent>) -> PyResult<Py<PyAny>>
    + Send
    + Sync
    + 'static,
) -> Box<dyn PendingAnswer> {
    let manager = manager.clone();
    let undo = move |opened| {
        if let Opened::Run(run_id, _) = opened {
            manager.finish(run_id.as_ref(), interrupted_event(&run_id), false);
        }
    };
    let convert = move |py: Python<'_>, opened| match opened {
        Opened::Run(run_id, cancel) => {
            log::debug!(target: TARGET, "run {run_id} opened");
            convert(py, run_id, cancel)
        }
        Opened::RunActive(record) => {
            let id = &record.run_id;
            Err(active(
                py,
                &record,
                format!("run {id} is already open; finish it, or choose another id, before opening it again"),
            ))
        }
        Opened::KeyActive(record) => {
            let (key, id) = (record.key.as_deref().unwrap_or_default(), &record.run_id);
            let message = format!("the key {key:?} has an active run, {id}; cancel it or wait until it ends");
            Err(active(py, &record, message))
        }
    };
    let (convert, undo) = (Box::new(convert), Some(Box::new(undo) as Box<_>));
    Box::new(Question { generation: fork::generation(), answer, convert, undo })
}

/// A `RunActiveError` with the run's id as `run_id`.
fn active(py: Python<'_>, record: &Record, message: String) -> PyErr {
    let error = RunActiveError::new_err(message);
    let named = run_id::to_python(py, &record.run_id).and_then(|id| error.value(py).setattr("run_id", id));
    named.err().unwrap_or(error)
}

/// Block until the answer arrives.
pub fn block(py: Python<'_>, asked: Box<dyn PendingAnswer>) -> PyResult<Py<PyAny>> {
    let deadline = Some(Instant::now() + ANSWER_TIMEOUT);
    loop {
        if let Ok(answer) = asked.take(py) {
            return answer;
        }
        if is_past(deadline) {
            return Err(timed_out());
        }
        gate::block(py, deadline, |until| asked.wait(until))?;
    }
}

/// An object to await the answer with.
pub fn awaited(asked: Box<dyn PendingAnswer>) -> Awaitable {
    Awaitable::new(Operation::Answer(asked), Some(Instant::now() + ANSWER_TIMEOUT))
}

/// Convert a record to a dict.
pub fn record<'py>(py: Python<'py>, (record, result): &Found) -> PyResult<Bound<'py, PyDict>> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    let dict = PyDict::new(py);
    dict.set_item("run_id", run_id::to_python(py, &record.run_id)?)?;
    dict.set_item("fence", record.fence.0)?;
    dict.set_item("key", &record.key)?;
    dict.set_item("name", &record.name)?;
    dict.set_item("status", record.status.word())?;
    dict.set_item("owner", &record.owner)?;
    dict.set_item("started_at", seconds(record.started))?;
    dict.set_item("finished_at", record.finished.map(seconds))?;
    dict.set_item("error", &record.error)?;
    dict.set_item("result_kind", record.result_kind.map(ResultKind::word))?;
    // An unreadable result costs its run the result, not the whole list.
    let result = result.as_ref().and_then(|result| json::decode(py, result.as_bytes()).ok());
    dict.set_item("result", result)?;
    Ok(dict)
}

/// Classify a result for display: `text`, `link` (a text that is a URL) or `json`; None for no result.
#[pyfunction]
#[pyo3(signature = (result, /))]
pub fn result_kind(result: &Bound<'_, PyAny>) -> Option<&'static str> {
    if result.is_none() {
        return None;
    }
    let kind = match result.cast::<PyString>() {
        Ok(text) => ResultKind::of_text(&text.to_string_lossy()),
        Err(_) => ResultKind::Json,
    };
    Some(kind.word())
}

/// Register an exit handler that stores what has been published.
pub fn install(py: Python<'_>) -> PyResult<()> {
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(store_the_rest, py)?,))?;
    Ok(())
}

#[pyfunction]
fn store_the_rest(py: Python<'_>) {
    let late = gate::detach(py, || engine::flush_all(Instant::now() + Duration::from_secs(2)));
    for name in late {
        log::warn!(target: TARGET, "The run store {name} could not be written before the process exited");
    }
}
