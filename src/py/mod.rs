//! The binding: thin, one file a class.

mod awaitable;
mod cancel;
mod error;
mod fork;
mod gate;
mod json;
mod logging;
mod manager;
mod native;
mod owner;
mod streams;
mod subscription;
mod wake;

use pyo3::prelude::*;

/// The Rust core of genglossary_runs.
#[pymodule(gil_used = false)]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::cancel::CancelEvent;
    #[pymodule_export]
    use super::error::{RunActiveError, UnknownRunError};
    #[pymodule_export]
    use super::manager::RunManager;
    #[pymodule_export]
    use super::owner::OwnerLock;
    #[pymodule_export]
    use super::streams::{StreamGroup, stream_stats};
    #[pymodule_export]
    use super::subscription::Subscription;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        logging::install(module.py())?;
        fork::install(module.py())
    }
}
