//! The maps of runs, subscribers and cancel events, and their lock.
//!
//! A run has one entry from the first subscription, request for its cancel event, or opening, until it is finished. The
//! entry holds the run, its cancel event, its subscriber count and its claim, so none of them can outlive the others.

use std::time::{Instant, SystemTime};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::cancel::CancelEvent;
use super::id::{EventId, Fence, RunId, RunIdRef, Seq};
use super::limits::{Limits, LogLimits};
use super::retention::Retention;
use super::run::Run;
use super::sync::{Arc, AtomicU64, Mutex, MutexGuard};
use super::wake::Key;

/// What a manager and its subscriptions share.
pub struct Registry {
    /// The manager's limits.
    pub limits: Limits,
    /// Whether a stored run whose owner died waits to be finished in this process.
    pub keeps_orphans: bool,
    /// Events that gaps have reported as missed.
    pub missed: AtomicU64,
    maps: Mutex<Maps>,
}

/// Guarded by `Registry.maps`.
pub struct Maps {
    /// Unfinished runs.
    pub live: HashMap<RunId, Entry, FxBuildHasher>,
    /// Finished runs.
    pub retained: Retention,
    /// Events published, including terminal events.
    pub published: u64,
    /// Bytes of JSON in these.
    pub published_bytes: u64,
    /// No fence that was assigned here is smaller.
    first_fence: Fence,
    last_fence: Fence,
}

/// An unfinished run.
pub struct Entry {
    /// The run.
    pub run: Arc<Run>,
    /// Its cancel event.
    pub cancel: Arc<CancelEvent>,
    /// The number of its subscriptions.
    pub subscribers: usize,
    /// Who else needs it.
    pub claim: Claim,
}

/// Who needs a run, apart from its subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nobody: the entry is removed with its last subscriber.
    None,
    /// Somebody asked for its cancel event before it was opened.
    Reserved,
    /// It is open.
    Open,
}

impl Maps {
    /// The entry of `id`, created if there is none.
    pub fn entry(&mut self, id: RunIdRef<'_>, limits: LogLimits) -> &mut Entry {
        let last_fence = &mut self.last_fence;
        self.live.entry(RunId::from(id)).or_insert_with_key(|id| Entry::new(id.clone(), last_fence, limits))
    }

    /// The entry of this life of a run, if it is open.
    pub fn open_life(&self, run: &Arc<Run>) -> Option<&Entry> {
        self.live.get(&run.id.as_ref()).filter(|entry| entry.claim == Claim::Open && Arc::ptr_eq(&entry.run, run))
    }

    /// Whether the id of an event shows that the run existed here and has ended, with nothing kept of it. Then no
    /// reader need wait for it, unless another life of it is open or reserved.
    pub fn has_forgotten(&self, id: RunIdRef<'_>, event: EventId) -> bool {
        let given_out = (self.first_fence..=self.last_fence).contains(&event.fence) && event.seq > Seq::ZERO;
        let expected = |entry: &Entry| entry.claim != Claim::None || entry.run.lock().fence == event.fence;
        given_out && !self.live.get(&id).is_some_and(expected) && self.retained.get(id).is_none()
    }

    /// Give the entry of `id` a new run if it has the mirror of an earlier life, which keeps its readers. Returns the
    /// mirror, to be dropped when no lock is held.
    pub fn replace_mirror(&mut self, id: RunIdRef<'_>, limits: LogLimits) -> Option<Arc<Run>> {
        let entry = self.live.get_mut(&id).filter(|entry| entry.is_mirror())?;
        let run = Arc::new(Run::new(id.into(), next_fence(&mut self.last_fence), limits));
        entry.subscribers = 0;
        Some(std::mem::replace(&mut entry.run, run))
    }

    /// Remove and return the entry of `id`; if there is none, a new one that is in no map.
    pub fn take_entry(&mut self, id: RunIdRef<'_>, limits: LogLimits) -> Entry {
        let entry = self.live.remove(&id);
        entry.unwrap_or_else(|| Entry::new(id.into(), &mut self.last_fence, limits))
    }
}

impl Entry {
    /// The entry of a new life of `id`.
    fn new(id: RunId, last_fence: &mut Fence, limits: LogLimits) -> Self {
        Self {
            run: Arc::new(Run::new(id, next_fence(last_fence), limits)),
            cancel: new_cancel_event(),
            subscribers: 0,
            claim: Claim::None,
        }
    }

    /// Whether its run is stored and not open here.
    pub fn is_mirror(&self) -> bool {
        self.claim != Claim::Open && self.run.lock().archive.is_some()
    }

    /// Whether an engine will end its run.
    pub fn awaits_end(&self) -> bool {
        self.is_mirror() && self.run.lock().end_fence.is_none()
    }
}

/// The cancel event of a run.
pub fn new_cancel_event() -> Arc<CancelEvent> {
    Arc::new(CancelEvent::new(Key::new()))
}

/// The current time in milliseconds since 1970, but larger than any previous fence.
fn next_fence(last: &mut Fence) -> Fence {
    *last = Fence(milliseconds().max(last.0 + 1));
    *last
}

/// Milliseconds since 1970.
fn milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}

impl Registry {
    /// A registry without runs.
    pub fn new(limits: Limits, keeps_orphans: bool) -> Self {
        let live = HashMap::with_hasher(FxBuildHasher);
        let first_fence = Fence(milliseconds());
        let retained = Retention::new(limits.retention);
        let maps = Maps { live, retained, published: 0, published_bytes: 0, first_fence, last_fence: Fence(0) };
        Self { limits, keeps_orphans, missed: AtomicU64::new(0), maps: Mutex::new(maps) }
    }

    /// Lock the maps.
    pub fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock()
    }

    /// Remove one subscriber of `run`, and the entry if nobody else needs it.
    pub fn unsubscribe(&self, run: &Arc<Run>) {
        let mut maps = self.lock();
        let Some(entry) = maps.live.get_mut(&run.id.as_ref()).filter(|entry| Arc::ptr_eq(&entry.run, run)) else {
            return;
        };
        entry.subscribers -= 1;
        if entry.subscribers == 0 && entry.claim == Claim::None {
            let removed = maps.live.remove(&run.id.as_ref());
            drop(maps);
            drop(removed);
            // Its closed readers may still be referenced.
            run.clear();
        }
    }

    /// Evict expired runs.
    pub fn expire(&self) {
        let evicted = self.lock().retained.expire(Instant::now());
        evict_logs(&evicted);
    }
}

/// Evict the logs of runs that retention has evicted. Call it without locks.
pub fn evict_logs(runs: &[Arc<Run>]) {
    runs.iter().for_each(|run| run.evict_all_but_newest());
}
