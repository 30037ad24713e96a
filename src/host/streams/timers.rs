//! When to check which connection again.
//!
//! Each connection has one current alarm. It is not moved when its deadline becomes later, as with every event sent; an
//! alarm that goes off too early is set again. So a delivered event costs no timer, and a connection one per heartbeat.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Alarms, the earliest first. Each costs the logarithm of their number.
#[derive(Default)]
pub struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// The alarms of these connections.
    pub fn of(alarms: impl Iterator<Item = (Instant, usize)>) -> Self {
        Self(alarms.map(Reverse).collect())
    }

    /// The number of alarms, stale ones included.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Set an alarm for a connection.
    pub fn set(&mut self, at: Instant, id: usize) {
        self.0.push(Reverse((at, id)));
    }

    /// When the next alarm goes off.
    pub fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Take an alarm that has gone off at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, usize)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse(alarm)| alarm)
    }
}
