//! What can go wrong in the core.

use thiserror::Error;

use super::id::RunId;

/// Every error of the manager and its readers.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A run was opened that is open.
    #[error("run {0} is already open; finish it, or choose another id, before opening it again")]
    RunActive(RunId),
    /// A reader asked for a run that must exist.
    #[error("run {0} is unknown; open it first, or subscribe without must_exist to wait for it")]
    UnknownRun(RunId),
    /// A reader has as many private messages as it may.
    #[error("{0} messages put to this subscription are unread; read some before putting more")]
    Full(usize),
}
