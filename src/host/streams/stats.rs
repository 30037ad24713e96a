//! What the streams of this process have come to.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub static OPEN: AtomicUsize = AtomicUsize::new(0);
pub static STALLED: AtomicUsize = AtomicUsize::new(0);
pub static TAKEN: AtomicU64 = AtomicU64::new(0);
pub static STUCK: AtomicU64 = AtomicU64::new(0);

/// The streams that were handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Those that have not ended.
    pub open: usize,
    /// Those of them whose client has yet to take something.
    pub stalled: usize,
    /// All that there have been.
    pub total: u64,
    /// Those whose client was dropped because it took nothing in time.
    pub dropped: u64,
}

impl Stats {
    /// As they are now.
    pub fn now() -> Self {
        Self {
            open: OPEN.load(Ordering::Relaxed),
            stalled: STALLED.load(Ordering::Relaxed),
            total: TAKEN.load(Ordering::Relaxed),
            dropped: STUCK.load(Ordering::Relaxed),
        }
    }
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
