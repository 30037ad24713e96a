//! Stores: runs that outlive their process and are read from any.
//!
//! [`store`] says what a store does; [`sqlite`] does it for the processes of one host, [`redis`] for those of many. The
//! [`engine`] is the one thread of a process that talks to it: [`worker`] says in which order, [`questions`] what it is
//! asked, [`asking`] how it asks and what it does while the store fails, [`writing`] how events get into the store,
//! [`mirrors`] how they get out of it, into which logs [`followed`], [`commands`] what processes ask of each other's runs.

pub mod answer;
mod asking;
mod commands;
pub mod connection;
pub mod engine;
mod followed;
mod mirrors;
mod questions;
pub mod record;
#[cfg(feature = "redis")]
pub mod redis;
pub mod shared;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[expect(clippy::module_inception, reason = "the trait is what the room is about")]
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
