//! The running threads, and which of them takes the next stream.

use std::io;
use std::sync::Arc;
use std::thread;

use super::thread::Hub;

/// How many streams a thread has before another is started. Writing to this many takes it about 15 ms.
const FULL: usize = 2048;

/// The running threads, oldest first.
pub struct Threads {
    running: Vec<Arc<Hub>>,
    /// Maximum number of threads: one per core.
    limit: usize,
}

impl Threads {
    pub const fn new() -> Self {
        Self { running: Vec::new(), limit: 1 }
    }

    /// The oldest thread that is not full, or a new one or, at the limit, the one with the fewest streams.
    ///
    /// # Errors
    ///
    /// No thread is running, and there is no memory or descriptor left to start one.
    pub fn choose(&mut self) -> io::Result<Arc<Hub>> {
        if let Some(hub) = self.running.iter().find(|hub| hub.load() < FULL) {
            return Ok(hub.clone());
        }
        if self.running.is_empty() {
            self.limit = thread::available_parallelism().map_or(1, usize::from);
        }
        let least = self.running.iter().min_by_key(|hub| hub.load());
        let Some(least) = least else { return self.start() };
        let least = least.clone();
        if self.running.len() < self.limit { self.start().or(Ok(least)) } else { Ok(least) }
    }

    /// All running threads.
    pub fn all(&self) -> Vec<Arc<Hub>> {
        self.running.clone()
    }

    /// Remove a thread that is ending.
    pub fn remove(&mut self, hub: &Arc<Hub>) {
        self.running.retain(|running| !Arc::ptr_eq(running, hub));
    }

    /// Remove and return all threads.
    pub fn take(&mut self) -> Vec<Arc<Hub>> {
        std::mem::take(&mut self.running)
    }

    fn start(&mut self) -> io::Result<Arc<Hub>> {
        let hub = Hub::start()?;
        self.running.push(hub.clone());
        Ok(hub)
    }
}
