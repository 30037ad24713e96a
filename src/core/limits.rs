//! How much a manager may hold, and the one place that checks limits.

use std::time::Duration;

/// Limits of one run's log. The newest event is kept even if it is larger.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes of JSON, at least 1.
    pub bytes: usize,
}

/// Limits of what is kept of finished runs.
#[derive(Debug, Clone, Copy)]
pub struct RetentionLimits {
    /// Number of runs.
    pub runs: usize,
    /// Bytes of JSON in all of them.
    pub bytes: usize,
    /// Time since a run finished.
    pub age: Duration,
}

/// How much a manager may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For each run.
    pub log: LogLimits,
    /// For finished runs.
    pub retention: RetentionLimits,
}

impl Default for Limits {
    /// 1,000 events and 8 MiB per run; 256 finished runs and 64 MiB for five minutes.
    fn default() -> Self {
        Self {
            log: LogLimits { events: 1000, bytes: 8 << 20 },
            retention: RetentionLimits { runs: 256, bytes: 64 << 20, age: Duration::from_secs(300) },
        }
    }
}

/// Limits as passed by a caller, unchecked.
#[derive(Debug, Clone, Copy)]
pub struct Requested {
    /// Events in one run's log.
    pub history: i64,
    /// Bytes of JSON in one run's log.
    pub history_bytes: i64,
    /// Finished runs.
    pub retained_runs: i64,
    /// Bytes of JSON in finished runs.
    pub retained_bytes: i64,
    /// Seconds that a finished run is kept.
    pub retention: f64,
}

/// A limit is out of bounds.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} must be between {least} and {most}")]
pub struct OutOfBounds {
    /// The name of the limit.
    pub name: &'static str,
    /// The minimum.
    pub least: i64,
    /// The maximum, with its unit.
    pub most: &'static str,
}

impl TryFrom<Requested> for Limits {
    type Error = OutOfBounds;

    fn try_from(requested: Requested) -> Result<Self, OutOfBounds> {
        let Requested { history, history_bytes, retained_runs, retained_bytes, retention } = requested;
        let size = |name, value, least, greatest: i64, most| {
            let within = Some(value).filter(|value| (least..=greatest).contains(value));
            within.and_then(|value| usize::try_from(value).ok()).ok_or(OutOfBounds { name, least, most })
        };
        // Every clock can add 1e9 seconds, about 30 years.
        let age = Some(retention).filter(|seconds| (0.0..=1e9).contains(seconds)).map(Duration::from_secs_f64);
        Ok(Self {
            log: LogLimits {
                events: size("history", history, 1, i32::MAX.into(), "2147483647 events")?,
                bytes: size("history_bytes", history_bytes, 1, i64::MAX, "2**63 - 1 bytes")?,
            },
            retention: RetentionLimits {
                runs: size("retained_runs", retained_runs, 0, i64::MAX, "2**63 - 1 runs")?,
                bytes: size("retained_bytes", retained_bytes, 0, i64::MAX, "2**63 - 1 bytes")?,
                age: age.ok_or(OutOfBounds { name: "retention", least: 0, most: "1e9 seconds" })?,
            },
        })
    }
}
