//! One life of a run id: its log, behind a lock, and its waiters.

use std::sync::Arc as StdArc;

use super::archive::Archive;
use super::event::Payload;
use super::fork::{self, release};
use super::frame::SharedChunk;
use super::id::{EventId, Fence, RunId};
use super::limits::LogLimits;
use super::log::RunLog;
use super::sync::{Bell, Mutex, MutexGuard};
use super::wake::{Epoch, Key, Port, Waitable, Waiters, Wakeup};

/// A run, shared by its manager and its readers.
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The key that a [`Port`] reports.
    pub key: Key,
    generation: u32,
    state: Mutex<State>,
    bell: Bell,
}

/// Guarded by `Run.state`.
pub struct State {
    /// Identifies this life of the id. Replaced by the store's fence if the run turns out to be stored.
    pub fence: Fence,
    /// The fence in the id of the terminal event if it is not `fence`: the run was not ended by its owner.
    pub end_fence: Option<Fence>,
    /// Has the events that the log has evicted.
    pub archive: Option<StdArc<dyn Archive>>,
    /// The events.
    pub log: RunLog,
    /// The chunk that its readers share.
    pub chunk: SharedChunk,
    /// The number of the current stall, during which nothing arrives from the run's owner; 0 for none.
    pub stall: u32,
    waiters: Waiters,
}

/// What remains to be done after a run has its terminal event, when no lock is held.
pub struct Finish {
    /// For [`Run::wake`].
    pub wakeup: Wakeup,
    /// Bytes of JSON that the log holds.
    pub bytes: usize,
    /// To be dropped: retention counts only the log of a finished run.
    pub chunk: SharedChunk,
}

impl State {
    /// The number of changes so far, for [`Run::sleep`](Waitable::sleep) and [`Run::arm`].
    pub fn epoch(&self) -> Epoch {
        self.waiters.epoch()
    }

    /// The id of the terminal event, which in a finished log is the newest.
    pub(super) fn terminal_id(&self) -> EventId {
        EventId { fence: self.end_fence.unwrap_or(self.fence), seq: self.log.newest() }
    }

    /// Record a change.
    pub fn changed(&mut self) -> Wakeup {
        self.waiters.changed()
    }
}

impl Run {
    /// A run without events.
    pub fn new(id: RunId, fence: Fence, limits: LogLimits) -> Self {
        let key = Key::new();
        Self {
            id,
            key,
            generation: fork::generation(),
            state: Mutex::new(State {
                fence,
                end_fence: None,
                archive: None,
                log: RunLog::new(limits),
                chunk: None,
                stall: 0,
                waiters: Waiters::new(key),
            }),
            bell: Bell::new(),
        }
    }

    /// A life that has ended and of which only one event id is known: after it comes a terminal event with the status
    /// `unknown`.
    pub fn forgotten(id: RunId, known: EventId, limits: LogLimits) -> Self {
        let mut json = b"{\"run_id\":".to_vec();
        id.write_json(&mut json);
        json.extend_from_slice(br#","complete":true,"status":"unknown"}"#);
        let run = Self::new(id, known.fence, limits);
        let mut state = run.lock();
        state.log.start_at(known.seq.next());
        state.log.finish(Payload::new(None, &json));
        drop(state);
        run
    }

    /// Whether it was created before a fork. If so, its locks must not be taken.
    pub fn is_of_parent(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Lock its state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Append an event and wake the readers; `None` if the run has finished.
    pub fn publish(&self, payload: Payload) -> Option<EventId> {
        let mut state = self.lock();
        let seq = state.log.append(payload)?;
        let fence = state.fence;
        let wakeup = state.waiters.changed();
        drop(state);
        self.wake(wakeup);
        Some(EventId { fence, seq })
    }

    /// Append the terminal event, unless there is one already.
    pub fn finish(&self, payload: Payload) -> Finish {
        let mut state = self.lock();
        state.log.finish(payload);
        Finish { wakeup: state.waiters.changed(), bytes: state.log.bytes(), chunk: state.chunk.take() }
    }

    /// Give the terminal event of a mirror, which is created in this process only, an id that the owner never assigns.
    pub fn end_here(&self) {
        let mut state = self.lock();
        state.end_fence = Some(Fence(state.fence.0 + 1));
    }

    /// Evict all events but the newest.
    pub fn evict_all_but_newest(&self) {
        self.evict(RunLog::evict_all_but_newest);
    }

    /// Evict every event.
    pub fn clear(&self) {
        self.evict(RunLog::clear);
    }

    fn evict(&self, evict: impl FnOnce(&mut RunLog)) {
        let mut state = self.lock();
        evict(&mut state.log);
        let chunk = state.chunk.take();
        drop(state);
        release(chunk);
    }

    /// Wake the readers so that they check again.
    pub fn touch(&self) {
        let wakeup = self.lock().waiters.changed();
        self.wake(wakeup);
    }

    /// Tell each stream once that nothing arrives from the run's owner. `number` identifies the stall; 0 ends it.
    pub fn stall(&self, number: u32) {
        let was = std::mem::replace(&mut self.lock().stall, number);
        if number > 0 && was != number {
            self.touch();
        }
    }

    /// Wake the readers. Call it without the lock.
    pub fn wake(&self, wakeup: Wakeup) {
        wakeup.send(&self.bell);
    }

    /// Register `port` for the next change after `epoch`. Returns false if there was one already.
    pub fn arm(&self, epoch: Epoch, port: &StdArc<Port>) -> bool {
        self.lock().waiters.arm(epoch, port)
    }
}

impl Waitable for Run {
    fn with_waiters<T>(&self, act: impl FnOnce(&mut Waiters) -> T) -> T {
        act(&mut self.lock().waiters)
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }
}

// The last reference may be dropped without the GIL.
#[cfg(not(loom))]
impl Drop for Run {
    fn drop(&mut self) {
        release(self.state.get_mut().chunk.take());
    }
}
