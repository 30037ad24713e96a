//! Errors of the core.

use thiserror::Error;

use super::id::RunId;

/// Any error of the manager and its readers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The run is already open.
    #[error("run {0} is already open; finish it, or choose another id, before opening it again")]
    RunActive(RunId),
    /// The run must exist and does not.
    #[error("run {0} is unknown; open it first, or subscribe without must_exist to wait for it")]
    UnknownRun(RunId),
    /// A reader has the maximum number of unread private messages.
    #[error("{0} messages put to this subscription are unread; read some before putting more")]
    Full(usize),
}
