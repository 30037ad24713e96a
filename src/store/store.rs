//! What a store does, whichever it is.
//!
//! A store keeps the records and the events of runs. One thread of a process, the engine, has the only connection to it,
//! so a store is not shared: every method takes `&mut self` and may wait, for [`Error::Busy`] at most a fraction of a
//! second.
//!
//! # What a store promises
//!
//! - Fences: each life of a run has one of its own, larger than all before it in the store.
//! - Every write can be repeated: one whose answer was lost is tried again, and nothing is stored twice.
//! - Fencing: an owner that was taken for dead writes nothing more ([`Fate::Refused`]).
//! - A run ends once: by its owner's terminal event, or by whoever finds that the owner died ([`Store::reap`]).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::core::Payload;
use crate::core::id::{Fence, RunId, Seq};

use super::record::{Outcome, Record};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process is writing; trying again may help.
    #[error("the store is locked by another process")]
    Busy,
    /// The store was deleted or replaced; a new connection finds what is there now.
    #[error("{0} was deleted or replaced while it was in use")]
    Lost(String),
    /// It is not a store, or not one this version can use; trying again does not help.
    #[error("{0}")]
    Refused(String),
    /// Anything else: a full disk, a read-only file, a damaged one.
    #[error("{0}")]
    Failed(String),
}

/// The most events of a run in one write, and in one page.
pub const PAGE: usize = 1000;
/// The most bytes of them.
pub const PAGE_BYTES: usize = 1 << 20;
/// How many runs are asked about at once with [`Store::follow`].
pub const FOLLOWED_AT_ONCE: usize = 100;

/// Stores count run ids on from integers below this one only: the next are exact in every language that reads them.
pub const COUNTED_IDS: i64 = 1 << 52;

/// The result of asking a store.
pub type Result<T> = std::result::Result<T, Error>;

/// A run that is to begin.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// Its id; `None` for an integer larger than all before it in the store that are below [`COUNTED_IDS`].
    pub run_id: Option<RunId>,
    /// At most one run with this key is active.
    pub key: Option<String>,
}

/// What became of a [`NewRun`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is running, and this process is its owner.
    Started(Record),
    /// A run with this id is running.
    RunActive(Record),
    /// A run with this key is running.
    KeyActive(Record),
}

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its number. Where a number is left out, the event was evicted before it could be stored.
    pub seq: Seq,
    /// What was published.
    pub payload: Payload,
}

/// The events of one run that are to be stored.
#[derive(Debug)]
pub struct Append {
    /// The run.
    pub fence: Fence,
    /// In rising order.
    pub events: Vec<StoredEvent>,
    /// The newest event published, of which a gap may be all that can be stored.
    pub last: Seq,
    /// How the run ended; the last event is its terminal one.
    pub end: Option<Outcome>,
}

/// What became of an [`Append`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Stored,
    /// The run has ended in the store; it was taken for interrupted.
    Refused,
    /// The store has no such run.
    Unknown,
}

/// Which records are wanted, the newest first.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this key.
    pub key: Option<String>,
    /// Of one of these; of any if there are none.
    pub statuses: Vec<String>,
    /// With this text in their id, key or error. ASCII letters match in either case, others only as they are: that much
    /// every store can do where the records are.
    pub text: Option<String>,
    /// Of these lives, with the text or without.
    pub also: Vec<Fence>,
    /// Of runs that began before this one.
    pub before: Option<Fence>,
    /// At most so many.
    pub limit: usize,
}

/// What a process asks the owner of a run to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Set the run's cancel event. Nobody waits for a reply.
    Cancel,
    /// Publish this event; the reply is its id.
    Publish(Payload),
    /// Finish the run with this event; the reply says whether this ended it.
    Finish(Payload),
}

/// What a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Records.
    pub runs: u64,
    /// Bytes that are used of it.
    pub bytes: u64,
}

/// How much a store keeps of finished runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time since a run's end.
    pub age: Duration,
    /// Runs, of which those that have not ended are never removed.
    pub runs: u64,
    /// Bytes that are used. If runs that have not ended are larger, their oldest events are removed.
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

/// How far a run is, with its next events for who lacks them.
#[derive(Debug, Clone)]
pub enum Progress {
    /// The store has no such run.
    Missing,
    /// It is running; its newest event stored.
    Running(Seq, Vec<StoredEvent>),
    /// It has ended.
    Ended(Record, Vec<StoredEvent>),
}

/// Wakes the engine: there may be news. May be called by any thread.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Where a store is: connects to it, and does so again after a failure or a fork. The process is the same owner of runs
/// through all connections of one source.
pub trait Source: Send {
    /// Connect. A store that hears of news by itself calls `wake`.
    ///
    /// # Errors
    ///
    /// The store cannot be reached, or refuses.
    fn connect(&self, wake: &Wake) -> Result<Box<dyn Store>>;

    /// Whether a connection does no harm that a fork copies while it is open.
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
    /// whether the run can go on: it may have ended, or its id or key be another run's by now.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn restore(&mut self, record: &Record) -> Result<bool>;

    /// Store events of runs of this process, and say what became of each run's.
    ///
    /// # Errors
    ///
    /// The store cannot be written. Some may be stored all the same; all are to be tried again.
    fn append(&mut self, runs: &[Append]) -> Result<Vec<Fate>>;

    /// The newest life of a run.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>>;

    /// The newest lives of runs, the newest first.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn list(&mut self, query: &Query) -> Result<Vec<Record>>;

    /// What runs returned, as JSON, in the order of `fences`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn results(&mut self, fences: &[Fence]) -> Result<Vec<Option<String>>>;

    /// The events of a run from `from` on, in rising order: `events` of them and `bytes` of JSON at most, but one at
    /// least if there is one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn read(&mut self, fence: Fence, from: Seq, events: usize, bytes: usize) -> Result<Vec<StoredEvent>>;

    /// What other processes may have written since the last call. Cheap.
    ///
    /// # Errors
    ///
    /// The store cannot be read, or is another one by now.
    fn news(&mut self) -> Result<News>;

    /// Whether it wakes the engine when there is news, so that it need not be asked often.
    fn wakes(&self) -> bool {
        false
    }

    /// The time between two looks for news while events come in, if a look is so cheap that this may be short.
    fn eager_poll(&self) -> Option<Duration> {
        None
    }

    /// Have nothing open any more, since the process is about to fork. The store is dropped after that.
    fn close(&mut self) {}

    /// How far runs are, with the events of each from a seq on, though perhaps not all.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn follow(&mut self, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>>;

    /// Leave a command for the owner of a run; returns the number by which its reply is asked for.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn send(&mut self, fence: Fence, command: &Command) -> Result<u64>;

    /// The commands for runs of this process, the oldest first, each until it is replied to.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    fn commands(&mut self) -> Result<Vec<(u64, Fence, Command)>>;

    /// Reply to a command; `None` if nobody waits for one.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn reply(&mut self, number: u64, reply: Option<&str>) -> Result<()>;

    /// Take the reply to a command, once there is one. A command whose run has ended without one has an empty one.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn take_reply(&mut self, number: u64) -> Result<Option<String>>;

    /// End the runs of owners that died, as failed; returns how many. `all` looks at every owner, else only at those of
    /// runs in `fences`.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn reap(&mut self, fences: &[Fence], all: bool) -> Result<usize>;

    /// End, as failed, the runs of this process in the store that are none of `owned`, the runs that are open here: a run
    /// whose beginning or end the store has, or lost, without this process knowing has nobody else to end it. Returns how
    /// many. Cheap if there are none.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    fn disown(&mut self, _owned: &HashSet<Fence>) -> Result<usize> {
        Ok(0)
    }

    /// Show that this process, which has open runs, is alive. Called often. Returns whether nobody can have taken it for
    /// dead since this was called last.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn keep_alive(&mut self) -> Result<bool> {
        Ok(true)
    }

    /// How long runs may be missing, after the store lost them, before their owners are taken for dead.
    fn absence(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Whether this process is the owner of a run that has not ended, and will be until others can take it for dead.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    fn owns(&mut self, fence: Fence) -> Result<bool>;

    /// Remove a part of what is over the store's bounds, and do what has to be done now and then. Called each second or
    /// so; returns whether there is more to remove.
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

    /// What people should know of its settings; told once after it was connected to.
    fn warning(&mut self) -> Option<String> {
        None
    }
}
