//! What the engine's thread shares with all others: questions, the requests of readers, and the state of the store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::answer::Promise;
use super::record::{Found, Outcome, Record};
use super::store::{Command, Error, NewRun, Query, Usage, Wake};
use crate::core::archive::{Archive, Wanted};
use crate::core::fork;
use crate::core::sync::{Arc as CoreArc, Mutex};
use crate::core::{CancelEvent, Fence, Port, RunId, RunManager, Start, Subscription};

/// How long the engine stays closed for a fork if nobody reports that it is over.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an engine that starts waits for its predecessor to close its connection.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// The severity of a log message of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The store works again.
    Info,
    /// Something needs attention, or was lost.
    Warning,
}

/// Receives the engine's log messages. Called by its thread, without locks.
pub type Report = Box<dyn Fn(Level, &str) + Send>;

/// A question, with the promise to answer it.
pub enum Question {
    /// Begin a run and open it in this manager.
    Begin(RunManager, NewRun, Promise<Opened>),
    /// Begin a run that is already open in this manager; the answer is whether the store keeps it.
    Keep(RunManager, RunId, Promise<bool>),
    /// Create a reader of a run; `None` if the run must exist and does not.
    Subscribe(RunManager, RunId, Start, bool, Promise<Option<Subscription>>),
    /// Send a command to the owner of a run; `None` if it is not running.
    Command(RunId, Command, Promise<Option<String>>),
    /// Whether this process owns a run that is open in this manager.
    Owns(RunManager, RunId, Promise<bool>),
    /// The newest life of a run; the flag asks for its result.
    Find(RunId, bool, Promise<Option<Found>>),
    /// Records; the flag asks for their results.
    List(Query, bool, Promise<Vec<Found>>),
    /// Store everything that was published before.
    Flush(Promise<()>),
    /// Close the connection until the fork is over.
    Close(Promise<()>, Receiver<()>),
}

impl Question {
    /// Answer that the store is locked.
    pub fn refuse(self) {
        fn refuse<T>(answer: &Promise<T>) {
            // If nobody waits any more, nobody is told.
            let _ = answer.give(Err(Error::Busy));
        }
        match self {
            Self::Begin(.., answer) => refuse(&answer),
            Self::Keep(.., answer) | Self::Owns(.., answer) => refuse(&answer),
            Self::Subscribe(.., answer) => refuse(&answer),
            Self::Command(.., answer) => refuse(&answer),
            Self::Find(.., answer) => refuse(&answer),
            Self::List(.., answer) => refuse(&answer),
            Self::Flush(answer) | Self::Close(answer, _) => refuse(&answer),
        }
    }
}

/// The outcome of beginning a run.
pub enum Opened {
    /// It is open.
    Run(RunId, CoreArc<CancelEvent>),
    /// A run with its id is running.
    RunActive(Record),
    /// A run with its key is running.
    KeyActive(Record),
}

/// The state of the engine and its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What is wrong with the store, if anything.
    pub error: Option<String>,
    /// Events stored by this process.
    pub events_stored: u64,
    /// Events of this process that were evicted before they could be stored.
    pub events_lost: u64,
    /// What the store held at the last check.
    pub usage: Usage,
    /// Runs that are open and stored here.
    pub owned_runs: usize,
    /// Runs that are read here and executed elsewhere.
    pub mirrors: usize,
}

/// What the engine's thread shares with all others. Each lock is a leaf.
pub struct Shared {
    /// The store's name, for people.
    pub name: String,
    /// The name of this process as an owner of runs.
    pub owner: String,
    /// The state of the engine and its store.
    pub health: Mutex<Health>,
    /// Requests of readers; bounded by the number of readers.
    pub wanted: Mutex<Vec<Wanted>>,
    /// Requests that could not be served so far, and since when; bounded likewise.
    pub delayed: Mutex<Vec<(Instant, Wanted)>>,
    /// How runs ended, if more is known than their terminal events tell.
    pub outcomes: Mutex<HashMap<Fence, Outcome>>,
    /// Managers that have dropped the engine; bounded by their number.
    pub dropped_managers: Mutex<Vec<RunManager>>,
    /// The number of managers that use the engine; `None` once its thread has ended.
    pub users: Mutex<Option<usize>>,
    /// The store has reported news.
    pub has_news: AtomicBool,
    /// Its thread has closed the connection and is ending.
    pub closed: AtomicBool,
    /// Wakes the thread.
    pub bell: Sender<()>,
    /// Whether a fork may copy its connection.
    pub survives_fork: bool,
    /// The process that it belongs to.
    pub generation: u32,
}

impl Shared {
    /// Wake the engine's thread.
    pub fn ring(&self) {
        // If the channel is full, it is about to wake.
        let _ = self.bell.try_send(());
    }

    /// Whether its thread can answer: it has not ended and belongs to this process.
    pub fn is_alive(&self) -> bool {
        self.generation == fork::generation() && self.users.lock().is_some()
    }

    /// Whether its connection is closed for good.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wait until its connection is closed for good, for some seconds at most. A process may have a file open only
    /// once.
    pub fn wait_closed(&self) {
        let deadline = Instant::now() + CLOSING_TIMEOUT;
        while !self.is_closed() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Refuse the requests of readers that nobody will serve any more.
    pub(super) fn refuse_wanted(&self) {
        let wanted = std::mem::take(&mut *self.wanted.lock());
        wanted.into_iter().for_each(Wanted::refuse);
        let delayed = std::mem::take(&mut *self.delayed.lock());
        delayed.into_iter().for_each(|(_, wanted)| wanted.refuse());
    }
}

impl Archive for Shared {
    fn request(&self, wanted: Wanted) {
        if self.generation != fork::generation() {
            return wanted.refuse();
        }
        // Pushed before checking the thread, which checks for requests after it has announced its end: one of the two
        // sees the other.
        self.wanted.lock().push(wanted);
        if self.is_alive() {
            self.ring();
        } else {
            self.refuse_wanted();
        }
    }
}

/// The callback with which a store wakes the engine.
pub(super) fn wake(shared: &Arc<Shared>) -> Wake {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    Arc::new(move || {
        if let Some(shared) = shared.upgrade() {
            shared.has_news.store(true, Ordering::Release);
            shared.ring();
        }
    })
}

/// Wait until a fork is over.
pub(super) fn wait_for_fork(resumed: &Receiver<()>) {
    let _ = resumed.recv_timeout(FORK_TIMEOUT);
}

/// A port that wakes the engine when a log changes.
pub(super) fn port(shared: &Arc<Shared>) -> Arc<Port> {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    Arc::new(Port::new(Box::new(move || {
        if let Some(shared) = shared.upgrade() {
            shared.ring();
        }
    })))
}
