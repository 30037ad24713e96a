//! Finished runs kept for late readers, bounded by count, bytes and age.
//!
//! Readers attached when a run finishes may still be reading after it is evicted. They have as long as retention keeps
//! a run, but at most [`LINGER`]; then the log is evicted down to its terminal event, even if readers remain.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

use super::id::{RunId, RunIdRef};
use super::limits::RetentionLimits;
use super::run::Run;
use super::sync::Arc;

/// How long readers attached to a run that is not retained may still read after it has finished, unless the retention
/// age is shorter.
pub const LINGER: Duration = Duration::from_secs(10);

/// The finished runs that are kept. Evicted runs are returned to the caller, which evicts their logs when no lock is
/// held.
pub struct Retention {
    limits: RetentionLimits,
    /// Oldest first; the same runs as in `by_id`.
    order: VecDeque<Finished>,
    by_id: HashMap<RunId, Arc<Run>, FxBuildHasher>,
    bytes: usize,
    /// Evicted while still referenced; their logs are evicted later.
    lingering: Vec<Finished>,
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
    /// Retention without runs.
    pub fn new(limits: RetentionLimits) -> Self {
        let by_id = HashMap::with_hasher(FxBuildHasher);
        Self { limits, order: VecDeque::new(), by_id, bytes: 0, lingering: Vec::new() }
    }

    /// Keep a run that has just finished, whose log holds `bytes`. An earlier life of its id must have been removed.
    /// Returns the runs whose logs to evict.
    pub fn insert(&mut self, run: Arc<Run>, bytes: usize, now: Instant) -> Vec<Arc<Run>> {
        self.bytes += bytes;
        self.by_id.insert(run.id.clone(), run.clone());
        self.order.push_back(Finished { run, at: now, bytes });
        self.expire(now)
    }

    /// Evict the runs over a limit at `now`. Returns the runs whose logs to evict.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<Run>> {
        while let Some(oldest) = self.order.front() {
            let old = oldest.age(now) >= self.limits.age;
            if !old && self.order.len() <= self.limits.runs && self.bytes <= self.limits.bytes {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.bytes -= oldest.bytes;
                self.by_id.remove(&oldest.run.id.as_ref());
                self.lingering.push(oldest);
            }
        }
        // Age 0 keeps nothing for late readers; attached readers still get LINGER to read the terminal event.
        let linger = if self.limits.age.is_zero() { LINGER } else { self.limits.age.min(LINGER) };
        let mut evicted = Vec::new();
        self.lingering.retain(|finished| {
            let lingers = finished.age(now) < linger && Arc::strong_count(&finished.run) > 1;
            if !lingers {
                evicted.push(finished.run.clone());
            }
            lingers
        });
        evicted
    }

    /// Remove a run, if it is kept.
    pub fn remove(&mut self, id: RunIdRef<'_>) {
        if self.by_id.remove(&id).is_some()
            && let Some(index) = self.order.iter().position(|finished| finished.run.id.as_ref() == id)
            && let Some(finished) = self.order.remove(index)
        {
            self.bytes -= finished.bytes;
            self.lingering.push(finished);
        }
    }

    /// A run that is kept.
    pub fn get(&self, id: RunIdRef<'_>) -> Option<&Arc<Run>> {
        self.by_id.get(&id)
    }

    /// The runs that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.order.iter().map(|finished| &finished.run)
    }
}
