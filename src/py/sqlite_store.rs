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
    pub file: Arc<StoreFile>,
}

/// What names a store in this process.
pub struct StoreFile {
    path: PathBuf,
    limits: Limits,
}

/// The stores that this process knows.
static FILES: Mutex<Vec<Weak<StoreFile>>> = Mutex::new(Vec::new());

/// The files that a thread of the process is opening, each with the process: a child has no such thread.
static OPENING: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

/// The right to open a file, for one thread at a time: two would take each other's descriptors for a stranger's.
struct Opening((u32, PathBuf));

impl Opening {
    /// Wait for it, without the GIL.
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
                    "{} is used with other limits in this process; make one SqliteStore and share it",
                    path.display()
                )));
            }
            Ok(known.path == path)
        };
        let make = || {
            // Refused now, rather than when the first run is started.
            if !engine::is_open(&path.display().to_string()) {
                // Another process that is making the file is waited for.
                gate::detach(py, || connection::briefly(|| SqliteFile::alone(&path, limits).check()))?;
            }
            Ok(StoreFile { path: path.clone(), limits })
        };
        Ok(Self { file: share(&FILES, is_same, make)? })
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
