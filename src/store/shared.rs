//! What the engine's thread and all others share: questions and answers, what readers lack, and how the store is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::answer::Promise;
use super::record::{Found, Outcome, Record};
use super::store::{Command, NewRun, Query, Usage, Wake};
use crate::core::archive::{Archive, Wanted};
use crate::core::fork;
use crate::core::sync::{Arc as CoreArc, Mutex};
use crate::core::{CancelEvent, Fence, Port, RunId, RunManager, Start, Subscription};

/// How long the engine stays closed for a fork, if nobody says that it is over.
const FORK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an engine that starts waits for the one before it to close its connection.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(5);

/// Severity of a log record of the engine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All is well again.
    Info,
    /// Something has to be done, or was lost.
    Warning,
}

/// Where the engine's log records go. Called by its thread, with no lock held.
pub type Report = Box<dyn Fn(Level, &str) + Send>;

/// A question, with the answer that is waited for.
pub enum Question {
    /// Begin a run and open it in this manager.
    Begin(RunManager, NewRun, Promise<Opened>),
    /// Begin a run that is open in this manager already; whether it is stored from now on.
    Keep(RunManager, RunId, Promise<bool>),
    /// Make a reader of a run; none if the run must exist and does not.
    Subscribe(RunManager, RunId, Start, bool, Promise<Option<Subscription>>),
    /// Have the owner of a run do something; none if it is not running.
    Command(RunId, Command, Promise<Option<String>>),
    /// Whether this process is the owner of a run that is open in this manager.
    Owns(RunManager, RunId, Promise<bool>),
    /// The newest life of a run, and whether with its result.
    Find(RunId, bool, Promise<Option<Found>>),
    /// Records, and whether with their results.
    List(Query, bool, Promise<Vec<Found>>),
    /// Store all that was published before.
    Flush(Promise<()>),
    /// Close the connection until the fork is over.
    Close(Promise<()>, Receiver<()>),
}

/// What became of a run that was to begin.
pub enum Opened {
    /// It is open.
    Run(RunId, CoreArc<CancelEvent>),
    /// A run with its id is running.
    RunActive(Record),
    /// A run with its key is running.
    KeyActive(Record),
}

/// How the engine and its store are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// What is wrong with the store, if something is.
    pub error: Option<String>,
    /// Events stored by this process.
    pub events_stored: u64,
    /// Events of this process that were evicted before they could be stored.
    pub events_lost: u64,
    /// What the store held when it was last looked at.
    pub usage: Usage,
    /// Runs that are open here and stored.
    pub owned_runs: usize,
    /// Runs that are read here and executed elsewhere.
    pub mirrors: usize,
}

/// What the engine's thread and all others share. Each lock is a leaf.
pub struct Shared {
    /// The store's name, for people.
    pub name: String,
    /// How it is.
    pub health: Mutex<Health>,
    /// What readers lack; bounded by their number.
    pub wanted: Mutex<Vec<Wanted>>,
    /// What of it could not be read so far, and since when; bounded likewise.
    pub delayed: Mutex<Vec<(Instant, Wanted)>>,
    /// How runs ended, where more is known than their terminal events tell.
    pub outcomes: Mutex<HashMap<Fence, Outcome>>,
    /// Managers that have gone; bounded by their number.
    pub left: Mutex<Vec<RunManager>>,
    /// How many managers use the engine; `None` once its thread has ended.
    pub users: Mutex<Option<usize>>,
    /// The store has told that there is news.
    pub has_news: AtomicBool,
    /// Its thread has closed the connection, and ends.
    pub closed: AtomicBool,
    /// Wakes the thread.
    pub bell: Sender<()>,
    /// Whether a fork may copy its connection.
    pub survives_fork: bool,
    /// The process that it is of.
    pub generation: u32,
}

impl Shared {
    /// Wake the engine's thread.
    pub fn ring(&self) {
        // Full: it is about to wake.
        let _ = self.bell.try_send(());
    }

    /// Whether its thread can answer: it has not ended, and is of this process.
    pub fn is_alive(&self) -> bool {
        self.generation == fork::generation() && self.users.lock().is_some()
    }

    /// Whether its connection is closed for good.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Wait until its connection is closed for good, for some seconds at most. A process has a file open once only.
    pub fn wait_closed(&self) {
        let deadline = Instant::now() + CLOSING_TIMEOUT;
        while !self.is_closed() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Have nobody wait for what nobody can read.
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
        // Before the look at the thread, which looks here after it has said that it ends: one of the two sees the other.
        self.wanted.lock().push(wanted);
        if self.is_alive() {
            self.ring();
        } else {
            self.refuse_wanted();
        }
    }
}

/// What a store wakes the engine with.
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

/// A port that wakes the engine, for logs to report changes to.
pub(super) fn port(shared: &Arc<Shared>) -> Arc<Port> {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    Arc::new(Port::new(Box::new(move || {
        if let Some(shared) = shared.upgrade() {
            shared.ring();
        }
    })))
}
