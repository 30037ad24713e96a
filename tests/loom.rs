//! Every interleaving of a few steps of the core, as loom finds them (`make loom`).
//!
//! Payloads, runs and cancel events are counted by loom: one that is never freed fails its model, and so does a thread
//! that sleeps for ever. Models are kept to two or three threads and a handful of steps each.

#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use std::sync::Arc as StdArc;
use std::time::Duration;

use genglossary_runs::core::log::LogLimits;
use genglossary_runs::core::retention::RetentionLimits;
use genglossary_runs::core::sync::{Arc, share};
use genglossary_runs::core::{
    Callback, CancelEvent, Event, EventId, Limits, NotReady, Payload, Port, RunManager, Start, Stats, Subscription,
};
use loom::model::Builder;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

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

// A log and its readers.

#[test]
fn append_against_read() {
    loom::model(|| {
        let manager = manager(1, 0);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || {
            assert_eq!(publisher.publish(1, payload()).unwrap().seq, 1);
            assert_eq!(publisher.publish(1, payload()).unwrap().seq, 2);
            assert!(publisher.finish(1, payload(), false));
        });
        assert_eq!(read_to_the_end(&reader, 1), 3);
        publishing.join().unwrap();
    });
}

#[test]
fn append_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || publisher.publish(1, payload()).unwrap().seq);
        let here = manager.publish(1, payload()).unwrap().seq;
        let there = publishing.join().unwrap();
        assert_eq!(here + there, 3);
        manager.finish(1, payload(), false);
        assert_eq!(read_to_the_end(&reader, 1), 3);
    });
}

#[test]
fn two_threads_share_a_reader() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let other = reader.clone();
        let reading = thread::spawn(move || next(&other));
        let publisher = manager.clone();
        let publishing = thread::spawn(move || assert!(publisher.finish(1, payload(), false)));
        let got = [next(&reader), reading.join().unwrap()];
        assert_eq!(got.iter().flatten().count(), 1);
        publishing.join().unwrap();
    });
}

#[test]
fn readers_share_a_chunk_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        let readers = [(); 2].map(|()| manager.subscribe(1, Start::Newest, false).unwrap());
        manager.publish(1, payload()).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || assert!(publisher.finish(1, payload(), false)));
        let read = |reader: &Subscription| {
            let mut frames = Vec::new();
            loop {
                match reader.try_next_chunk(1000) {
                    Ok(chunk) => frames.extend_from_slice(&chunk.frames),
                    Err(NotReady::Ended) => return frames,
                    Err(NotReady::Pending(epoch)) => reader.wait(epoch, None),
                }
            }
        };
        let [one, two] = readers;
        let reading = thread::spawn(move || read(&one));
        let frames = read(&two);
        assert_eq!(reading.join().unwrap(), frames);
        assert_eq!(frames.iter().filter(|byte| **byte == b'{').count(), 2);
        publishing.join().unwrap();
    });
}

// Waiting.

#[test]
fn a_loop_parks_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || {
            publisher.publish(1, payload()).unwrap();
            assert!(publisher.finish(1, payload(), false));
        });
        let event_loop = Loop::new();
        assert!(matches!(event_loop.next(&reader), Some(Event::Message(EventId { seq: 1, .. }, _))));
        assert!(matches!(event_loop.next(&reader), Some(Event::Terminal(EventId { seq: 2, .. }, _))));
        assert!(event_loop.next(&reader).is_none());
        publishing.join().unwrap();
    });
}

#[test]
fn a_loop_with_two_runs_parks_against_both() {
    loom::model(|| {
        let manager = manager(10, 0);
        let readers = [1, 2].map(|run| manager.subscribe(run, Start::Newest, false).unwrap());
        let event_loop = Loop::new();
        for reader in &readers {
            let Err(NotReady::Pending(epoch)) = reader.try_next() else { unreachable!() };
            assert!(reader.arm(epoch, &event_loop.port));
        }
        let publishing = [1, 2].map(|run| {
            let publisher = manager.clone();
            thread::spawn(move || assert!(publisher.publish(run, payload()).is_some()))
        });
        let mut ready = Vec::new();
        while ready.len() < 2 {
            event_loop.bell.wait();
            ready.extend(event_loop.port.take_ready());
        }
        ready.sort_unstable();
        assert_eq!(ready, readers.each_ref().map(Subscription::key));
        publishing.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_thread_parks_against_put() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let other = reader.clone();
        let putting = thread::spawn(move || other.put(payload(), 1).unwrap());
        assert!(matches!(next(&reader), Some(Event::Own(_))));
        putting.join().unwrap();
    });
}

#[test]
fn a_loop_parks_against_put() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let other = reader.clone();
        let putting = thread::spawn(move || other.put(payload(), 1).unwrap());
        assert!(matches!(Loop::new().next(&reader), Some(Event::Own(_))));
        putting.join().unwrap();
    });
}

#[test]
fn a_thread_parks_against_close() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(next(&reader).is_none());
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn a_loop_parks_against_close() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(Loop::new().next(&reader).is_none());
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

// The end of a run.

#[test]
fn subscribe_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(1, payload(), false)));
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 1);
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn subscribe_from_the_beginning_against_publish_and_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || {
            owner.publish(1, payload()).unwrap();
            assert!(owner.finish(1, payload(), false));
        });
        let reader = manager.subscribe(1, BEGINNING, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 2);
        finishing.join().unwrap();
    });
}

/// Without retention a reader that comes too late waits for the next life of the run.
#[test]
fn subscribe_against_finish_of_a_run_that_is_not_retained() {
    loom::model(|| {
        let manager = manager(10, 0);
        manager.open(1).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(1, payload(), false)));
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        finishing.join().unwrap();
        match reader.try_next() {
            Ok(Event::Terminal(..)) => assert_nothing_is_live(&manager),
            Err(NotReady::Pending(_)) => {
                manager.open(1).unwrap();
                manager.finish(1, payload(), false);
                assert_eq!(read_to_the_end(&reader, 1), 1);
            }
            other => unreachable!("{other:?}"),
        }
    });
}

#[test]
fn finish_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let other = manager.clone();
        let finishing = thread::spawn(move || other.finish(1, payload(), false));
        let here = manager.finish(1, payload(), false);
        assert!(here != finishing.join().unwrap());
        assert_eq!(read_to_the_end(&reader, 1), 1);
        assert_eq!(manager.retained_runs(), [1]);
        assert_eq!(manager.stats().events_published, 1);
    });
}

/// Whoever finds the run no longer open finds its terminal event.
#[test]
fn finishing_is_one_step() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(1, payload(), false)));
        if !manager.is_open(1) {
            assert!(manager.terminal(1).is_some());
            let reader = manager.subscribe(1, Start::Newest, true).unwrap();
            assert!(matches!(reader.try_next(), Ok(Event::Terminal(..))));
        }
        finishing.join().unwrap();
    });
}

/// What was published before the end is read before it; what was not, never.
#[test]
fn publish_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || publisher.publish(1, payload()).is_some());
        assert!(manager.finish(1, payload(), false));
        let published = publishing.join().unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 1 + u64::from(published));
        assert_eq!(manager.stats().events_published, 1 + u64::from(published));
    });
}

#[test]
fn open_again_against_a_reader_of_the_last_life() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let owner = manager.clone();
        let opening = thread::spawn(move || {
            assert!(owner.finish(1, payload(), false));
            owner.open(1).unwrap();
            assert_eq!(owner.publish(1, payload()).unwrap().seq, 1);
        });
        assert_eq!(read_to_the_end(&reader, 1), 1);
        drop(reader);
        opening.join().unwrap();
        let Stats { active_runs, subscribers, events_held, .. } = manager.stats();
        assert_eq!((active_runs, subscribers, events_held), (1, 0, 1));
    });
}

// The going of a reader.

#[test]
fn drop_against_publish_and_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.publish(1, payload()).unwrap();
        assert!(manager.finish(1, payload(), false));
        dropping.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

/// Of a run that only its readers wanted, whatever a publisher is told, nothing is left.
#[test]
fn drop_of_the_last_reader_against_publish() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.publish(1, payload());
        dropping.join().unwrap();
        assert_nothing_is_live(&manager);
        assert_eq!(manager.stats().events_held, 0);
    });
}

#[test]
fn drop_of_a_reader_against_drop_of_another() {
    loom::model(|| {
        let manager = manager(10, 1);
        let readers = [(); 2].map(|()| manager.subscribe(1, Start::Newest, false).unwrap());
        let dropping = readers.map(|reader| thread::spawn(move || drop(reader)));
        let late = manager.subscribe(1, Start::Newest, false).unwrap();
        dropping.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(manager.stats().subscribers, 1);
        manager.publish(1, payload()).unwrap();
        assert!(matches!(late.try_next(), Ok(Event::Message(EventId { seq: 1, .. }, _))));
        drop(late);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn open_against_drop_of_the_last_reader() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = manager.subscribe(1, Start::Newest, false).unwrap();
        let dropping = thread::spawn(move || drop(reader));
        manager.open(1).unwrap();
        let late = manager.subscribe(1, Start::Newest, true).unwrap();
        dropping.join().unwrap();
        assert!(manager.is_open(1));
        assert_eq!(manager.stats().subscribers, 1);
        manager.publish(1, payload()).unwrap();
        assert!(matches!(late.try_next(), Ok(Event::Message(..))));
    });
}

#[test]
fn open_against_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        let owner = manager.clone();
        let opening = thread::spawn(move || {
            owner.open(1).unwrap();
            owner.publish(1, payload()).unwrap();
        });
        let reader = manager.subscribe(1, BEGINNING, false).unwrap();
        assert!(matches!(next(&reader), Some(Event::Message(EventId { seq: 1, .. }, _))));
        opening.join().unwrap();
        assert_eq!(manager.stats().subscribers, 1);
    });
}

#[test]
fn open_against_open_and_reserve() {
    loom::model(|| {
        let manager = manager(10, 1);
        let other = manager.clone();
        let reserving = thread::spawn(move || other.cancel_event(1, true).unwrap());
        let other = manager.clone();
        let opening = thread::spawn(move || other.open(1).map(|cancel| cancel.key()).ok());
        let here = manager.open(1).map(|cancel| cancel.key()).ok();
        let there = opening.join().unwrap();
        let reserved = reserving.join().unwrap();
        assert!(here.is_some() != there.is_some());
        assert_eq!(here.or(there), Some(reserved.key()));
    });
}

#[test]
fn close_against_close_and_put() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let (one, two) = (reader.clone(), reader.clone());
        let closing = thread::spawn(move || one.close());
        let putting = thread::spawn(move || two.put(payload(), 1).unwrap());
        reader.close();
        closing.join().unwrap();
        putting.join().unwrap();
        assert_eq!(reader.unread(), 0);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn close_against_read() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        manager.publish(1, payload()).unwrap();
        let other = reader.clone();
        let closing = thread::spawn(move || other.close());
        assert!(matches!(reader.try_next_chunk(1000).err(), None | Some(NotReady::Ended)));
        assert!(matches!(reader.try_next(), Err(NotReady::Ended | NotReady::Pending(_))));
        closing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

// Cancelling.

#[test]
fn set_against_wait() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(7));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        assert!(event.wait(None));
        setting.join().unwrap();
    });
}

#[test]
fn who_sees_the_flag_sees_what_was_done_before() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(7));
        let done = Arc::new(AtomicUsize::new(0));
        let (other, was_done) = (event.clone(), done.clone());
        let looking = thread::spawn(move || !other.is_set() || was_done.load(Ordering::Relaxed) == 1);
        done.store(1, Ordering::Relaxed);
        event.set();
        assert!(looking.join().unwrap());
    });
}

#[test]
fn set_against_a_loop_that_parks() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(7));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        let event_loop = Loop::new();
        if event.arm(&event_loop.port) {
            event_loop.sleep_until_ready(7);
        }
        assert!(event.is_set());
        setting.join().unwrap();
    });
}

#[test]
fn set_against_set_and_add_callback() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(7));
        let calls = Arc::new(AtomicUsize::new(0));
        event.add_callback(Box::new(Counting(calls.clone())));
        let setting = [(); 2].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.set())
        });
        event.add_callback(Box::new(Counting(calls.clone())));
        setting.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn cancel_against_finish() {
    loom::model(|| {
        let manager = manager(10, 1);
        let calls = Arc::new(AtomicUsize::new(0));
        let event = manager.open(1).unwrap();
        event.add_callback(Box::new(Counting(calls.clone())));
        let other = manager.clone();
        let cancelling = thread::spawn(move || other.cancel(1));
        assert!(manager.finish(1, payload(), false));
        let cancelled = cancelling.join().unwrap();
        assert_eq!(event.is_set(), cancelled);
        // The callback was called, or let go with the run; never both, never twice.
        let called = calls.load(Ordering::Relaxed);
        assert!(called <= usize::from(cancelled));
        assert_eq!(Arc::strong_count(&calls), 1);
        assert!(!manager.cancel(1));
    });
}

#[test]
fn cancel_against_open() {
    loom::model(|| {
        let manager = manager(10, 1);
        let reserved = manager.cancel_event(1, true).unwrap();
        let other = manager.clone();
        let cancelling = thread::spawn(move || assert!(other.cancel(1)));
        let opened = manager.open(1).unwrap();
        cancelling.join().unwrap();
        assert!(opened.is_set() && reserved.is_set());
    });
}

#[test]
fn collecting_garbage_against_set() {
    loom::model(|| {
        let event = Arc::new(CancelEvent::new(7));
        let calls = Arc::new(AtomicUsize::new(0));
        event.add_callback(Box::new(Counting(calls.clone())));
        let other = event.clone();
        let setting = thread::spawn(move || other.set());
        event.visit_callbacks(|_| {});
        let taken = event.take_callbacks().len();
        setting.join().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed) + taken, 1);
    });
}

// Retention.

/// A late reader either gets all of the run, or waits for its next life.
#[test]
fn retention_lets_go_against_late_subscribe() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.open(1).unwrap();
        manager.publish(1, payload()).unwrap();
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || {
            owner.finish(2, payload(), false);
            // Whoever holds it may read on; this lets it go once nobody does.
            owner.stats();
        });
        let late = manager.subscribe(1, BEGINNING, false).unwrap();
        match late.try_next() {
            Ok(Event::Message(..)) => assert_eq!(read_to_the_end(&late, 2), 2),
            Err(NotReady::Pending(_)) => assert_eq!(manager.stats().subscribers, 1),
            other => unreachable!("{other:?}"),
        }
        drop(late);
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
        assert_eq!((manager.retained_runs(), manager.stats().events_held), (vec![2], 1));
    });
}

#[test]
fn retention_lets_go_against_its_terminal_event() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(2, payload(), false)));
        if let Some(terminal) = manager.terminal(1) {
            assert_eq!(&*terminal, b"{}");
        }
        finishing.join().unwrap();
        assert!(manager.terminal(1).is_none());
    });
}

#[test]
fn retention_lets_go_against_open() {
    loom::model(|| {
        let manager = manager(10, 1);
        manager.finish(1, payload(), false);
        let owner = manager.clone();
        let finishing = thread::spawn(move || assert!(owner.finish(2, payload(), false)));
        manager.open(1).unwrap();
        finishing.join().unwrap();
        assert_eq!((manager.claimed_runs(), manager.retained_runs()), (vec![1], vec![2]));
        assert_eq!(manager.stats().events_held, 1);
    });
}

// All of it at once.

#[test]
fn a_whole_life_against_a_reader_and_a_cancel() {
    bounded_model(|| {
        let manager = manager(1, 1);
        let (owner, canceller) = (manager.clone(), manager.clone());
        let running = thread::spawn(move || {
            let cancel = owner.open(1).unwrap();
            owner.publish(1, payload()).unwrap();
            assert!(owner.finish(1, payload(), false));
            cancel.is_set()
        });
        let cancelling = thread::spawn(move || canceller.cancel(1));
        let reader = manager.subscribe(1, BEGINNING, false).unwrap();
        assert_eq!(read_to_the_end(&reader, 1), 2);
        let seen = running.join().unwrap();
        let cancelled = cancelling.join().unwrap();
        assert!(cancelled || !seen);
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn two_lives_against_readers_that_come_and_go() {
    bounded_model(|| {
        let manager = manager(10, 0);
        let readers = [(); 2].map(|()| {
            let manager = manager.clone();
            thread::spawn(move || {
                let reader = manager.subscribe(1, BEGINNING, false).unwrap();
                match reader.try_next() {
                    Ok(Event::Terminal(EventId { seq: 1, .. }, _)) | Err(NotReady::Pending(_)) => {}
                    other => unreachable!("{other:?}"),
                }
            })
        });
        for _ in 0..2 {
            manager.open(1).unwrap();
            assert!(manager.finish(1, payload(), false));
        }
        readers.into_iter().for_each(|thread| thread.join().unwrap());
        assert_nothing_is_live(&manager);
        assert_eq!(manager.stats().retained_runs, 0);
    });
}

#[test]
fn close_against_wait_and_finish() {
    bounded_model(|| {
        let manager = manager(10, 0);
        manager.open(1).unwrap();
        let reader = Arc::new(manager.subscribe(1, Start::Newest, false).unwrap());
        let (other, owner) = (reader.clone(), manager.clone());
        let closing = thread::spawn(move || other.close());
        let finishing = thread::spawn(move || assert!(owner.finish(1, payload(), false)));
        let mut events = 0;
        while next(&reader).is_some() {
            events += 1;
        }
        assert!(events <= 1);
        closing.join().unwrap();
        finishing.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}
