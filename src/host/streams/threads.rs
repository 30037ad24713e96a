//! The threads that run, and which of them takes the next stream.

use std::io;
use std::sync::Arc;
use std::thread;

use super::thread::Hub;

/// How many streams a thread has before another is started. Writing to so many takes it about 15 ms.
const FULL: usize = 2048;

/// The threads that run, the oldest first.
pub struct Threads {
    running: Vec<Arc<Hub>>,
    /// How many may run: as many as there are cores.
    limit: usize,
}

impl Threads {
    pub const fn new() -> Self {
        Self { running: Vec::new(), limit: 1 }
    }

    /// The oldest thread that is not full, or a new one, or, at the limit, the one with the fewest streams.
    ///
    /// # Errors
    ///
    /// None runs, and there is no memory or descriptor left to start one.
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

    /// Those that run.
    pub fn all(&self) -> Vec<Arc<Hub>> {
        self.running.clone()
    }

    /// Forget a thread that ends.
    pub fn remove(&mut self, hub: &Arc<Hub>) {
        self.running.retain(|running| !Arc::ptr_eq(running, hub));
    }

    /// Forget all of them.
    pub fn take(&mut self) -> Vec<Arc<Hub>> {
        std::mem::take(&mut self.running)
    }

    fn start(&mut self) -> io::Result<Arc<Hub>> {
        let hub = Hub::start()?;
        self.running.push(hub.clone());
        Ok(hub)
    }
}
