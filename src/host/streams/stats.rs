//! Counts of this process's streams.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub static OPEN: AtomicUsize = AtomicUsize::new(0);
pub static STALLED: AtomicUsize = AtomicUsize::new(0);
pub static TAKEN: AtomicU64 = AtomicU64::new(0);
pub static STUCK: AtomicU64 = AtomicU64::new(0);

/// Counts of the streams that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Streams that have not ended.
    pub open: usize,
    /// Open streams whose client has not accepted all of its data.
    pub stalled: usize,
    /// All streams so far.
    pub total: u64,
    /// Streams whose client was dropped because it accepted nothing in time.
    pub dropped: u64,
}

impl Stats {
    /// The current counts.
    pub fn now() -> Self {
        Self {
            open: OPEN.load(Ordering::Relaxed),
            stalled: STALLED.load(Ordering::Relaxed),
            total: TAKEN.load(Ordering::Relaxed),
            dropped: STUCK.load(Ordering::Relaxed),
        }
    }
}

/// Start to count anew, in a forked child: what the parent has counted is not its own.
pub fn reset() {
    TAKEN.store(0, Ordering::Relaxed);
    STUCK.store(0, Ordering::Relaxed);
}

/// Counts one thing until dropped.
pub struct Gauge(&'static AtomicUsize);

impl Gauge {
    pub fn new(count: &'static AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
