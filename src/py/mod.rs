//! The Python binding: a thin layer, one class per file.

mod arguments;
mod awaitable;
mod cancel;
mod chunks;
mod errors;
mod fork;
mod frames;
mod gate;
mod json;
mod logging;
mod loops;
mod manager;
mod native;
mod once;
mod owner;
mod pending_answer;
mod place;
mod reader;
mod redis_store;
mod run_id;
mod scalar;
mod sqlite_store;
mod store;
mod stored;
mod streams;
mod subscription;

use pyo3::prelude::*;
use pyo3::types::PyMapping;

/// The Python logger that receives Rust's log records.
const TARGET: &str = "genglossary_runs";

/// The Rust core of genglossary_runs.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::cancel::CancelEvent;
    #[pymodule_export]
    use super::manager::RunManager;
    #[pymodule_export]
    use super::owner::OwnerLock;
    #[pymodule_export]
    use super::redis_store::RedisStore;
    #[pymodule_export]
    use super::sqlite_store::SqliteStore;
    #[pymodule_export]
    use super::store::result_kind;
    #[pymodule_export]
    use super::streams::{StreamGroup, stream_stats};
    #[pymodule_export]
    use super::subscription::Subscription;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        make_early(py)?;
        logging::install(py)?;
        fork::install(py)?;
        store::install(py)
    }
}

/// Create what pyo3 would otherwise create on first use, under locks that are not fork-safe (see [`once`]).
fn make_early(py: Python<'_>) -> PyResult<()> {
    errors::import(py)?;
    loops::import(py);
    py.get_type::<awaitable::Awaitable>();
    py.get_type::<frames::Frames>();
    // For an object that is not a dict, this cast imports `collections.abc.Mapping`.
    let _ = py.None().bind(py).cast::<PyMapping>();
    Ok(())
}
