//! A snapshot of a manager.

/// A snapshot of what a manager holds, and of what it has done since it was created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open runs.
    pub active_runs: usize,
    /// Runs that are not open yet but have subscribers or a cancel event.
    pub subscribed_runs: usize,
    /// Subscriptions to all runs that have not finished.
    pub subscribers: usize,
    /// Finished runs kept for late readers.
    pub retained_runs: usize,
    /// Events in the logs of all these runs, retained ones included.
    pub events_held: usize,
    /// Bytes of JSON in these events.
    pub bytes_held: usize,
    /// Events published, including terminal events.
    pub events_published: u64,
    /// Bytes of JSON in these events.
    pub bytes_published: u64,
    /// Events that gaps have reported as missed.
    pub events_missed: u64,
}
