//! Every interleaving of a few steps of the core, as loom finds them (`make loom`).
//!
//! Payloads, runs and cancel events are counted by loom: one that is never freed fails its model, and so does a thread
//! that sleeps for ever. Models are kept to two or three threads and a handful of steps each.
//!
//! What is guarded by a lock is explored without exception. Of the loads of an atomic loom remembers the last alone, so a
//! thread that only looks at one must be the second to run (`cancelling.rs`).

#![cfg(loom)]
#![allow(clippy::unwrap_used)]

mod cancelling;
mod finishing;
mod leaving;
mod lives;
mod reading;
mod retaining;
mod waiting;

use std::sync::Arc as StdArc;
use std::time::Duration;

use genglossary_runs::core::log::LogLimits;
use genglossary_runs::core::retention::RetentionLimits;
use genglossary_runs::core::sync::{Arc, share};
use genglossary_runs::core::{
    Callback, Event, Limits, NotReady, Payload, Port, RunManager, Start, Stats, Subscription,
};
use loom::model::Builder;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};

const BEGINNING: Start = Start::After(None);

/// A manager whose runs hold `events` events, and which retains `runs` runs.
fn manager(events: usize, runs: usize) -> Arc<RunManager> {
    let retention = RetentionLimits { runs, bytes: 1 << 20, age: Duration::from_secs(3600) };
    Arc::new(RunManager::new(Limits { log: LogLimits { events, bytes: 1 << 20 }, retention }))
}

fn payload() -> Payload {
    share(b"{}")
}

/// The next event, waited for without end.
fn next(reader: &Subscription) -> Option<Event> {
    loop {
        match reader.try_next() {
            Ok(event) => return Some(event),
            Err(NotReady::Ended) => return None,
            Err(NotReady::Pending(epoch)) => reader.wait(epoch, None),
        }
    }
}

/// Read to the end: every seq from `first` on is told of once, the terminal event last. The number of the last seq.
fn read_to_the_end(reader: &Subscription, first: u64) -> u64 {
    let (mut expected, mut ended) = (first, false);
    while let Some(event) = next(reader) {
        assert!(!ended);
        let (from, to) = match &event {
            Event::Message(id, _) | Event::Terminal(id, _) => (id.seq, id.seq),
            Event::Gap(gap) => (gap.from, gap.to),
            Event::Own(_) => continue,
        };
        assert_eq!(from, expected);
        expected = to + 1;
        ended = matches!(event, Event::Terminal(..));
    }
    assert!(ended);
    expected - 1
}

/// No run is open, and nobody subscribed to any.
fn assert_nothing_is_live(manager: &RunManager) {
    let Stats { active_runs, subscribed_runs, subscribers, .. } = manager.stats();
    assert_eq!((active_runs, subscribed_runs, subscribers), (0, 0, 0));
}

/// Calls that are counted.
struct Counting(Arc<AtomicUsize>);

impl Callback for Counting {
    fn call(self: Box<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An event loop: asleep until it is rung.
struct Loop {
    port: StdArc<Port>,
    bell: Arc<Notify>,
}

impl Loop {
    fn new() -> Self {
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        Self { port: StdArc::new(Port::new(Box::new(move || ring.notify()))), bell }
    }

    /// The next event, as a loop waits for it: armed, asleep, awake, looking.
    fn next(&self, reader: &Subscription) -> Option<Event> {
        loop {
            let epoch = match reader.try_next() {
                Ok(event) => return Some(event),
                Err(NotReady::Ended) => return None,
                Err(NotReady::Pending(epoch)) => epoch,
            };
            if reader.arm(epoch, &self.port) {
                self.sleep_until_ready(reader.key());
                reader.end_wait();
            }
        }
    }

    fn sleep_until_ready(&self, key: u64) {
        // loom's bell may wake for nothing.
        while self.port.take_ready() != [key] {
            self.bell.wait();
        }
    }
}

/// Explore every interleaving with up to three preemptions, or `LOOM_MAX_PREEMPTIONS`: for a model too large for all.
fn bounded_model(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}
