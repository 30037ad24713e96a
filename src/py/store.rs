//! `SqliteStore`, and what a `RunManager` has of a store.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::asked::{ANSWER_TIMEOUT, Asked, late};
use super::awaitable::{Awaitable, Wish};
use super::errors::{RunActiveError, StoreError};
use super::{TARGET, gate, json, run_id};
use crate::core::sync::{Mutex, is_past};
use crate::core::{self, Epoch, Key, Payload, Port, RunId, fork};
use crate::store::record::interrupted_event;
use crate::store::sqlite::{Limits, SqliteFile};
use crate::store::{Answer, Engine, Error, Level, Opened, Record, Source, engine};

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        StoreError::new_err(error.to_string())
    }
}

/// A file that keeps runs: they outlive the process, and every process of the host that uses the file reads, cancels
/// and finishes all of them. Pass it to `RunManager(store=...)`.
///
/// The file is the store's own: nothing else in the process may open it, least of all Python's `sqlite3`, which
/// would damage it. Another process may look into it, such as the `sqlite3` shell. Beside it lie `-wal`, `-shm` and a
/// small lock file for each process that has runs. It has to be on a local disk.
///
/// Args:
///     path: the file, which is made if it is not there, in a folder that is.
///     retention: seconds a finished run is kept, 0 to 1e9.
///     max_runs: how many runs are kept at most, 1 or more; runs that have not finished count, but are never removed.
///     max_bytes: bytes of the file that may be in use, 1 MiB or more. The oldest finished runs are removed first, then
///         the oldest events of runs that have not finished.
///
/// Raises:
///     StoreError: the file is not a store, or one of a newer version, or cannot be opened and written.
///     ValueError: a limit is out of its bounds, or this process uses the file with other limits.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct SqliteStore {
    file: Arc<StoreFile>,
}

/// What names a store in this process.
pub struct StoreFile {
    path: PathBuf,
    limits: Limits,
}

/// The stores that this process knows.
static FILES: Mutex<Vec<Weak<StoreFile>>> = Mutex::new(Vec::new());

#[pymethods]
impl SqliteStore {
    #[new]
    #[pyo3(signature = (path, *, retention=604_800.0, max_runs=10_000, max_bytes=1_073_741_824))]
    fn new(path: PathBuf, retention: f64, max_runs: i64, max_bytes: i64) -> PyResult<Self> {
        if !(0.0..=1e9).contains(&retention) {
            return Err(PyValueError::new_err("retention must be between 0 and 1e9 seconds"));
        }
        let size = |name: &str, value: i64, least: i64| match u64::try_from(value) {
            Ok(size) if value >= least => Ok(size),
            _ => Err(PyValueError::new_err(format!("{name} must be between {least} and 2**63 - 1"))),
        };
        let limits = Limits {
            age: Duration::from_secs_f64(retention),
            runs: size("max_runs", max_runs, 1)?,
            bytes: size("max_bytes", max_bytes, 1 << 20)?,
        };
        let path = real_path(&path);
        engine::check_process()?;
        let mut files = FILES.lock();
        files.retain(|known| known.strong_count() > 0);
        if let Some(known) = files.iter().filter_map(Weak::upgrade).find(|known| known.path == path) {
            if known.limits != limits {
                return Err(PyValueError::new_err(format!(
                    "{} is used with other limits in this process; make one SqliteStore and share it",
                    path.display()
                )));
            }
            return Ok(Self { file: known });
        }
        // Refused now, rather than when the first run is started.
        if !engine::is_running(&path.display().to_string()) {
            SqliteFile::alone(&path, limits).connect()?;
        }
        let file = Arc::new(StoreFile { path, limits });
        files.push(Arc::downgrade(&file));
        Ok(Self { file })
    }

    /// The file.
    #[getter]
    fn path(&self) -> &Path {
        &self.file.path
    }

    fn __repr__(&self) -> String {
        format!("<SqliteStore {}>", self.file.path.display())
    }
}

/// The path without links, so that two names of a file are one store.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let (folder, name) = (path.parent().filter(|folder| !folder.as_os_str().is_empty()), path.file_name());
    match (folder.unwrap_or(Path::new(".")).canonicalize(), name) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A manager's connection to its store, made when it is first needed.
pub struct Link {
    file: Arc<StoreFile>,
    engine: Mutex<Option<Arc<Engine>>>,
}

impl Link {
    pub fn new(store: &SqliteStore) -> Self {
        Self { file: store.file.clone(), engine: Mutex::new(None) }
    }

    /// The same store, in a child.
    pub fn again(&self) -> Self {
        Self { file: self.file.clone(), engine: Mutex::new(None) }
    }

    /// The store.
    pub fn store(&self) -> SqliteStore {
        SqliteStore { file: self.file.clone() }
    }

    /// The engine, which is started if it does not run.
    pub fn engine(&self, manager: &core::RunManager) -> PyResult<Arc<Engine>> {
        let mut engine = self.engine.lock();
        if let Some(engine) = engine.as_ref() {
            return Ok(engine.clone());
        }
        engine::check_process()?;
        let source = || Box::new(SqliteFile::alone(&self.file.path, self.file.limits)) as Box<dyn Source>;
        let name = self.file.path.display().to_string();
        let started = Arc::new(Engine::of(&name, manager.clone(), source, Box::new(report))?);
        *engine = Some(started.clone());
        Ok(started)
    }

    /// How the store is, for `stats`.
    pub fn describe<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let health = self.engine.lock().as_ref().map(|engine| engine.health()).unwrap_or_default();
        let dict = PyDict::new(py);
        dict.set_item("path", &self.file.path)?;
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

/// Write a record of the engine's.
fn report(level: Level, message: &str) {
    // Nobody reads what is written while the interpreter ends.
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
    /// Undoes what was done for an asker that did not wait for it.
    undo: Option<Box<dyn Fn(T) + Send + Sync>>,
}

impl<T: Send + 'static> Asked for Question<T> {
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
        // In a child, what was asked, and what may be undone, is the parent's.
        if self.generation != fork::generation() {
            return;
        }
        if let (Some(Ok(value)), Some(undo)) = (self.answer.abandon(), &self.undo) {
            undo(value);
        }
    }
}

/// A question whose answer Python is to get as `convert` makes it.
pub fn ask<T: Send + 'static>(
    answer: Arc<Answer<T>>,
    convert: impl Fn(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
) -> Box<dyn Asked> {
    Box::new(Question { generation: fork::generation(), answer, convert: Box::new(convert), undo: None })
}

/// The question that begins a run; an answer that nobody waits for any more ends it again.
pub fn ask_to_open(
    manager: &core::RunManager,
    answer: Arc<Answer<Opened>>,
    convert: impl Fn(Python<'_>, RunId, crate::core::sync::Arc<core::CancelEvent>) -> PyResult<Py<PyAny>>
    + Send
    + Sync
    + 'static,
) -> Box<dyn Asked> {
    let manager = manager.clone();
    let undo = move |opened| {
        if let Opened::Run(run_id, _) = opened {
            manager.finish(run_id.as_ref(), Payload::new(None, &interrupted_event(&run_id)), false);
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
            Err(active(py, &record, format!("the key {key:?} has an active run, {id}; cancel it or wait for its end")))
        }
    };
    let (convert, undo) = (Box::new(convert), Some(Box::new(undo) as Box<_>));
    Box::new(Question { generation: fork::generation(), answer, convert, undo })
}

/// A `RunActiveError` that names the run.
fn active(py: Python<'_>, record: &Record, message: String) -> PyErr {
    let error = RunActiveError::new_err(message);
    let named = run_id::to_python(py, &record.run_id).and_then(|id| error.value(py).setattr("run_id", id));
    named.err().unwrap_or(error)
}

/// Wait for the answer.
pub fn block(py: Python<'_>, asked: Box<dyn Asked>) -> PyResult<Py<PyAny>> {
    let deadline = Some(Instant::now() + ANSWER_TIMEOUT);
    loop {
        if let Ok(answer) = asked.take(py) {
            return answer;
        }
        if is_past(deadline) {
            return Err(late());
        }
        gate::block(py, deadline, |until| asked.wait(until))?;
    }
}

/// Await the answer.
pub fn awaited(asked: Box<dyn Asked>) -> Awaitable {
    Awaitable::new(Wish::Answer(asked), Some(Instant::now() + ANSWER_TIMEOUT))
}

/// A record as a dict.
pub fn record<'py>(py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit")]
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    let dict = PyDict::new(py);
    dict.set_item("run_id", run_id::to_python(py, &record.run_id)?)?;
    dict.set_item("fence", record.fence.0)?;
    dict.set_item("key", &record.key)?;
    dict.set_item("status", record.status.word())?;
    dict.set_item("owner", &record.owner)?;
    dict.set_item("started_at", seconds(record.started))?;
    dict.set_item("finished_at", record.finished.map(seconds))?;
    dict.set_item("error", &record.error)?;
    let result = record.result.as_ref().map(|result| json::decode(py, result.as_bytes())).transpose()?;
    dict.set_item("result", result)?;
    Ok(dict)
}

/// Have what is published stored before the interpreter ends.
pub fn install(py: Python<'_>) -> PyResult<()> {
    py.import("atexit")?.call_method1("register", (wrap_pyfunction!(store_the_rest, py)?,))?;
    Ok(())
}

#[pyfunction]
fn store_the_rest(py: Python<'_>) {
    let late = gate::detach(py, || engine::flush_all(Instant::now() + Duration::from_secs(2)));
    for name in late {
        log::warn!(target: TARGET, "The run store {name} could not be written before the end of the process");
    }
}
