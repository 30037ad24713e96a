//! `SqliteStore`: a store for the processes of one host.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::gate;
use super::place::{Place, limits, share};
use crate::core::fork;
use crate::core::sync::Mutex;
use crate::store::sqlite::SqliteFile;
use crate::store::{Limits, Source, connection, engine};

/// A store in a SQLite file. Pass it to `RunManager(store=...)`.
///
/// Runs outlive the process, and every process of the host that uses the file can read, cancel, publish to and finish
/// them. Nothing else in the process may open the file: Python's `sqlite3` in particular would corrupt it. Other
/// processes, such as the `sqlite3` shell, may read it. Next to it are `-wal`, `-shm` and a small lock file for each
/// process that has runs. The file must be on a local disk.
///
/// Args:
///     path: the file, created if it does not exist; its folder must exist.
///     retention: seconds a finished run is kept, 0 to 1e9.
///     max_runs: maximum number of runs kept, 1 or more. Unfinished runs count, but are never removed.
///     max_bytes: maximum bytes of the file in use, 1 MiB or more. The oldest finished runs are removed first, then the
///         oldest events of unfinished runs.
///
/// Raises:
///     StoreError: the file is not a store, has a newer version, or cannot be opened or written.
///     ValueError: a limit is out of bounds, or this process uses the file with other limits.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct SqliteStore {
    pub file: Arc<StoreFile>,
}

/// Identifies a store within the process.
pub struct StoreFile {
    path: PathBuf,
    limits: Limits,
}

/// The stores that this process uses.
static FILES: Mutex<Vec<Weak<StoreFile>>> = Mutex::new(Vec::new());

/// The files that threads of this process are opening, with its generation: a forked child has no such threads.
static OPENING: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

/// Permission to open a file, for one thread at a time: two would mistake each other's descriptors for foreign ones.
struct Opening((u32, PathBuf));

impl Opening {
    /// Wait for permission, without the GIL.
    fn of(py: Python<'_>, path: &Path) -> Self {
        let wanted = (fork::generation(), path.to_owned());
        loop {
            let mut opening = OPENING.lock();
            if !opening.contains(&wanted) {
                opening.push(wanted.clone());
                return Self(wanted);
            }
            drop(opening);
            gate::detach(py, || thread::sleep(Duration::from_millis(2)));
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.lock().retain(|opening| *opening != self.0);
    }
}

#[pymethods]
impl SqliteStore {
    #[new]
    #[pyo3(signature = (path, *, retention=604_800.0, max_runs=10_000, max_bytes=1_073_741_824))]
    fn new(py: Python<'_>, path: PathBuf, retention: f64, max_runs: i64, max_bytes: i64) -> PyResult<Self> {
        let (path, limits) = (real_path(&path), limits(retention, max_runs, max_bytes)?);
        engine::check_process()?;
        let _opening = Opening::of(py, &path);
        let is_same = |known: &StoreFile| {
            if known.path == path && known.limits != limits {
                return Err(PyValueError::new_err(format!(
                    "this process already uses {} with other limits; create one SqliteStore and share it",
                    path.display()
                )));
            }
            Ok(known.path == path)
        };
        let make = || {
            // Fail now rather than when the first run is opened.
            if !engine::is_open(&path.display().to_string()) {
                // Waits for another process that is creating the file.
                gate::detach(py, || connection::briefly(|| SqliteFile::alone(&path, limits).check()))?;
            }
            Ok(StoreFile { path: path.clone(), limits })
        };
        Ok(Self { file: share(&FILES, is_same, make)? })
    }

    /// The path of the file.
    #[getter]
    fn path(&self) -> &Path {
        &self.file.path
    }

    fn __repr__(&self) -> String {
        format!("<SqliteStore {}>", self.file.path.display())
    }
}

impl Place for StoreFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(SqliteFile::alone(&self.path, self.limits))
    }

    fn describe(&self, stats: &Bound<'_, PyDict>) -> PyResult<()> {
        stats.set_item("path", &self.path)
    }

    fn to_python(self: Arc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, SqliteStore { file: self })?.into_any())
    }
}

/// The path with links resolved, so that two names of a file are one store.
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
