//! The manager: the maps of runs, subscribers and cancel events, and the life of a run.
//!
//! A run has one entry from when somebody first subscribes to it, asks for its cancel event or opens it, until it is
//! finished. The entry is the run, its cancel event, the count of its subscribers and its claim; so none of them can
//! outlive the others.
//! Finishing takes the entry out and puts the run into retention, under one lock: who subscribes meanwhile gets the
//! terminal event from the log it has a cursor on, or from the retained one.

use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;

use super::cancel::CancelEvent;
use super::error::Error;
use super::event::{EventId, Payload, RunId};
use super::log::LogLimits;
use super::retention::{Retention, RetentionLimits};
use super::run::{Finish, Run, new_key};
use super::subscription::Subscription;
use super::sync::{Arc, AtomicU64, Mutex, Ordering};

/// How much a manager holds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of one run.
    pub log: LogLimits,
    /// Of finished runs.
    pub retention: RetentionLimits,
}

impl Default for Limits {
    /// 1,000 events and 8 MiB a run; 256 finished runs and 64 MiB for five minutes.
    fn default() -> Self {
        Self {
            log: LogLimits { events: 1000, bytes: 8 << 20 },
            retention: RetentionLimits { runs: 256, bytes: 64 << 20, age: Duration::from_secs(300) },
        }
    }
}

impl Limits {
    /// Refuse limits no manager can keep.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] names the first.
    pub fn check(&self) -> Result<(), Error> {
        let most = i32::MAX.unsigned_abs() as usize;
        if !(1..=most).contains(&self.log.events) {
            return Err(Error::Limit { name: "history", bounds: "between 1 and 2147483647 events" });
        }
        if self.log.bytes == 0 {
            return Err(Error::Limit { name: "history_bytes", bounds: "at least 1 byte" });
        }
        Ok(())
    }
}

/// What a manager holds at one moment, and what it has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs that are open.
    pub active_runs: usize,
    /// Entries of runs that have not been opened.
    pub subscribed_runs: usize,
    /// Subscriptions registered on all of these.
    pub subscribers: usize,
    /// Finished runs kept for late readers.
    pub retained_runs: usize,
    /// Events in the logs of all of these.
    pub events_held: usize,
    /// Bytes of JSON in these events.
    pub bytes_held: usize,
    /// Events published, terminal events among them.
    pub events_published: u64,
    /// Events that readers were told they had missed.
    pub events_missed: u64,
}

/// The map of runs and all it implies. Cheap to share.
pub struct RunManager {
    shared: Arc<Shared>,
}

/// What the manager and its subscriptions share.
pub struct Shared {
    limits: Limits,
    maps: Mutex<Maps>,
    published: AtomicU64,
    missed: AtomicU64,
}

/// Guarded by `Shared.maps`.
struct Maps {
    /// Runs that are yet to finish.
    live: FxHashMap<RunId, Entry>,
    retained: Retention,
    last_fence: u64,
}

/// A run that is yet to finish.
struct Entry {
    run: Arc<Run>,
    cancel: Arc<CancelEvent>,
    subscribers: usize,
    claim: Claim,
}

/// Who wants the run, apart from its subscribers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Nobody: the entry goes with its last subscriber.
    None,
    /// Somebody asked for its cancel event before it opens.
    Reserved,
    /// It is open.
    Open,
}

impl Maps {
    /// The entry of `run_id`, made if there is none.
    fn entry(&mut self, run_id: RunId, limits: LogLimits) -> &mut Entry {
        let last_fence = &mut self.last_fence;
        self.live.entry(run_id).or_insert_with(|| Entry::new(run_id, last_fence, limits))
    }
}

impl Entry {
    /// The entry of a new life of `run_id`.
    fn new(run_id: RunId, last_fence: &mut u64, limits: LogLimits) -> Self {
        Self {
            run: Arc::new(Run::new(run_id, next_fence(last_fence), limits)),
            cancel: new_cancel_event(),
            subscribers: 0,
            claim: Claim::None,
        }
    }
}

fn new_cancel_event() -> Arc<CancelEvent> {
    Arc::new(CancelEvent::new(new_key()))
}

/// Milliseconds since 1970, but never again or less than what it gave before.
fn next_fence(last: &mut u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    *last = u64::try_from(now).unwrap_or(u64::MAX).max(*last + 1);
    *last
}

impl Shared {
    /// Forget one subscriber of `run`, and its entry if nobody else wants it.
    pub(super) fn unregister(&self, run: &Arc<Run>) {
        let mut maps = self.maps.lock();
        let Some(entry) = maps.live.get_mut(&run.id).filter(|entry| Arc::ptr_eq(&entry.run, run)) else {
            return;
        };
        entry.subscribers -= 1;
        if entry.subscribers == 0 && entry.claim == Claim::None {
            maps.live.remove(&run.id);
            drop(maps);
            // Its readers are closed, but may be kept.
            run.clear();
        }
    }

    pub(super) fn count_missed(&self, missed: u64) {
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }
}

impl RunManager {
    /// A manager without runs; `limits` have been checked.
    pub fn new(limits: Limits) -> Self {
        let maps = Maps { live: FxHashMap::default(), retained: Retention::new(limits.retention), last_fence: 0 };
        Self {
            shared: Arc::new(Shared {
                limits,
                maps: Mutex::new(maps),
                published: AtomicU64::new(0),
                missed: AtomicU64::new(0),
            }),
        }
    }

    /// What it was made with.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Open a run and return its cancel event. Takes over an entry that is not open; forgets an earlier life.
    ///
    /// # Errors
    ///
    /// [`Error::RunActive`] if it is open.
    pub fn open(&self, run_id: RunId) -> Result<Arc<CancelEvent>, Error> {
        let mut maps = self.shared.maps.lock();
        let entry = maps.entry(run_id, self.shared.limits.log);
        if entry.claim == Claim::Open {
            return Err(Error::RunActive(run_id));
        }
        entry.claim = Claim::Open;
        let cancel = entry.cancel.clone();
        maps.retained.forget(run_id);
        let gone = maps.retained.expire(Instant::now());
        drop(maps);
        gone.iter().for_each(|run| run.shed());
        Ok(cancel)
    }

    /// Take back an `open`: the entry stays for its subscribers alone, and forgets a cancel. Whether the run was open.
    pub fn abandon(&self, run_id: RunId) -> bool {
        let mut maps = self.shared.maps.lock();
        let Some(entry) = maps.live.get_mut(&run_id).filter(|entry| entry.claim == Claim::Open) else {
            return false;
        };
        entry.claim = Claim::None;
        let cancel = std::mem::replace(&mut entry.cancel, new_cancel_event());
        let gone = if entry.subscribers == 0 { maps.live.remove(&run_id) } else { None };
        drop(maps);
        drop(gone);
        drop(cancel.take_callbacks());
        true
    }

    /// Whether `subscription` was made by this manager.
    pub fn has_made(&self, subscription: &Subscription) -> bool {
        subscription.is_of(&self.shared)
    }

    /// The cancel event of a run that is open or reserved; with `reserve`, of one that becomes so.
    pub fn cancel_event(&self, run_id: RunId, reserve: bool) -> Option<Arc<CancelEvent>> {
        let mut maps = self.shared.maps.lock();
        if reserve {
            let entry = maps.entry(run_id, self.shared.limits.log);
            if entry.claim == Claim::None {
                entry.claim = Claim::Reserved;
            }
        }
        let entry = maps.live.get(&run_id).filter(|entry| entry.claim != Claim::None)?;
        Some(entry.cancel.clone())
    }

    /// Add an event and wake the readers; `None` where no reader could ever get it.
    pub fn publish(&self, run_id: RunId, json: Payload) -> Option<EventId> {
        let maps = self.shared.maps.lock();
        let run = maps.live.get(&run_id)?.run.clone();
        drop(maps);
        let id = run.publish(json)?;
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// Set the run's cancel event; whether there was a run to cancel.
    pub fn cancel(&self, run_id: RunId) -> bool {
        let cancel = self.cancel_event(run_id, false);
        if let Some(cancel) = &cancel {
            cancel.set();
        }
        cancel.is_some()
    }

    /// End the run with its terminal event and clear its entry; whether this call ended it.
    ///
    /// A run without an entry, that is not retained either, is recorded as finished. With `unless_open` an open run
    /// is left alone.
    pub fn finish(&self, run_id: RunId, json: Payload, unless_open: bool) -> bool {
        let now = Instant::now();
        let mut maps = self.shared.maps.lock();
        let mut gone = maps.retained.expire(now);
        let refused = match maps.live.get(&run_id) {
            Some(entry) => unless_open && entry.claim == Claim::Open,
            None => maps.retained.get(run_id).is_some(),
        };
        if refused {
            drop(maps);
            gone.iter().for_each(|run| run.shed());
            return false;
        }
        let entry = maps.live.remove(&run_id);
        let Entry { run, cancel, .. } =
            entry.unwrap_or_else(|| Entry::new(run_id, &mut maps.last_fence, self.shared.limits.log));
        maps.retained.forget(run_id);
        let Finish { wakeup, bytes, chunk } = run.finish(json);
        gone.extend(maps.retained.insert(run.clone(), bytes, now));
        drop(maps);
        drop(chunk);
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        run.wake(wakeup);
        gone.iter().for_each(|run| run.shed());
        drop(cancel.take_callbacks());
        true
    }

    /// Make a reader. `after` as [`Start`] says.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRun`] if the run `must_exist` and does not.
    pub fn subscribe(&self, run_id: RunId, after: Start, must_exist: bool) -> Result<Subscription, Error> {
        let mut maps = self.shared.maps.lock();
        let mut gone = Vec::new();
        let found = match maps.live.get_mut(&run_id) {
            Some(entry) => {
                entry.subscribers += 1;
                Some(entry.run.clone())
            }
            None => {
                gone = maps.retained.expire(Instant::now());
                maps.retained.get(run_id).cloned()
            }
        };
        let run = match found {
            Some(run) => Ok(run),
            None if must_exist => Err(Error::UnknownRun(run_id)),
            None => {
                let entry = maps.entry(run_id, self.shared.limits.log);
                entry.subscribers += 1;
                Ok(entry.run.clone())
            }
        };
        // Under the maps' lock, so that a run that finishes meanwhile has not been let go by retention.
        let next = run.as_ref().map_or(1, |run| {
            let state = run.lock();
            match after {
                Start::Newest => state.log.newest(),
                Start::After(id) => state.log.after(id, run.fence),
            }
        });
        drop(maps);
        gone.iter().for_each(|run| run.shed());
        Ok(Subscription::new(run?, self.shared.clone(), next))
    }

    /// The terminal event of a finished run, while it is retained.
    pub fn terminal(&self, run_id: RunId) -> Option<Payload> {
        self.expire();
        let run = self.shared.maps.lock().retained.get(run_id).cloned()?;
        run.lock().log.terminal().cloned()
    }

    /// Whether the run is open.
    pub fn is_open(&self, run_id: RunId) -> bool {
        self.shared.maps.lock().live.get(&run_id).is_some_and(|entry| entry.claim == Claim::Open)
    }

    /// The runs that are open or reserved, in rising order.
    pub fn claimed_runs(&self) -> Vec<RunId> {
        self.live_runs(|entry| entry.claim != Claim::None)
    }

    /// The runs, yet to finish, that have a subscriber, in rising order.
    pub fn subscribed_runs(&self) -> Vec<RunId> {
        self.live_runs(|entry| entry.subscribers > 0)
    }

    /// The finished runs that are kept, oldest first.
    pub fn retained_runs(&self) -> Vec<RunId> {
        self.expire();
        self.shared.maps.lock().retained.iter().map(|run| run.id).collect()
    }

    /// What it holds and has done.
    pub fn stats(&self) -> Stats {
        self.expire();
        let mut stats = Stats {
            events_published: self.shared.published.load(Ordering::Relaxed),
            events_missed: self.shared.missed.load(Ordering::Relaxed),
            ..Stats::default()
        };
        let maps = self.shared.maps.lock();
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
        let maps = self.shared.maps.lock();
        let mut ids: Vec<RunId> = maps.live.iter().filter(|(_, entry)| wanted(entry)).map(|(id, _)| *id).collect();
        drop(maps);
        ids.sort_unstable();
        ids
    }

    fn expire(&self) {
        let gone = self.shared.maps.lock().retained.expire(Instant::now());
        gone.iter().for_each(|run| run.shed());
    }
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At events that are yet to come, or at the terminal event of a finished run.
    Newest,
    /// Behind this event of this life of the run; at the beginning for anything else.
    After(Option<EventId>),
}

impl Start {
    /// What a `Last-Event-ID`, or a wish like `"0"`, means.
    pub fn parse(after: Option<&str>) -> Self {
        after.map_or(Self::Newest, |text| Self::After(text.parse().ok()))
    }
}
