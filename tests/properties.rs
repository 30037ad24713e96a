//! The manager beside a model of it: whatever is done to both in any order, they say the same.
//!
//! And of the manager alone: every seq is delivered or inside exactly one gap, the terminal event comes once and last,
//! fences rise, and at the end nothing is left.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use common::model::{Claim, Model, Reader};
use common::sse::parse;
use common::{limits, payload, proptest_config, short};
use genglossary_runs::core::{
    Error, Event, EventId, Limits, NotReady, Payload, RunId, RunManager, Start, Stats, Subscription,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

const RUNS: std::ops::Range<RunId> = -1..2;
/// How many messages may be put to a reader.
const OWN: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    Open(RunId),
    Reserve(RunId),
    Abandon(RunId),
    /// Publish an event of that length.
    Publish(RunId, usize),
    Finish(RunId, bool),
    Cancel(RunId),
    Subscribe(RunId, From, bool),
    /// Make a reader that goes on where another stands.
    Resume(Index),
    /// Read so many events.
    Read(Index, usize),
    /// Read a chunk of that length at most.
    ReadChunk(Index, usize),
    Put(Index),
    Close(Index),
    Drop(Index),
}

#[derive(Debug, Clone)]
enum From {
    Newest,
    Beginning,
    /// Behind that seq of that life of any run.
    Event(Index, u64),
}

fn any_op() -> impl Strategy<Value = Op> {
    let from = || {
        prop_oneof![
            Just(From::Newest),
            Just(From::Beginning),
            (any::<Index>(), 0..8_u64).prop_map(|(life, seq)| From::Event(life, seq)),
        ]
    };
    prop_oneof![
        3 => RUNS.prop_map(Op::Open),
        1 => RUNS.prop_map(Op::Reserve),
        1 => RUNS.prop_map(Op::Abandon),
        8 => (RUNS, 1..12_usize).prop_map(|(run, length)| Op::Publish(run, length)),
        2 => (RUNS, any::<bool>()).prop_map(|(run, unless_open)| Op::Finish(run, unless_open)),
        1 => RUNS.prop_map(Op::Cancel),
        4 => (RUNS, from(), any::<bool>()).prop_map(|(run, from, must_exist)| Op::Subscribe(run, from, must_exist)),
        1 => any::<Index>().prop_map(Op::Resume),
        3 => (any::<Index>(), 1..6_usize).prop_map(|(reader, count)| Op::Read(reader, count)),
        3 => (any::<Index>(), 1..400_usize).prop_map(|(reader, limit)| Op::ReadChunk(reader, limit)),
        2 => any::<Index>().prop_map(Op::Put),
        1 => any::<Index>().prop_map(Op::Close),
        1 => any::<Index>().prop_map(Op::Drop),
    ]
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (1..6_usize, 1..40_usize, 0..4_usize, 0..80_usize, any::<bool>()).prop_map(
        |(events, bytes, runs, retained_bytes, retains)| {
            let mut limits = limits(events, bytes, runs, retained_bytes);
            if !retains {
                limits.retention.age = Duration::ZERO;
            }
            limits
        },
    )
}

/// A reader, and what its events have told so far.
struct Told {
    real: Subscription,
    next: u64,
    ended: bool,
}

/// The manager and the model.
struct Pair {
    real: RunManager,
    model: Model,
    /// The same readers as the model's.
    readers: Vec<Told>,
    /// All payloads there ever were.
    payloads: Vec<Weak<[u8]>>,
}

impl Pair {
    fn new(limits: Limits) -> Self {
        Self { real: RunManager::new(limits), model: Model::new(limits), readers: Vec::new(), payloads: Vec::new() }
    }

    /// A payload of that length, which differs from its neighbours.
    fn word(&mut self, length: usize) -> (Payload, String) {
        let letter = (b'a' + (self.payloads.len() % 26) as u8) as char;
        let word = letter.to_string().repeat(length);
        let json = payload(&word);
        self.payloads.push(Arc::downgrade(&json));
        (json, word)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Open(run) => {
                let opened = self.real.open(run).map(|_| ());
                assert_eq!(opened, self.model.open(run).then_some(()).ok_or(Error::RunActive(run)));
            }
            Op::Reserve(run) => {
                self.model.reserve(run);
                assert!(self.real.cancel_event(run, true).is_some());
            }
            Op::Abandon(run) => assert_eq!(self.real.abandon(run), self.model.abandon(run)),
            Op::Publish(run, length) => self.publish(run, length),
            Op::Finish(run, unless_open) => {
                let (json, word) = self.word(4);
                let ended = self.real.finish(run, json, unless_open);
                assert_eq!(ended, self.model.finish(run, word, unless_open));
            }
            Op::Cancel(run) => {
                let cancelled = self.real.cancel(run);
                assert_eq!(cancelled, self.model.claim(run) != Claim::None);
                assert_eq!(self.real.cancel_event(run, false).map(|event| event.is_set()), cancelled.then_some(true));
            }
            Op::Subscribe(run, from, must_exist) => {
                let id = match from {
                    From::Newest => return self.subscribe(run, Start::Newest, must_exist),
                    From::Beginning => None,
                    From::Event(life, seq) => {
                        let fences: Vec<u64> = self.model.lives.iter().filter_map(|life| life.fence).collect();
                        (!fences.is_empty()).then(|| EventId { fence: *life.get(&fences), seq })
                    }
                };
                self.subscribe(run, Start::After(id), must_exist);
            }
            Op::Resume(_) | Op::Read(..) | Op::ReadChunk(..) | Op::Put(_) | Op::Close(_) | Op::Drop(_) => {
                if !self.readers.is_empty() {
                    self.apply_to_reader(op);
                }
            }
        }
    }

    fn apply_to_reader(&mut self, op: Op) {
        let count = self.readers.len();
        match op {
            Op::Resume(reader) => {
                let reader = &self.readers[reader.index(count)].real;
                self.subscribe(reader.run_id(), Start::After(Some(reader.last_event_id())), false);
            }
            Op::Read(reader, events) => (0..events).for_each(|_| self.read(reader.index(count))),
            Op::ReadChunk(reader, limit) => self.read_chunk(reader.index(count), limit),
            Op::Put(reader) => self.put(reader.index(count)),
            Op::Close(reader) => {
                let reader = reader.index(count);
                self.readers[reader].real.close();
                self.model.readers[reader].closed = true;
                self.model.clear();
            }
            Op::Drop(reader) => {
                drop(self.readers.remove(reader.index(count)));
                self.model.readers.remove(reader.index(count));
                self.model.clear();
            }
            _ => unreachable!("not a reader's"),
        }
    }

    fn publish(&mut self, run: RunId, length: usize) {
        let (json, word) = self.word(length);
        match (self.real.publish(run, json), self.model.publish(run, word)) {
            (Some(id), Some((seq, life))) => {
                assert_eq!(id.seq, seq);
                assert_eq!(*life.fence.get_or_insert(id.fence), id.fence);
            }
            (None, None) => {}
            (real, model) => panic!("{real:?}, but {:?}", model.map(|(seq, _)| seq)),
        }
    }

    fn subscribe(&mut self, run: RunId, start: Start, must_exist: bool) {
        let real = match self.real.subscribe(run, start, must_exist) {
            Ok(real) => real,
            Err(refused) => {
                assert_eq!(refused, Error::UnknownRun(run));
                return assert_eq!(self.model.life_to_read(run, must_exist), None);
            }
        };
        let life = self.model.life_to_read(run, must_exist).unwrap();
        let known = &mut self.model.lives[life];
        let fence = real.last_event_id().fence;
        assert_eq!(*known.fence.get_or_insert(fence), fence);
        let next = match start {
            Start::Newest if known.finished => known.last(),
            Start::Newest => known.last() + 1,
            Start::After(Some(id)) if id.fence == fence && id.seq <= known.last() => id.seq + 1,
            Start::After(_) => 1,
        };
        self.model.readers.push(Reader { life, next, own: VecDeque::new(), closed: false });
        self.readers.push(Told { real, next, ended: false });
    }

    fn read(&mut self, reader: usize) {
        let told = &mut self.readers[reader];
        match told.real.try_next() {
            Ok(event) => {
                told.note(&event);
                assert_eq!(Ok(short(&event)), self.model.read(reader));
            }
            Err(none) => assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader)),
        }
    }

    fn read_chunk(&mut self, reader: usize, limit: usize) {
        match self.readers[reader].real.try_next_chunk(limit) {
            Ok(chunk) => {
                let events = in_short(&chunk.frames);
                assert!(events.len() == 1 || chunk.frames.len() <= limit);
                for event in events {
                    assert_eq!(Ok(event), self.model.read(reader));
                }
                let told = &mut self.readers[reader];
                told.next = told.real.last_event_id().seq + 1;
            }
            Err(none) => assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader)),
        }
    }

    fn put(&mut self, reader: usize) {
        let (json, word) = self.word(2);
        let put = self.readers[reader].real.put(json, OWN);
        let model = &mut self.model.readers[reader];
        if model.closed {
            assert_eq!(put, Ok(()));
        } else if model.own.len() == OWN {
            assert_eq!(put, Err(Error::Full(OWN)));
        } else {
            assert_eq!(put, Ok(()));
            model.own.push_back((self.model.lives[model.life].last(), word));
        }
    }

    /// What the manager says of itself is what the model says.
    fn compare(&self) {
        assert_eq!(self.real.stats(), self.model.stats());
        assert_eq!(self.real.claimed_runs(), self.model.runs_with(|_, claim| claim != Claim::None));
        assert_eq!(self.real.subscribed_runs(), self.model.subscribed_runs());
        let retained: Vec<RunId> = self.model.retained.iter().map(|life| self.model.lives[*life].run_id).collect();
        assert_eq!(self.real.retained_runs(), retained);
        for run in RUNS {
            assert_eq!(self.real.is_open(run), self.model.claim(run) == Claim::Open);
            assert_eq!(self.real.cancel_event(run, false).is_some(), self.model.claim(run) != Claim::None);
            let terminal = self.model.terminal(run).map(String::as_bytes);
            assert_eq!(self.real.terminal(run).as_deref(), terminal);
        }
        for (told, reader) in self.readers.iter().zip(&self.model.readers) {
            assert_eq!(told.real.unread(), self.model.unread(reader));
            assert_eq!(told.real.last_event_id().seq, reader.next - 1);
            assert_eq!(told.real.is_closed(), reader.closed);
            assert_eq!(told.real.is_ended(), self.model.is_ended(reader));
        }
    }

    /// Read everything, let go of everything: nothing is left.
    fn wind_up(mut self) {
        for run in RUNS {
            self.apply(Op::Finish(run, false));
        }
        for reader in 0..self.readers.len() {
            while self.model.unread(&self.model.readers[reader]) > 0 {
                self.read(reader);
            }
            self.read(reader);
        }
        self.compare();
        self.readers.clear();
        let Stats { active_runs, subscribed_runs, subscribers, .. } = self.real.stats();
        assert_eq!((active_runs, subscribed_runs, subscribers), (0, 0, 0));
        let fences: Vec<u64> = self.model.lives.iter().filter_map(|life| life.fence).collect();
        assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
        drop(self.real);
        assert!(self.payloads.iter().all(|payload| payload.strong_count() == 0));
    }
}

impl Told {
    /// Every seq is told of once, in order, as an event or in a gap, and nothing after the terminal one.
    fn note(&mut self, event: &Event) {
        let (from, to) = match event {
            Event::Message(id, _) | Event::Terminal(id, _) => (id.seq, id.seq),
            Event::Gap(gap) => (gap.from, gap.to),
            Event::Own(_) => return,
        };
        assert!(!self.ended);
        assert_eq!(from, self.next);
        assert!(to >= from);
        self.next = to + 1;
        self.ended = matches!(event, Event::Terminal(..));
    }
}

/// The events of a chunk, as [`short`] has them.
fn in_short(frames: &[u8]) -> Vec<String> {
    let mut last_event_id = String::new();
    let events = parse(frames).unwrap().into_iter().map(|event| {
        let seq = event.last_event_id.rsplit('-').next().unwrap().to_owned();
        let has_id = std::mem::replace(&mut last_event_id, event.last_event_id.clone()) != event.last_event_id;
        match event.kind.as_str() {
            "complete" => format!("end {seq} {}", event.data),
            "message" if has_id => format!("{seq} {}", event.data),
            "message" => format!("own {}", event.data),
            "gap" => {
                let data: Value = serde_json::from_str(&event.data).unwrap();
                format!("gap {}-{}", data["gap"]["from"], data["gap"]["to"])
            }
            kind => panic!("{kind}"),
        }
    });
    events.collect()
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn the_manager_does_what_the_model_does(limits in any_limits(), ops in vec(any_op(), 1..150)) {
        let mut pair = Pair::new(limits);
        pair.compare();
        for op in ops {
            pair.apply(op);
            pair.compare();
        }
        pair.wind_up();
    }
}
