//! Every interleaving of a few steps of the core, as loom finds them (`make loom`).
//!
//! Loom counts payloads, runs and cancel events: one that is never freed fails its model, and so does a thread that
//! sleeps for ever. Models are kept to two or three threads and a handful of steps each.
//!
//! Loom explores everything that is guarded by a lock. Of the loads of an atomic it remembers only the last, so a thread
//! that only looks at one must be the second to run (`cancelling.rs`).

#![cfg(loom)]
#![allow(clippy::unwrap_used)]

mod cancelling;
mod finishing;
mod leaving;
mod lives;
mod mirrors;
mod reading;
mod retaining;
mod waiting;

use std::sync::Arc as StdArc;
use std::time::Duration;

use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{
    Callback, Event, Key, Limits, NotReady, Payload, Port, RunManager, Seq, Start, Stats, Subscription,
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
    Payload::new(None, b"{}")
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

/// Read to the end: every seq from `first` on comes once, the terminal event last. Returns the last seq.
fn read_to_the_end(reader: &Subscription, first: u64) -> u64 {
    let (mut expected, mut ended) = (Seq(first), false);
    while let Some(event) = next(reader) {
        assert!(!ended);
        let (from, to) = match &event {
            Event::Message(id, _) | Event::Terminal(id, _) => (id.seq, id.seq),
            Event::Gap(gap) => (gap.from, gap.to),
            Event::Private(_) => continue,
        };
        assert_eq!(from, expected);
        expected = to.next();
        ended = matches!(event, Event::Terminal(..));
    }
    assert!(ended);
    expected.previous().0
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

/// An event loop: asleep until it is woken.
struct Loop {
    port: StdArc<Port>,
    alarm: Arc<Notify>,
}

impl Loop {
    fn new() -> Self {
        let alarm = Arc::new(Notify::new());
        let woken = alarm.clone();
        Self { port: StdArc::new(Port::new(Box::new(move || woken.notify()))), alarm }
    }

    /// The next event, as a loop waits for it: armed, asleep, awake, looking.
    fn next(&self, reader: &Subscription) -> Option<Event> {
        loop {
            let epoch = match reader.try_next() {
                Ok(event) => return Some(event),
                Err(NotReady::Ended) => return None,
                Err(NotReady::Pending(epoch)) => epoch,
            };
            if let Some(_waiting) = Subscription::arm(reader, epoch, &self.port) {
                self.sleep_until_ready(reader.key());
            }
        }
    }

    fn sleep_until_ready(&self, key: Key) {
        // loom may wake it for nothing.
        while self.port.take_ready() != [key] {
            self.alarm.wait();
        }
    }
}

/// Explore every interleaving with up to three preemptions, or `LOOM_MAX_PREEMPTIONS`: for a model too large for all.
fn bounded_model(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}
