//! What can go wrong in the core.

use thiserror::Error;

use super::event::RunId;

/// Every error of the core.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A run was opened that is open.
    #[error("run {0} is already open; finish it, or choose another id, before opening it again")]
    RunActive(RunId),
    /// A reader asked for a run that must exist.
    #[error("run {0} is unknown; open it first, or subscribe without must_exist to wait for it")]
    UnknownRun(RunId),
    /// A subscription's own messages have reached their bound.
    #[error("{0} messages put to this subscription are unread; read some before putting more")]
    Full(usize),
    /// A limit of the manager is out of its bounds.
    #[error("{name} must be {bounds}")]
    Limit {
        /// The limit's name.
        name: &'static str,
        /// What it may be.
        bounds: &'static str,
    },
}
