//! `RedisStore`: a store for the processes of many hosts.

use std::sync::{Arc, Weak};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::place::{Place, limits, share};
use crate::core::sync::Mutex;
use crate::store::redis::{Address, RedisServer, Settings};
use crate::store::{Source, engine};

/// A store on a Redis or Valkey server, 7.0 or later. Pass it to `RunManager(store=...)`.
///
/// Runs outlive the process, and every process on any host that uses the same project can read, cancel, publish to and
/// finish them. The store connects on first use, with two connections per process, whatever the number of readers.
/// While the server is unreachable, runs continue in their process, and calls that need the store raise `StoreError`.
///
/// Args:
///     url: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS, `unix://path`, or
///         `redis+sentinel://[user:password@]host[:port],.../master[/database]`, where the hosts are Sentinels, and
///         user and password those of the master; `rediss+sentinel://` if both use TLS. TLS trusts the system's
///         certificates; SSL_CERT_FILE names others.
///     project: processes with the same project see each other's runs; 1 to 100 bytes, without braces, spaces and
///         control characters.
///     retention: seconds a finished run is kept, 0 to 1e9.
///     max_runs: maximum number of runs kept, 1 or more. Unfinished runs count, but are never removed.
///     max_bytes: approximate maximum bytes of events kept, 1 MiB or more. The oldest finished runs are removed first,
///         then the oldest events of unfinished runs.
///     lease: seconds without a renewal after which a process is suspected dead, 1 to 3600. Processes renew their lease
///         every third of this time. One that stays suspected for another half of this time is declared dead: its runs
///         end as interrupted, and what it writes to them later is refused.
///
/// Raises:
///     ValueError: the URL is invalid, a value is out of bounds, or this process uses the project with other settings.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct RedisStore {
    pub project: Arc<Project>,
}

/// Identifies a store within the process.
pub struct Project {
    settings: Settings,
}

/// The projects that this process uses.
static PROJECTS: Mutex<Vec<Weak<Project>>> = Mutex::new(Vec::new());

#[pymethods]
impl RedisStore {
    #[new]
    #[pyo3(signature = (url, *, project="default", retention=604_800.0, max_runs=10_000, max_bytes=1_073_741_824,
                        lease=15.0))]
    fn new(url: &str, project: &str, retention: f64, max_runs: i64, max_bytes: i64, lease: f64) -> PyResult<Self> {
        let is_name = |byte: u8| !matches!(byte, b'{' | b'}' | b' ') && !byte.is_ascii_control();
        if !(1..=100).contains(&project.len()) || !project.bytes().all(is_name) {
            return Err(PyValueError::new_err(
                "project must have 1 to 100 bytes, without braces, spaces and control characters",
            ));
        }
        if !(1.0..=3600.0).contains(&lease) {
            return Err(PyValueError::new_err("lease must be between 1 and 3600 seconds"));
        }
        let address = Address::of_url(url).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let limits = limits(retention, max_runs, max_bytes)?;
        engine::check_process()?;
        let (project, lease) = (project.to_owned(), Duration::from_secs_f64(lease));
        let made = Project { settings: Settings { address, project, limits, lease } };
        let is_same = |known: &Project| {
            let is_same = known.name() == made.name();
            if is_same && (known.settings.limits, known.settings.lease) != (limits, lease) {
                let name = made.name();
                return Err(PyValueError::new_err(format!(
                    "this process already uses {name} with other limits; create one RedisStore and share it"
                )));
            }
            if is_same && !known.settings.address.has_user_of(&made.settings.address) {
                let name = made.name();
                return Err(PyValueError::new_err(format!(
                    "this process already uses {name} with another user, password or kind of TLS; \
                     create one RedisStore and share it"
                )));
            }
            Ok(is_same)
        };
        Ok(Self { project: share(&PROJECTS, is_same, || Ok(Project { settings: made.settings.clone() }))? })
    }

    /// Host, port and database.
    #[getter]
    fn address(&self) -> &str {
        self.project.settings.address.name()
    }

    /// The project's name.
    #[getter]
    fn project(&self) -> &str {
        &self.project.settings.project
    }

    fn __repr__(&self) -> String {
        format!("<RedisStore {}>", self.project.name())
    }
}

impl Place for Project {
    fn name(&self) -> String {
        format!("{} {}", self.settings.address.name(), self.settings.project)
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(RedisServer::new(self.settings.clone()))
    }

    fn describe(&self, stats: &Bound<'_, PyDict>) -> PyResult<()> {
        stats.set_item("address", self.settings.address.name())?;
        stats.set_item("project", &self.settings.project)
    }

    fn to_python(self: Arc<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, RedisStore { project: self })?.into_any())
    }
}
