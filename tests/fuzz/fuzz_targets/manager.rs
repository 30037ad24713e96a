//! The whole manager beside a model of it: whatever is done to both in any order, they say the same, nobody waits while
//! there is something to read, and at the end nothing is left.

#![no_main]

#[path = "../../common/model.rs"]
mod model;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arbitrary::Arbitrary;
use genglossary_runs::core::log::LogLimits;
use genglossary_runs::core::retention::RetentionLimits;
use genglossary_runs::core::sync::share;
use genglossary_runs::core::{
    Error, Event, EventId, Limits, NotReady, Payload, Port, RunId, RunManager, Start, Stats, Subscription,
};
use libfuzzer_sys::fuzz_target;
use model::{Claim, Model, Reader};

const RUNS: Range<RunId> = 0..3;
/// How many messages may be put to a reader.
const OWN: usize = 3;

#[derive(Debug, Arbitrary)]
struct Input {
    events: u8,
    bytes: u8,
    retained_runs: u8,
    retained_bytes: u8,
    retains: bool,
    ops: Vec<Op>,
}

/// Runs and readers are named by any number; it is taken modulo how many there are.
#[derive(Debug, Arbitrary)]
enum Op {
    Open(u8),
    Reserve(u8),
    Abandon(u8),
    Publish(u8, u8),
    Finish(u8, bool),
    Cancel(u8),
    Subscribe(u8, From, bool),
    Resume(u8),
    Read(u8),
    ReadChunk(u8, u8),
    Put(u8),
    /// Wait, as an event loop does.
    Arm(u8),
    Close(u8),
    Drop(u8),
}

#[derive(Debug, Arbitrary)]
enum From {
    Newest,
    Beginning,
    /// Behind that seq of that life of any run.
    Event(u8, u8),
}

/// The manager and the model.
struct Pair {
    real: RunManager,
    model: Model,
    /// The same readers as the model's.
    readers: Vec<Waiting>,
    payloads: Vec<Weak<[u8]>>,
}

/// A reader, and the port that is to be rung if it waits.
struct Waiting {
    real: Subscription,
    port: Option<Arc<Port>>,
}

fuzz_target!(|input: Input| {
    let limits = Limits {
        log: LogLimits { events: usize::from(input.events % 6) + 1, bytes: usize::from(input.bytes) + 1 },
        retention: RetentionLimits {
            runs: usize::from(input.retained_runs % 4),
            bytes: usize::from(input.retained_bytes),
            age: if input.retains { Duration::from_secs(3600) } else { Duration::ZERO },
        },
    };
    let (real, model) = (RunManager::new(limits), Model::new(limits));
    let mut pair = Pair { real, model, readers: Vec::new(), payloads: Vec::new() };
    for op in &input.ops {
        pair.apply(op);
        pair.compare();
    }
    pair.wind_up();
});

fn run(number: u8) -> RunId {
    RunId::from(number) % RUNS.end
}

impl Pair {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open(number) => {
                let opened = self.real.open(run(number)).map(drop);
                assert_eq!(opened, self.model.open(run(number)).then_some(()).ok_or(Error::RunActive(run(number))));
            }
            Op::Reserve(number) => {
                self.model.reserve(run(number));
                assert!(self.real.cancel_event(run(number), true).is_some());
            }
            Op::Abandon(number) => {
                assert_eq!(self.real.abandon(run(number)), self.model.abandon(run(number)));
            }
            Op::Publish(number, length) => self.publish(run(number), usize::from(length)),
            Op::Finish(number, unless_open) => {
                let (json, word) = self.word(4);
                let ended = self.real.finish(run(number), json, unless_open);
                assert_eq!(ended, self.model.finish(run(number), word, unless_open));
            }
            Op::Cancel(number) => {
                let cancelled = self.real.cancel(run(number));
                assert_eq!(cancelled, self.model.claim(run(number)) != Claim::None);
            }
            Op::Subscribe(number, ref from, must_exist) => {
                let start = self.start(from);
                self.subscribe(run(number), start, must_exist);
            }
            _ if self.readers.is_empty() => {}
            Op::Resume(number) => {
                let reader = &self.readers[self.reader(number)].real;
                self.subscribe(reader.run_id(), Start::After(Some(reader.last_event_id())), false);
            }
            Op::Read(number) => self.read(self.reader(number)),
            Op::ReadChunk(number, limit) => self.read_chunk(self.reader(number), usize::from(limit)),
            Op::Put(number) => self.put(self.reader(number)),
            Op::Arm(number) => self.arm(self.reader(number)),
            Op::Close(number) => {
                let reader = self.reader(number);
                self.readers[reader].real.close();
                self.model.readers[reader].closed = true;
                self.model.clear();
            }
            Op::Drop(number) => {
                let reader = self.reader(number);
                self.disarm(reader);
                self.readers.remove(reader);
                self.model.readers.remove(reader);
                self.model.clear();
            }
        }
    }

    fn reader(&self, number: u8) -> usize {
        usize::from(number) % self.readers.len()
    }

    /// A payload of that length, which differs from its neighbours.
    fn word(&mut self, length: usize) -> (Payload, String) {
        let letter = (b'a' + (self.payloads.len() % 26) as u8) as char;
        let word = letter.to_string().repeat(length.max(1));
        let json = share(word.as_bytes());
        self.payloads.push(Arc::downgrade(&json));
        (json, word)
    }

    fn publish(&mut self, run: RunId, length: usize) {
        let (json, word) = self.word(length);
        match (self.real.publish(run, json), self.model.publish(run, word)) {
            (Some(id), Some((seq, life))) => {
                assert_eq!(id, EventId { fence: *life.fence.get_or_insert(id.fence), seq });
            }
            (None, None) => {}
            (real, model) => panic!("{real:?}, but {:?}", model.map(|(seq, _)| seq)),
        }
    }

    fn start(&self, from: &From) -> Start {
        match *from {
            From::Newest => Start::Newest,
            From::Beginning => Start::parse(Some("0")),
            From::Event(life, seq) => {
                let fences: Vec<u64> = self.model.lives.iter().filter_map(|life| life.fence).collect();
                let fence = fences.get(usize::from(life) % fences.len().max(1)).copied().unwrap_or_default();
                Start::After(Some(EventId { fence, seq: u64::from(seq) }))
            }
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
        let life = self.model.life_to_read(run, must_exist).expect("the manager knows it");
        let known = &mut self.model.lives[life];
        let fence = *known.fence.get_or_insert(real.last_event_id().fence);
        let next = match start {
            Start::Newest if known.finished => known.last(),
            Start::Newest => known.last() + 1,
            Start::After(Some(id)) if id.fence == fence && id.seq <= known.last() => id.seq + 1,
            Start::After(_) => 1,
        };
        assert_eq!(real.last_event_id(), EventId { fence, seq: next - 1 });
        self.model.readers.push(Reader { life, next, own: VecDeque::new(), closed: false });
        self.readers.push(Waiting { real, port: None });
    }

    fn read(&mut self, reader: usize) {
        match self.readers[reader].real.try_next() {
            Ok(event) => assert_eq!(Ok(short(&event)), self.model.read(reader)),
            Err(none) => assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader)),
        }
    }

    /// What the frames of a chunk say is fuzzed elsewhere; here it is how far they bring a reader.
    fn read_chunk(&mut self, reader: usize, limit: usize) {
        let real = &self.readers[reader].real;
        let Err(none) = real.try_next_chunk(limit) else {
            let reached = (real.last_event_id().seq + 1, real.unread());
            loop {
                self.model.read(reader).unwrap();
                let model = &self.model.readers[reader];
                if (model.next, self.model.unread(model)) == reached {
                    return;
                }
            }
        };
        assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader));
    }

    fn put(&mut self, reader: usize) {
        let (json, word) = self.word(2);
        let put = self.readers[reader].real.put(json, OWN);
        let model = &mut self.model.readers[reader];
        if model.closed || model.own.len() < OWN {
            assert_eq!(put, Ok(()));
        } else {
            return assert_eq!(put, Err(Error::Full(OWN)));
        }
        if !model.closed {
            model.own.push_back((self.model.lives[model.life].last(), word));
        }
    }

    fn arm(&mut self, reader: usize) {
        self.disarm(reader);
        if self.model.unread(&self.model.readers[reader]) > 0 {
            return;
        }
        let waiting = &mut self.readers[reader];
        match waiting.real.try_next() {
            Err(NotReady::Pending(epoch)) => {
                let port = Arc::new(Port::new(Box::new(|| {})));
                assert!(waiting.real.arm(epoch, &port));
                waiting.port = Some(port);
            }
            Err(NotReady::Ended) => assert!(self.model.is_ended(&self.model.readers[reader])),
            Ok(event) => panic!("the model has no {}", short(&event)),
        }
    }

    fn disarm(&mut self, reader: usize) {
        let waiting = &mut self.readers[reader];
        if waiting.port.take().is_some() {
            waiting.real.end_wait();
        }
    }

    /// What the manager says of itself is what the model says.
    fn compare(&mut self) {
        assert_eq!(self.real.stats(), self.model.stats());
        assert_eq!(self.real.claimed_runs(), self.model.runs_with(|_, claim| claim != Claim::None));
        assert_eq!(self.real.subscribed_runs(), self.model.subscribed_runs());
        for run in RUNS {
            assert_eq!(self.real.is_open(run), self.model.claim(run) == Claim::Open);
            assert_eq!(self.real.terminal(run).as_deref(), self.model.terminal(run).map(String::as_bytes));
        }
        for reader in 0..self.readers.len() {
            let (waiting, model) = (&self.readers[reader], &self.model.readers[reader]);
            assert_eq!(waiting.real.unread(), self.model.unread(model));
            assert_eq!(waiting.real.last_event_id().seq, model.next - 1);
            assert_eq!(waiting.real.is_ended(), self.model.is_ended(model));
            let has_reason = waiting.real.unread() > 0 || waiting.real.is_ended();
            let is_rung = waiting.port.as_ref().is_some_and(|port| port.take_ready().contains(&waiting.real.key()));
            assert!(is_rung || waiting.port.is_none() || !has_reason, "it waits in vain");
            if is_rung {
                self.disarm(reader);
            }
        }
    }

    /// Read everything, let go of everything: nothing is left.
    fn wind_up(mut self) {
        for run in 0..RUNS.end as u8 {
            self.apply(&Op::Finish(run, false));
        }
        for reader in 0..self.readers.len() {
            while self.model.unread(&self.model.readers[reader]) > 0 {
                self.read(reader);
            }
            self.read(reader);
        }
        self.compare();
        for reader in 0..self.readers.len() {
            self.disarm(reader);
        }
        self.readers.clear();
        let Stats { active_runs, subscribed_runs, subscribers, .. } = self.real.stats();
        assert_eq!((active_runs, subscribed_runs, subscribers), (0, 0, 0));
        drop(self.real);
        assert!(self.payloads.iter().all(|payload| payload.strong_count() == 0));
    }
}

/// An event as the model has it.
fn short(event: &Event) -> String {
    let text = |json: &Payload| String::from_utf8_lossy(json).into_owned();
    match event {
        Event::Message(id, json) => format!("{} {}", id.seq, text(json)),
        Event::Terminal(id, json) => format!("end {} {}", id.seq, text(json)),
        Event::Own(json) => format!("own {}", text(json)),
        Event::Gap(gap) => format!("gap {}-{}", gap.from, gap.to),
    }
}
