//! What the tests of the core share.

// Every test file uses its part of this.
#![allow(dead_code)]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod model;
pub mod sse;

use std::time::{Duration, Instant};

use genglossary_runs::core::log::LogLimits;
use genglossary_runs::core::retention::RetentionLimits;
use genglossary_runs::core::sync::share;
use genglossary_runs::core::{Event, Limits, NotReady, Payload, RunManager, Start, Subscription};
use proptest::test_runner::{Config as ProptestConfig, FileFailurePersistence};

/// How long anything may take on a loaded machine before it counts as hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// proptest's own configuration (`PROPTEST_CASES` is the number of cases), with failures kept beside the test file.
pub fn proptest_config() -> ProptestConfig {
    let failures = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { failure_persistence: Some(Box::new(failures)), ..ProptestConfig::default() }
}

/// From the first event still held.
pub const BEGINNING: Start = Start::After(None);

/// The core looks into no payload, so a word will do for one.
pub fn payload(text: &str) -> Payload {
    share(text.as_bytes())
}

/// Limits that no test reaches by chance.
pub fn wide() -> Limits {
    limits(1000, 1 << 20, 100, 1 << 20)
}

/// Limits of one run's events and bytes, and of the retained runs and their bytes; retained for an hour.
pub fn limits(events: usize, bytes: usize, runs: usize, retained_bytes: usize) -> Limits {
    Limits {
        log: LogLimits { events, bytes },
        retention: RetentionLimits { runs, bytes: retained_bytes, age: Duration::from_secs(3600) },
    }
}

/// A manager whose runs hold `events` events.
pub fn manager(events: usize) -> RunManager {
    RunManager::new(limits(events, 1 << 20, 100, 1 << 20))
}

/// Publish each word as an event.
pub fn publish(manager: &RunManager, run_id: i64, words: &[&str]) {
    for word in words {
        manager.publish(run_id, payload(word)).expect("somebody can read it");
    }
}

/// Make a reader of a run that may be unknown.
pub fn subscribe(manager: &RunManager, run_id: i64, after: Start) -> Subscription {
    manager.subscribe(run_id, after, false).expect("a run that need not exist")
}

/// An event in short: `3 word`, `end 4 word`, `own word`, `gap 1-2`.
pub fn short(event: &Event) -> String {
    let text = |json: &Payload| String::from_utf8_lossy(json).into_owned();
    match event {
        Event::Message(id, json) => format!("{} {}", id.seq, text(json)),
        Event::Terminal(id, json) => format!("end {} {}", id.seq, text(json)),
        Event::Own(json) => format!("own {}", text(json)),
        Event::Gap(gap) => format!("gap {}-{}", gap.from, gap.to),
    }
}

/// Everything there is to read now, in short.
pub fn read(reader: &Subscription) -> Vec<String> {
    std::iter::from_fn(|| reader.try_next().ok()).map(|event| short(&event)).collect()
}

/// What a reader that has nothing to read is to wait for.
pub fn pending(reader: &Subscription) -> u64 {
    match reader.try_next() {
        Err(NotReady::Pending(epoch)) => epoch,
        other => panic!("expected nothing yet, found {other:?}"),
    }
}

/// The next event, however long it takes.
pub fn next(reader: &Subscription) -> Result<Event, NotReady> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match reader.try_next() {
            Err(NotReady::Pending(epoch)) if Instant::now() < deadline => reader.wait(epoch, Some(deadline)),
            found => return found,
        }
    }
}
