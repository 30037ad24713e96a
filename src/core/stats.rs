//! What a manager holds and has done, at one moment.

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
    /// Bytes of JSON in these events.
    pub bytes_published: u64,
    /// Events that readers were told they had missed.
    pub events_missed: u64,
}
