//! One life of a run id: its log behind a lock, and those who wait on it.

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::event::{EventId, Payload, RunId};
use super::fork;
use super::log::{LogLimits, RunLog};
use super::subscription::SharedChunk;
use super::sync::{Condvar, Mutex, MutexGuard, is_past};
use super::wake::{Port, Waiters, Wakeup};

/// A name that no other run or cancel event of this process has, for a [`Port`] to report.
pub fn new_key() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A run, shared by the manager and the run's readers.
pub struct Run {
    /// What names it.
    pub id: RunId,
    /// What tells this life of the id from any other.
    pub fence: u64,
    /// Its name among the things a [`Port`] reports.
    pub key: u64,
    generation: u32,
    state: Mutex<State>,
    /// Goes with `state`.
    changed: Condvar,
}

/// Guarded by `Run.state`.
pub struct State {
    /// The events.
    pub log: RunLog,
    /// The chunk its readers share.
    pub chunk: SharedChunk,
    waiters: Waiters,
}

/// What is to be done about the end of a run once no lock is held.
pub struct Finish {
    /// For [`Run::wake`].
    pub wakeup: Wakeup,
    /// What the log holds.
    pub bytes: usize,
    /// To be dropped: what a finished run keeps is counted.
    pub chunk: SharedChunk,
}

impl State {
    /// The number of changes so far, for [`Run::wait`] and [`Run::arm`].
    pub fn epoch(&self) -> u64 {
        self.waiters.epoch()
    }
}

impl Run {
    /// A run without events.
    pub fn new(id: RunId, fence: u64, limits: LogLimits) -> Self {
        let key = new_key();
        Self {
            id,
            fence,
            key,
            generation: fork::generation(),
            state: Mutex::new(State { log: RunLog::new(limits), chunk: None, waiters: Waiters::new(key) }),
            changed: Condvar::new(),
        }
    }

    /// Whether it was made before a fork: then its locks must not be taken.
    pub fn is_of_parent(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Lock its log.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Add an event and wake the readers; `None` if the run has ended.
    pub fn publish(&self, json: Payload) -> Option<EventId> {
        let mut state = self.lock();
        let seq = state.log.append(json)?;
        let wakeup = state.waiters.changed();
        drop(state);
        self.wake(wakeup);
        Some(EventId { fence: self.fence, seq })
    }

    /// Add the terminal event, if there is none.
    pub fn finish(&self, json: Payload) -> Finish {
        let mut state = self.lock();
        state.log.finish(json);
        Finish { wakeup: state.waiters.changed(), bytes: state.log.bytes(), chunk: state.chunk.take() }
    }

    /// Shed everything but the newest event.
    pub fn shed(&self) {
        let mut state = self.lock();
        state.log.shed();
        let chunk = state.chunk.take();
        drop(state);
        drop(chunk);
    }

    /// Shed every event.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.log.clear();
        let chunk = state.chunk.take();
        drop(state);
        drop(chunk);
    }

    /// Wake the readers so that they look again.
    pub fn touch(&self) {
        let wakeup = self.lock().waiters.changed();
        self.wake(wakeup);
    }

    /// Wake the readers. The lock must not be held.
    pub fn wake(&self, wakeup: Wakeup) {
        wakeup.send(&self.changed);
    }

    /// Wait until something has changed since `epoch`, until `deadline` at most.
    pub fn wait(&self, epoch: u64, deadline: Option<Instant>) {
        let mut state = self.lock();
        state.waiters.begin_wait();
        while state.epoch() == epoch && !is_past(deadline) {
            state = self.changed.wait(state, deadline);
        }
        state.waiters.end_wait();
    }

    /// Have `port` rung at the next change after `epoch`; `false` if that has been already.
    pub fn arm(&self, epoch: u64, port: &StdArc<Port>) -> bool {
        self.lock().waiters.arm(epoch, port)
    }
}
