//! Shared by the tests of the core.

// Each test file uses its part of this.
#![allow(dead_code)]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod faulty;
pub mod memory;
pub mod model;
pub mod sse;
pub mod stores;
pub mod worker;

use std::time::{Duration, Instant};

use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::{
    Epoch, Event, EventName, Limits, NotReady, Payload, RunId, RunIdRef, RunManager, Start, Subscription,
};
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

/// The core does not look into a payload, so a word will do for one.
pub fn payload(text: &str) -> Payload {
    Payload::new(None, text.as_bytes())
}

/// The payload of an event with a name.
pub fn named(name: &str, text: &str) -> Payload {
    Payload::new(Some(event_name(name)), text.as_bytes())
}

pub fn event_name(name: &str) -> EventName<'_> {
    EventName::try_from(name).expect("a valid name")
}

/// The ids of runs that are named by integers.
pub fn ints<const N: usize>(numbers: [i64; N]) -> [RunId; N] {
    numbers.map(RunId::Int)
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
pub fn publish<'a>(manager: &RunManager, run_id: impl Into<RunIdRef<'a>>, words: &[&str]) {
    let run_id = run_id.into();
    for word in words {
        manager.publish(run_id, payload(word)).expect("somebody can read it");
    }
}

/// Make a reader of a run that may be unknown.
pub fn subscribe<'a>(manager: &RunManager, run_id: impl Into<RunIdRef<'a>>, start: Start) -> Subscription {
    manager.subscribe(run_id.into(), start, false).expect("a run that need not exist")
}

/// An event in short: `3 word`, `3 name: word`, `end 4 word`, `private word`, `gap 1-2`.
pub fn short(event: &Event) -> String {
    let text = |payload: &Payload| {
        let name = payload.name().map(|name| format!("{name}: ")).unwrap_or_default();
        name + &String::from_utf8_lossy(payload)
    };
    match event {
        Event::Message(id, payload) => format!("{} {}", id.seq, text(payload)),
        Event::Terminal(id, payload) => format!("end {} {}", id.seq, text(payload)),
        Event::Private(payload) => format!("private {}", text(payload)),
        Event::Gap(gap) => format!("gap {}-{}", gap.from, gap.to),
    }
}

/// Everything there is to read now, in short.
pub fn read(reader: &Subscription) -> Vec<String> {
    std::iter::from_fn(|| reader.try_next().ok()).map(|event| short(&event)).collect()
}

/// The epoch of a reader that has nothing to read.
pub fn pending(reader: &Subscription) -> Epoch {
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

/// Wait for `condition`; panics once that takes too long.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
