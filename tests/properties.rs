//! The manager beside a model of it: whatever is done to both in any order, they say the same.
//!
//! And of the manager alone: every seq is delivered or inside exactly one gap, the terminal event comes once and last,
//! fences rise, and at the end nothing is left. Runs are named by integers and texts, and so are some events.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::VecDeque;
use std::time::Duration;

use common::memory::Watch;
use common::model::{Claim, Model, Published, Reader};
use common::sse::parse;
use common::{event_name, limits, proptest_config, short};
use genglossary_runs::core::{
    Error, Event, EventId, Fence, Limits, NotReady, Payload, RunId, RunIdRef, RunManager, Seq, Start, Stats,
    Subscription,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

/// The runs: the integers -1, 0 and 1, and texts.
const RUNS: [&str; 5] = ["-1", "0", "1", "01", "a \"run\""];
/// How many private messages a reader may have.
const PRIVATE: usize = 3;
/// The names of events.
const NAMES: [&str; 3] = ["step", "gap 1", "用語"];

#[derive(Debug, Clone)]
enum Op {
    Open(RunId),
    Reserve(RunId),
    Abandon(RunId),
    /// Publish an event of that length, perhaps with a name.
    Publish(RunId, Option<&'static str>, usize),
    Finish(RunId, bool),
    Cancel(RunId),
    Subscribe(RunId, From, bool),
    /// Make a reader at the position of another.
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
    /// After that seq of that life of any run.
    Event(Index, u64),
}

fn any_run() -> impl Strategy<Value = RunId> {
    prop::sample::select(RUNS.as_slice()).prop_map(|text| RunIdRef::of_text(text).into())
}

fn any_name() -> impl Strategy<Value = Option<&'static str>> {
    option::weighted(0.3, prop::sample::select(NAMES.as_slice()))
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
        3 => any_run().prop_map(Op::Open),
        1 => any_run().prop_map(Op::Reserve),
        1 => any_run().prop_map(Op::Abandon),
        8 => (any_run(), any_name(), 1..12_usize).prop_map(|(run, name, length)| Op::Publish(run, name, length)),
        2 => (any_run(), any::<bool>()).prop_map(|(run, unless_open)| Op::Finish(run, unless_open)),
        1 => any_run().prop_map(Op::Cancel),
        4 => (any_run(), from(), any::<bool>()).prop_map(|(run, from, must_exist)| Op::Subscribe(run, from, must_exist)),
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
    next: Seq,
    ended: bool,
}

/// The manager and the model.
struct Pair {
    real: RunManager,
    model: Model,
    /// The same readers as the model's.
    readers: Vec<Told>,
    /// All payloads there ever were.
    payloads: Vec<Watch>,
}

impl Pair {
    fn new(limits: Limits) -> Self {
        Self { real: RunManager::new(limits), model: Model::new(limits), readers: Vec::new(), payloads: Vec::new() }
    }

    /// A payload of that length, which differs from its neighbours.
    fn word(&mut self, name: Option<&'static str>, length: usize) -> (Payload, String) {
        let letter = (b'a' + (self.payloads.len() % 26) as u8) as char;
        let word = letter.to_string().repeat(length);
        let payload = Payload::new(name.map(event_name), word.as_bytes());
        self.payloads.push(Watch::new(&payload));
        (payload, word)
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Open(run) => {
                let opened = self.real.open(run.as_ref()).map(drop);
                assert_eq!(opened, self.model.open(&run).then_some(()).ok_or(Error::RunActive(run)));
            }
            Op::Reserve(run) => {
                self.model.reserve(&run);
                let reserved = self.real.reserve(run.as_ref()).key();
                assert_eq!(self.real.cancel_event(run.as_ref()).map(|event| event.key()), Some(reserved));
            }
            Op::Abandon(run) => assert_eq!(self.real.abandon(run.as_ref()), self.model.abandon(&run)),
            Op::Publish(run, name, length) => self.publish(&run, name, length),
            Op::Finish(run, unless_open) => {
                let (payload, word) = self.word(None, 4);
                let finished = self.real.finish(run.as_ref(), payload, unless_open);
                assert_eq!(finished, self.model.finish(&run, word, unless_open));
            }
            Op::Cancel(run) => {
                let cancelled = self.real.cancel(run.as_ref());
                assert_eq!(cancelled, self.model.claim(&run) != Claim::None);
                let is_set = self.real.cancel_event(run.as_ref()).map(|event| event.is_set());
                assert_eq!(is_set, cancelled.then_some(true));
            }
            Op::Subscribe(run, from, must_exist) => {
                let id = match from {
                    From::Newest => return self.subscribe(&run, Start::Newest, must_exist),
                    From::Beginning => None,
                    From::Event(life, seq) => {
                        let fences: Vec<Fence> = self.model.lives.iter().filter_map(|life| life.fence).collect();
                        (!fences.is_empty()).then(|| EventId { fence: *life.get(&fences), seq: Seq(seq) })
                    }
                };
                self.subscribe(&run, Start::After(id), must_exist);
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
                let (run, last) = (reader.run_id().clone(), reader.last_event_id());
                self.subscribe(&run, Start::After(Some(last)), false);
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

    fn publish(&mut self, run: &RunId, name: Option<&'static str>, length: usize) {
        let (payload, json) = self.word(name, length);
        match (self.real.publish(run.as_ref(), payload), self.model.publish(run, Published { name, json })) {
            (Some(id), Some((seq, life))) => {
                assert_eq!(id.seq, Seq(seq));
                assert_eq!(*life.fence.get_or_insert(id.fence), id.fence);
            }
            (None, None) => {}
            (real, model) => panic!("{real:?}, but {:?}", model.map(|(seq, _)| seq)),
        }
    }

    fn subscribe(&mut self, run: &RunId, start: Start, must_exist: bool) {
        let real = match self.real.subscribe(run.as_ref(), start, must_exist) {
            Ok(real) => real,
            Err(refused) => {
                assert_eq!(refused, Error::UnknownRun(run.clone()));
                return assert_eq!(self.model.life_to_read(run, must_exist), None);
            }
        };
        assert_eq!(real.run_id(), run);
        if let Start::After(Some(id)) = start
            && self.model.has_forgotten(run, id.fence, id.seq.0)
        {
            let Ok(Event::Terminal(end, _)) = real.try_next() else { panic!("a reader of a forgotten run waits") };
            assert_eq!(end, EventId { seq: id.seq.next(), ..id });
            return assert!(real.is_ended());
        }
        let life = self.model.life_to_read(run, must_exist).unwrap();
        let known = &mut self.model.lives[life];
        let fence = real.last_event_id().fence;
        assert_eq!(*known.fence.get_or_insert(fence), fence);
        let next = match start {
            Start::Newest if known.finished => known.last(),
            Start::Newest => known.last() + 1,
            Start::After(Some(id)) if id.fence == fence && id.seq.0 <= known.last() => id.seq.0 + 1,
            Start::After(_) => 1,
        };
        self.model.readers.push(Reader { life, next, private: VecDeque::new(), closed: false });
        self.readers.push(Told { real, next: Seq(next), ended: false });
    }

    fn read(&mut self, reader: usize) {
        let told = &mut self.readers[reader];
        match told.real.try_next() {
            Ok(event) => {
                told.note(&event);
                assert_eq!(told.real.last_event_name().as_deref(), event.name());
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
                told.next = told.real.last_event_id().seq.next();
            }
            Err(none) => assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader)),
        }
    }

    fn put(&mut self, reader: usize) {
        let (payload, word) = self.word(None, 2);
        let put = self.readers[reader].real.put(payload, PRIVATE);
        let model = &mut self.model.readers[reader];
        if model.closed {
            assert_eq!(put, Ok(()));
        } else if model.private.len() == PRIVATE {
            assert_eq!(put, Err(Error::Full(PRIVATE)));
        } else {
            assert_eq!(put, Ok(()));
            model.private.push_back((self.model.lives[model.life].last(), word));
        }
    }

    /// What the manager says of itself is what the model says.
    fn compare(&self) {
        assert_eq!(self.real.stats(), self.model.stats());
        assert_eq!(self.real.claimed_runs(), self.model.runs_with(|_, claim| claim != Claim::None));
        assert_eq!(self.real.subscribed_runs(), self.model.subscribed_runs());
        let retained: Vec<RunId> =
            self.model.retained.iter().map(|life| self.model.lives[*life].run_id.clone()).collect();
        assert_eq!(self.real.retained_runs(), retained);
        for run in RUNS.map(RunIdRef::of_text) {
            let id = RunId::from(run);
            assert_eq!(self.real.is_open(run), self.model.claim(&id) == Claim::Open);
            assert_eq!(self.real.cancel_event(run).is_some(), self.model.claim(&id) != Claim::None);
            let terminal = self.model.terminal(&id).map(String::as_bytes);
            assert_eq!(self.real.terminal(run).as_deref(), terminal);
        }
        for (told, reader) in self.readers.iter().zip(&self.model.readers) {
            assert_eq!(told.real.unread(), self.model.unread(reader));
            assert_eq!(told.real.last_event_id().seq, Seq(reader.next - 1));
            assert_eq!(told.real.is_closed(), reader.closed);
            assert_eq!(told.real.is_ended(), self.model.is_ended(reader));
        }
    }

    /// Read everything, drop everything: nothing is left.
    fn wind_up(mut self) {
        for run in RUNS {
            self.apply(Op::Finish(RunIdRef::of_text(run).into(), false));
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
        let fences: Vec<Fence> = self.model.lives.iter().filter_map(|life| life.fence).collect();
        assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
        drop(self.real);
        assert!(self.payloads.iter().all(Watch::is_freed));
    }
}

impl Told {
    /// Every seq comes once, in order, as an event or in a gap, and nothing after the terminal one.
    fn note(&mut self, event: &Event) {
        let (from, to) = match event {
            Event::Message(id, _) | Event::Terminal(id, _) => (id.seq, id.seq),
            Event::Gap(gap) => (gap.from, gap.to),
            Event::Private(_) => return,
        };
        assert!(!self.ended);
        assert_eq!(from, self.next);
        assert!(to >= from);
        self.next = to.next();
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
            "message" => format!("private {}", event.data),
            "gap" => {
                let data: Value = serde_json::from_str(&event.data).unwrap();
                format!("gap {}-{}", data["gap"]["from"], data["gap"]["to"])
            }
            name if has_id && NAMES.contains(&name) => format!("{seq} {name}: {}", event.data),
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
