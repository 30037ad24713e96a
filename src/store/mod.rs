//! Stores: runs that outlive their process and are read from any.
//!
//! [`store`] says what a store does; [`sqlite`] does it for the processes of one host, [`redis`] for those of many. The
//! [`engine`] is the one thread of a process that talks to it: [`worker`] says in which order, [`questions`] what it is
//! asked, [`flow`] how events move.

pub mod answer;
pub mod connection;
pub mod engine;
mod flow;
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

pub use answer::Answer;
pub use engine::Engine;
pub use record::{Outcome, Record, Status};
pub use shared::{Health, Level, Opened};
pub use store::{
    Append, Begun, Command, Error, Fate, Limits, NewRun, News, Progress, Query, Source, Store, StoredEvent, Usage, Wake,
};
