//! The interface of a store.
//!
//! A store keeps the records and events of runs. One thread per process, the engine, has the only connection to it, so
//! a store is not shared: every method takes `&mut self` and may block; before [`Error::Busy`], for a fraction of a
//! second at most.
//!
//! # What a store promises
//!
//! - Fences: each life of a run has its own, larger than all before it in the store.
//! - Every write can be repeated: a write whose answer was lost is retried, and nothing is stored twice.
//! - Fencing: an owner that was declared dead can write nothing more ([`Fate::Refused`]).
//! - A run ends once: with its owner's terminal event, or by a process that finds its owner dead ([`Store::reap`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Payload;
use crate::core::id::{Fence, RunId, Seq};

use super::record::{Outcome, Record};

/// Why an operation of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process is writing; a retry may succeed.
    #[error("the store is locked by another process")]
    Busy,
    /// The store was deleted or replaced; a new connection opens what is there now.
    #[error("{0} was deleted or replaced while it was in use")]
    Lost(String),
    /// It is not a store, or this version cannot use it; a retry does not help.
    #[error("{0}")]
    Refused(String),
    /// Any other failure: a full disk, a read-only or a damaged file.
    #[error("{0}")]
    Failed(String),
}

/// Maximum number of events of a run per write and per page.
pub const PAGE: usize = 1000;
/// Maximum bytes of these events.
pub const PAGE_BYTES: usize = 1 << 20;
/// How many runs one call of [`Store::follow`] covers.
pub const FOLLOWED_AT_ONCE: usize = 100;

/// New run ids continue from integers below this one only, so that every language can represent them exactly.
pub const COUNTED_IDS: i64 = 1 << 52;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A run to begin.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// Its id; `None` for an integer larger than all those below [`COUNTED_IDS`] that the store has had.
    pub run_id: Option<RunId>,
    /// At most one run with this key is active.
    pub key: Option<String>,
    /// What people call it.
    pub name: Option<String>,
}

/// The outcome of beginning a [`NewRun`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is running, with this process as its owner.
    Started(Record),
    /// A run with this id is running.
    RunActive(Record),
    /// A run with this key is running.
    KeyActive(Record),
}

/// A stored event.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its number. Where a number is missing, the event was evicted before it could be stored.
    pub seq: Seq,
    /// What was published.
    pub payload: Payload,
}

/// The events of one run to store.
#[derive(Debug)]
pub struct Append {
    /// The run.
    pub fence: Fence,
    /// In ascending order.
    pub events: Vec<StoredEvent>,
    /// The newest event published. It is not among `events` if it was evicted.
    pub last: Seq,
    /// How the run ended, if it did; then the last event is its terminal event.
    pub end: Option<Outcome>,
}

/// The outcome of an [`Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Stored,
    /// The run has ended in the store, because its owner was declared dead.
    Refused,
    /// The store has no such run.
    Unknown,
}

/// Which records to return, newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only of this key.
    pub key: Option<String>,
    /// Only with one of these; with any if there are none.
    pub statuses: Vec<String>,
    /// Only with this text in their id, key, name or error. Case is ignored for ASCII letters only, which every store can
    /// do by itself.
    pub text: Option<String>,
    /// Of these lives, even without the text.
    pub also: Vec<Fence>,
    /// Only of runs that began before this one.
    pub before: Option<Fence>,
    /// Maximum number of records.
    pub limit: usize,
}

/// A request to the owner of a run.
#[derive(Debug, Clone)]
pub enum Command {
    /// Set the run's cancel event. There is no reply.
    Cancel,
    /// Publish this event; the reply is its id.
    Publish(Payload),
    /// Finish the run with this event; the reply says whether this finished it.
    Finish(Payload),
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of records.
    pub runs: u64,
    /// Bytes in use.
    pub bytes: u64,
}

/// How much a store keeps of finished runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time since a run ended.
    pub age: Duration,
    /// Number of runs. Unfinished runs count, but are never removed.
    pub runs: u64,
    /// Bytes in use. If unfinished runs alone are larger, their oldest events are removed.
    pub bytes: u64,
}

impl Default for Limits {
    /// 10,000 runs and 1 GiB for seven days.
    fn default() -> Self {
        Self { age: Duration::from_secs(7 * 86400), runs: 10_000, bytes: 1 << 30 }
    }
}

/// What may have changed in a store since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// These runs; `None` for any.
    pub runs: Option<HashSet<Fence>>,
    /// A run may have begun.
    pub began: bool,
    /// There may be a command for this process, or a reply.
    pub messages: bool,
}

impl News {
    /// Nothing has changed.
    pub fn nothing() -> Self {
        Self { runs: Some(HashSet::new()), began: false, messages: false }
    }

    /// Anything may have changed.
    pub fn anything() -> Self {
        Self { runs: None, began: true, messages: true }
    }
}

/// How far a run has come, and its next events for a reader that lacks them.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The store has no such run.
    Missing,
    /// It is running; with the newest event stored.
    Running(Seq, Vec<StoredEvent>),
    /// It has ended.
    Ended(Record, Vec<StoredEvent>),
}

/// Tells the engine that there may be news. Any thread may call it.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Where a store is. Connects to it, and connects again after a failure or a fork. Through all connections of one
/// source, the process is the same owner of runs.
pub trait Source: Send {
    /// Connect. A store that learns of news by itself calls `wake`.
    ///
    /// # Errors
    ///
    /// The store cannot be reached, or refuses the connection.
    fn connect(&self, wake: &Wake) -> Result<Box<dyn Store>>;

    /// The name of this process as an owner of runs.
    fn owner(&self) -> String;

    /// Whether a fork may copy an open connection.
    fn survives_fork(&self) -> bool {
        false
    }
}

/// Keeps runs outside the process.
pub trait Store: Send {
    /// Begin a life of a run that this process executes.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn begin(&mut self, run: &NewRun) -> Result<Begun>;

    /// Write the record of a run of this process again, after the store lost it. Does nothing if it is there. Returns
    /// false if the run cannot continue, because it has ended or another run has its id or key by now.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn restore(&mut self, record: &Record) -> Result<bool>;

    /// Store events of runs of this process. Returns the fate of each run's events.
    ///
    /// # Errors
    ///
    /// The store cannot be written. Some events may be stored nevertheless; retry all of them.
    fn append(&mut self, runs: &[Append]) -> Result<Vec<Fate>>;

    /// The newest life of a run.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>>;

    /// The newest lives of runs, newest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn list(&mut self, query: &Query) -> Result<Vec<Record>>;

    /// The results of runs as JSON, in the order of `fences`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn results(&mut self, fences: &[Fence]) -> Result<Vec<Option<String>>>;

    /// The events of a run from `from` on, in ascending order: at most `events` of them and about `bytes` of JSON, but
    /// at least one if there is one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn read(&mut self, fence: Fence, from: Seq, events: usize, bytes: usize) -> Result<Vec<StoredEvent>>;

    /// What other processes may have written since the last call. Cheap.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or was replaced.
    fn news(&mut self) -> Result<News>;

    /// Whether it wakes the engine when there is news, so that it need not be polled often.
    fn wakes(&self) -> bool {
        false
    }

    /// The interval of polls while events arrive, if a poll is cheap enough for a short one.
    fn eager_poll(&self) -> Option<Duration> {
        None
    }

    /// Close everything, because the process is about to fork. The store is dropped afterwards.
    fn close(&mut self) {}

    /// How far runs have come, each with its events from a seq on, though perhaps not all of them.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn follow(&mut self, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>>;

    /// Leave a command for the owner of a run. Returns the number to ask for its reply with.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn send(&mut self, fence: Fence, command: &Command) -> Result<u64>;

    /// The commands for runs of this process, oldest first; each is returned until it is replied to.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn commands(&mut self) -> Result<Vec<(u64, Fence, Command)>>;

    /// Reply to a command; `None` if it gets no reply.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn reply(&mut self, number: u64, reply: Option<&str>) -> Result<()>;

    /// Take the reply to a command, if there is one. It is empty if the run has ended without one.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn take_reply(&mut self, number: u64) -> Result<Option<String>>;

    /// End the runs of dead owners as failed. Returns how many it ended. Checks every owner if `all`, else only those
    /// of the runs in `fences`.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn reap(&mut self, fences: &[Fence], all: bool) -> Result<usize>;

    /// End, as failed, those runs of this process in the store that are not in `owned`, the runs that are open here.
    /// Nobody else would end a run whose beginning or end reached the store without its answer reaching this process,
    /// or was lost there. Returns how many it ended. Cheap if there are none.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn disown(&mut self, _owned: &HashSet<Fence>) -> Result<usize> {
        Ok(0)
    }

    /// Show that this process, which has open runs, is alive. Called often. Returns false if others may have declared
    /// it dead since the last call.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn keep_alive(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// How long runs may be missing, after the store lost them, before their owners count as dead.
    fn absence(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Whether this process owns a run that has not ended. In a store with leases, the answer holds for one lease.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn owns(&mut self, fence: Fence) -> Result<bool>;

    /// Remove part of what is over the limits, and do periodic maintenance. Called about once a second. Returns whether
    /// there is more to remove.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn tidy(&mut self) -> Result<bool>;

    /// What it holds.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn usage(&mut self) -> Result<Usage>;

    /// A problem of its settings that people should know, reported once after connecting.
    fn warning(&mut self) -> Option<String> {
        None
    }
}
