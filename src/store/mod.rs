//! Stores: runs that outlive their process and can be read from any process.
//!
//! [`store`] is the interface; [`sqlite`] implements it for the processes of one host, [`redis`] for those of many. The
//! [`engine`] is the one thread of a process that talks to a store: [`worker`] is its loop, [`questions`] handles what
//! it is asked, [`asking`] calls the store and deals with failures, [`writing`] writes the events of the runs in
//! [`owned`] to the store, [`mirrors`] reads events from it into the logs that [`followed`] lists, and [`commands`] handles what processes ask of each
//! other's runs.

pub mod answer;
mod asking;
mod commands;
pub mod connection;
pub mod engine;
mod followed;
mod mirrors;
mod owned;
mod questions;
pub mod record;
#[cfg(feature = "redis")]
pub mod redis;
pub mod shared;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[expect(clippy::module_inception, reason = "the trait is the subject of the room")]
pub mod store;
mod worker;
mod writing;

pub use answer::Answer;
pub use engine::Engine;
pub use record::{Found, Outcome, Record, ResultKind, RunResult, Status};
pub use shared::{Health, Level, Opened};
pub use store::{
    Append, Begun, Command, Error, Fate, Limits, NewRun, News, Progress, Query, Source, Store, StoredEvent, Usage, Wake,
};
