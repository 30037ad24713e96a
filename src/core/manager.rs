//! The manager: opens, publishes to, finishes, cancels and reads runs.
//!
//! Finishing moves a run from the maps to retention under one lock: a reader that subscribes meanwhile gets the
//! terminal event from either.

use std::time::Instant;

use super::cancel::CancelEvent;
use super::error::Error;
use super::event::Payload;
use super::fork::release;
use super::id::{EventId, RunId, RunIdRef, Seq};
use super::limits::Limits;
use super::registry::{Claim, Entry, Maps, Registry, evict_logs, new_cancel_event};
use super::run::{Finish, Run};
use super::stats::Stats;
use super::subscription::Subscription;
use super::sync::{Arc, MutexGuard, Ordering};

/// Owns runs. Cheap to clone; all clones own the same runs.
#[derive(Clone)]
pub struct RunManager {
    registry: Arc<Registry>,
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At new events, or at the terminal event of a finished run.
    Newest,
    /// After this event of this life of the run; with any other id, or none, at the first event.
    After(Option<EventId>),
}

impl Start {
    /// Parse a `Last-Event-ID` or a value such as `"0"`. White space around an id is ignored.
    pub fn parse(after: Option<&str>) -> Self {
        after.map_or(Self::Newest, |text| Self::After(text.trim().parse().ok()))
    }
}

impl RunManager {
    /// A manager without runs.
    pub fn new(limits: Limits) -> Self {
        Self { registry: Arc::new(Registry::new(limits, false)) }
    }

    /// A manager whose readers are not told by a store how a run ended whose owner died. They wait for
    /// [`Self::finish`], whose caller knows more.
    pub fn with_orphans(limits: Limits) -> Self {
        Self { registry: Arc::new(Registry::new(limits, true)) }
    }

    /// A manager without runs and with the same settings.
    pub fn new_like(&self) -> Self {
        Self { registry: Arc::new(Registry::new(self.registry.limits, self.registry.keeps_orphans)) }
    }

    /// Whether `other` owns the same runs.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }

    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The limits it was created with.
    pub fn limits(&self) -> &Limits {
        &self.registry.limits
    }

    /// Open a run and return its cancel event. Takes over an entry that is not open, and removes an earlier life.
    /// Readers of a mirror of an earlier life keep that mirror, which its engine will end.
    ///
    /// # Errors
    ///
    /// [`Error::RunActive`] if it is open.
    pub fn open(&self, run_id: RunIdRef<'_>) -> Result<Arc<CancelEvent>, Error> {
        self.open_as(run_id, |_| ()).map(|(cancel, _)| cancel)
    }

    /// Open a run; `prepare` may change its entry before anybody can publish to it.
    pub(super) fn open_as(
        &self,
        run_id: RunIdRef<'_>,
        prepare: impl FnOnce(&mut Entry),
    ) -> Result<(Arc<CancelEvent>, Arc<Run>), Error> {
        let mut maps = self.registry.lock();
        let mirror = maps.replace_mirror(run_id, self.registry.limits.log);
        let entry = maps.entry(run_id, self.registry.limits.log);
        if entry.claim == Claim::Open {
            return Err(Error::RunActive(entry.run.id.clone()));
        }
        entry.claim = Claim::Open;
        prepare(entry);
        let (cancel, run) = (entry.cancel.clone(), entry.run.clone());
        maps.retained.remove(run_id);
        let evicted = maps.retained.expire(Instant::now());
        drop(maps);
        drop(mirror);
        evict_logs(&evicted);
        Ok((cancel, run))
    }

    /// Append an event and wake the readers; `None` if no reader could ever get it, or if another process executes the
    /// run.
    pub fn publish(&self, run_id: RunIdRef<'_>, payload: Payload) -> Option<EventId> {
        let maps = self.registry.lock();
        let entry = maps.live.get(&run_id)?;
        if entry.is_mirror() {
            return None;
        }
        let run = entry.run.clone();
        self.publish_to(&run, maps, payload)
    }

    /// Append an event to a run found in `maps`, and wake the readers; `None` if it has finished.
    #[inline]
    pub(super) fn publish_to(&self, run: &Run, mut maps: MutexGuard<'_, Maps>, payload: Payload) -> Option<EventId> {
        // Counted under a lock that is held anyway, and corrected if the run refuses the event.
        let bytes = payload.json().len() as u64;
        maps.published += 1;
        maps.published_bytes += bytes;
        drop(maps);
        let id = run.publish(payload);
        if id.is_none() {
            let mut maps = self.registry.lock();
            maps.published -= 1;
            maps.published_bytes -= bytes;
        }
        id
    }

    /// Set the run's cancel event. Returns false if there was no run to cancel.
    pub fn cancel(&self, run_id: RunIdRef<'_>) -> bool {
        let cancel = self.cancel_event(run_id);
        if let Some(cancel) = &cancel {
            cancel.set();
        }
        cancel.is_some()
    }

    /// The cancel event of a run that is open or reserved.
    pub fn cancel_event(&self, run_id: RunIdRef<'_>) -> Option<Arc<CancelEvent>> {
        let maps = self.registry.lock();
        let entry = maps.live.get(&run_id).filter(|entry| entry.claim != Claim::None)?;
        Some(entry.cancel.clone())
    }

    /// Finish the run with its terminal event and remove its entry. Returns whether this call finished it.
    ///
    /// A run that neither has an entry nor is retained is recorded as finished. With `unless_open`, a run that is open,
    /// here or elsewhere, is left alone.
    pub fn finish(&self, run_id: RunIdRef<'_>, payload: Payload, unless_open: bool) -> bool {
        self.finish_if(run_id, payload, |maps| match maps.live.get(&run_id) {
            Some(entry) => !unless_open || (entry.claim != Claim::Open && !entry.awaits_end()),
            None => maps.retained.get(run_id).is_none(),
        })
    }

    /// Like [`Self::finish`], but only if `allowed` returns true, which is called under the lock of the maps.
    pub(super) fn finish_if(
        &self,
        run_id: RunIdRef<'_>,
        payload: Payload,
        allowed: impl FnOnce(&Maps) -> bool,
    ) -> bool {
        let now = Instant::now();
        let mut maps = self.registry.lock();
        let mut evicted = maps.retained.expire(now);
        if !allowed(&maps) {
            drop(maps);
            evict_logs(&evicted);
            return false;
        }
        let entry = maps.take_entry(run_id, self.registry.limits.log);
        if entry.awaits_end() {
            entry.run.end_here();
        }
        let Entry { run, cancel, .. } = entry;
        maps.retained.remove(run_id);
        maps.published_bytes += payload.json().len() as u64;
        let Finish { wakeup, bytes, chunk } = run.finish(payload);
        evicted.extend(maps.retained.insert(run.clone(), bytes, now));
        maps.published += 1;
        drop(maps);
        release(chunk);
        run.wake(wakeup);
        evict_logs(&evicted);
        release(cancel.take_callbacks());
        true
    }

    /// Create a reader of the run, starting at `start`.
    ///
    /// If `start` is an event of a life of which this manager keeps nothing, the reader gets a terminal event with the
    /// status `unknown`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRun`] if the run `must_exist` and does not.
    pub fn subscribe(&self, run_id: RunIdRef<'_>, start: Start, must_exist: bool) -> Result<Subscription, Error> {
        let mut maps = self.registry.lock();
        let mut evicted = Vec::new();
        if let Start::After(Some(event)) = start {
            evicted = maps.retained.expire(Instant::now());
            if maps.has_forgotten(run_id, event) {
                drop(maps);
                evict_logs(&evicted);
                // No log gets near this seq, which a client may have made up.
                let known = EventId { seq: event.seq.min(Seq(u64::MAX / 2)), ..event };
                let run = Arc::new(Run::forgotten(run_id.into(), known, self.registry.limits.log));
                return Ok(Subscription::new(run, self.registry.clone(), known.seq.next()));
            }
        }
        let found = match maps.live.get_mut(&run_id) {
            Some(entry) => {
                entry.subscribers += 1;
                Some(entry.run.clone())
            }
            None => {
                evicted.extend(maps.retained.expire(Instant::now()));
                maps.retained.get(run_id).cloned()
            }
        };
        let run = match found {
            Some(run) => run,
            None if must_exist => {
                drop(maps);
                evict_logs(&evicted);
                return Err(Error::UnknownRun(run_id.into()));
            }
            None => {
                let entry = maps.entry(run_id, self.registry.limits.log);
                entry.subscribers += 1;
                entry.run.clone()
            }
        };
        // Under the lock of the maps, so that retention cannot evict a run that finishes meanwhile.
        let state = run.lock();
        let next = match start {
            Start::Newest => state.log.newest(),
            Start::After(id) => state.log.after(id, state.fence),
        };
        drop(state);
        drop(maps);
        evict_logs(&evicted);
        Ok(Subscription::new(run, self.registry.clone(), next))
    }

    /// The terminal event of a finished run, while it is retained.
    pub fn terminal(&self, run_id: RunIdRef<'_>) -> Option<Payload> {
        self.registry.expire();
        let run = self.registry.lock().retained.get(run_id).cloned()?;
        run.lock().log.terminal().cloned()
    }

    /// Whether the run is open.
    pub fn is_open(&self, run_id: RunIdRef<'_>) -> bool {
        self.registry.lock().live.get(&run_id).is_some_and(|entry| entry.claim == Claim::Open)
    }

    /// The runs that are open or reserved: integers in ascending order, then texts.
    pub fn claimed_runs(&self) -> Vec<RunId> {
        self.live_runs(|entry| entry.claim != Claim::None)
    }

    /// The unfinished runs that have subscribers: integers in ascending order, then texts.
    pub fn subscribed_runs(&self) -> Vec<RunId> {
        self.live_runs(|entry| entry.subscribers > 0)
    }

    /// The finished runs that are retained, oldest first.
    pub fn retained_runs(&self) -> Vec<RunId> {
        self.registry.expire();
        self.registry.lock().retained.iter().map(|run| run.id.clone()).collect()
    }

    /// A snapshot of what it holds and has done.
    pub fn stats(&self) -> Stats {
        self.registry.expire();
        let maps = self.registry.lock();
        let mut stats = Stats {
            events_published: maps.published,
            bytes_published: maps.published_bytes,
            events_missed: self.registry.missed.load(Ordering::Relaxed),
            ..Stats::default()
        };
        let mut runs = Vec::with_capacity(maps.live.len());
        for entry in maps.live.values() {
            stats.subscribers += entry.subscribers;
            match entry.claim {
                Claim::Open => stats.active_runs += 1,
                Claim::None | Claim::Reserved => stats.subscribed_runs += 1,
            }
            runs.push(entry.run.clone());
        }
        runs.extend(maps.retained.iter().cloned());
        stats.retained_runs = runs.len() - maps.live.len();
        drop(maps);
        for run in runs {
            let state = run.lock();
            stats.events_held += state.log.len();
            stats.bytes_held += state.log.bytes();
        }
        stats
    }

    fn live_runs(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<RunId> {
        let maps = self.registry.lock();
        let mut ids: Vec<RunId> =
            maps.live.iter().filter(|(_, entry)| wanted(entry)).map(|(id, _)| id.clone()).collect();
        drop(maps);
        ids.sort_unstable();
        ids
    }
}

/// Only for the GenGlossary application.
impl RunManager {
    /// The cancel event of a run that need not be open; the run is reserved if it has no other claim.
    pub fn reserve(&self, run_id: RunIdRef<'_>) -> Arc<CancelEvent> {
        let mut maps = self.registry.lock();
        let entry = maps.entry(run_id, self.registry.limits.log);
        if entry.claim == Claim::None {
            entry.claim = Claim::Reserved;
        }
        entry.cancel.clone()
    }

    /// Undo an `open`: the entry remains for its subscribers, with a new cancel event. Returns false if the run was not
    /// open.
    pub fn abandon(&self, run_id: RunIdRef<'_>) -> bool {
        let mut maps = self.registry.lock();
        let Some(entry) = maps.live.get_mut(&run_id).filter(|entry| entry.claim == Claim::Open) else {
            return false;
        };
        entry.claim = Claim::None;
        let cancel = std::mem::replace(&mut entry.cancel, new_cancel_event());
        let removed = if entry.subscribers == 0 { maps.live.remove(&run_id) } else { None };
        drop(maps);
        drop(removed);
        release(cancel.take_callbacks());
        true
    }

    /// Whether this manager created `subscription`.
    pub fn has_made(&self, subscription: &Subscription) -> bool {
        subscription.is_of(&self.registry)
    }
}
