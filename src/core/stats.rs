//! What a manager holds and has done: counters, and one snapshot.

use super::sync::{AtomicU64, Ordering};

/// What a manager has counted since it was made.
#[derive(Debug)]
pub struct Counters {
    published: AtomicU64,
    missed: AtomicU64,
}

/// What a manager holds at one moment, and what it has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs that are open.
    pub active_runs: usize,
    /// Entries of runs that have not been opened.
    pub subscribed_runs: usize,
    /// Subscriptions to all of these.
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

impl Counters {
    /// Nothing has been counted.
    pub fn new() -> Self {
        Self { published: AtomicU64::new(0), missed: AtomicU64::new(0) }
    }

    /// Count one event that was published.
    pub fn count_published(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// Count events that a reader was told it had missed.
    pub fn count_missed(&self, events: u64) {
        self.missed.fetch_add(events, Ordering::Relaxed);
    }

    /// Statistics with these counts, of a manager that holds nothing.
    pub fn snapshot(&self) -> Stats {
        Stats {
            events_published: self.published.load(Ordering::Relaxed),
            events_missed: self.missed.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
