//! What is kept of finished runs for late readers: bounded by count, bytes and age.
//!
//! Readers that were there before a run's end may still be reading what is let go for want of room. They have as long as
//! retention keeps a run, [`LINGER`] at most; then the log is shed down to its terminal event, however long somebody keeps
//! a reader of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::event::RunId;
use super::run::Run;
use super::sync::Arc;

/// How long the readers of a run that is not retained may read on after its end, if retention is not shorter.
pub const LINGER: Duration = Duration::from_secs(10);

/// How much is kept of finished runs, and how long.
#[derive(Debug, Clone, Copy)]
pub struct RetentionLimits {
    /// Runs.
    pub runs: usize,
    /// Bytes of JSON in all of them.
    pub bytes: usize,
    /// Time since a run's end.
    pub age: Duration,
}

/// The finished runs that are kept. What it lets go it hands to the caller, to be shed when no lock is held.
pub struct Retention {
    limits: RetentionLimits,
    /// Oldest first; the same runs as in `by_id`.
    order: VecDeque<Finished>,
    by_id: FxHashMap<RunId, Arc<Run>>,
    bytes: usize,
    /// Let go while somebody else held it, and to be shed after its time.
    leaving: Vec<Finished>,
}

struct Finished {
    run: Arc<Run>,
    at: Instant,
    bytes: usize,
}

impl Finished {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.at)
    }
}

impl Retention {
    /// Nothing is kept yet.
    pub fn new(limits: RetentionLimits) -> Self {
        Self { limits, order: VecDeque::new(), by_id: FxHashMap::default(), bytes: 0, leaving: Vec::new() }
    }

    /// Keep a run that has just finished, whose log holds `bytes`; an earlier life of its id has been forgotten.
    pub fn insert(&mut self, run: Arc<Run>, bytes: usize, now: Instant) -> Vec<Arc<Run>> {
        self.bytes += bytes;
        self.by_id.insert(run.id, run.clone());
        self.order.push_back(Finished { run, at: now, bytes });
        self.expire(now)
    }

    /// Let go what is over the bounds at `now`. Returns the runs to be shed.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<Run>> {
        while let Some(oldest) = self.order.front() {
            let old = oldest.age(now) >= self.limits.age;
            if !old && self.order.len() <= self.limits.runs && self.bytes <= self.limits.bytes {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.bytes -= oldest.bytes;
                self.by_id.remove(&oldest.run.id);
                self.leaving.push(oldest);
            }
        }
        // A retention of no time is said of late readers; those that were there would otherwise lose every run's end.
        let linger = if self.limits.age.is_zero() { LINGER } else { self.limits.age.min(LINGER) };
        let mut gone = Vec::new();
        self.leaving.retain(|finished| {
            let lingers = finished.age(now) < linger && Arc::strong_count(&finished.run) > 1;
            if !lingers {
                gone.push(finished.run.clone());
            }
            lingers
        });
        gone
    }

    /// Let go one run, if it is kept.
    pub fn forget(&mut self, id: RunId) {
        if self.by_id.remove(&id).is_some()
            && let Some(index) = self.order.iter().position(|finished| finished.run.id == id)
            && let Some(finished) = self.order.remove(index)
        {
            self.bytes -= finished.bytes;
            self.leaving.push(finished);
        }
    }

    /// A run that is kept.
    pub fn get(&self, id: RunId) -> Option<&Arc<Run>> {
        self.by_id.get(&id)
    }

    /// The runs that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.order.iter().map(|finished| &finished.run)
    }
}
