//! The whole manager beside a model of it: whatever is done to both in any order, they say the same, nobody waits while
//! there is something to read, and at the end nothing is left.

#![no_main]

#[path = "../../common/memory.rs"]
mod memory;
#[path = "../../common/model.rs"]
mod model;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::subscription::Waiting;
use genglossary_runs::core::{
    Error, Event, EventId, EventName, Fence, Limits, NotReady, Payload, Port, RunId, RunIdRef, RunManager, Seq, Start,
    Stats, Subscription,
};
use libfuzzer_sys::fuzz_target;
use memory::Watch;
use model::{Claim, Model, Published, Reader};

/// The runs: an integer, and texts.
const RUNS: [&str; 3] = ["1", "01", "a \"run\""];
/// The name of the events that have one.
const NAME: &str = "step";
/// How many private messages a reader may have.
const PRIVATE: usize = 3;
/// How many payloads are watched: enough to see that none is kept, and few enough to be fast.
const WATCHED: usize = 256;

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
    /// With a name, or without.
    Publish(u8, bool, u8),
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
    /// After that seq of that life of any run.
    Event(u8, u8),
}

/// The manager and the model.
struct Pair {
    real: RunManager,
    model: Model,
    /// The same readers as the model's.
    readers: Vec<Loop>,
    words: usize,
    payloads: Vec<Watch>,
}

/// A reader, and the port that is to be woken if it waits.
struct Loop {
    real: Arc<Subscription>,
    armed: Option<(Arc<Port>, Waiting<Arc<Subscription>>)>,
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
    let mut pair = Pair { real, model, readers: Vec::new(), words: 0, payloads: Vec::new() };
    for op in &input.ops {
        pair.apply(op);
        pair.compare();
    }
    pair.wind_up();
});

fn run(number: u8) -> RunIdRef<'static> {
    RunIdRef::of_text(RUNS[usize::from(number) % RUNS.len()])
}

impl Pair {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Open(number) => {
                let (run, id) = (run(number), RunId::from(run(number)));
                let opened = self.real.open(run).map(drop);
                assert_eq!(opened, self.model.open(&id).then_some(()).ok_or(Error::RunActive(id)));
            }
            Op::Reserve(number) => {
                self.model.reserve(&run(number).into());
                let reserved = self.real.reserve(run(number)).key();
                assert_eq!(self.real.cancel_event(run(number)).map(|event| event.key()), Some(reserved));
            }
            Op::Abandon(number) => {
                assert_eq!(self.real.abandon(run(number)), self.model.abandon(&run(number).into()));
            }
            Op::Publish(number, named, length) => self.publish(run(number), named, usize::from(length)),
            Op::Finish(number, unless_open) => {
                let (payload, word) = self.word(None, 4);
                let finished = self.real.finish(run(number), payload, unless_open);
                assert_eq!(finished, self.model.finish(&run(number).into(), word, unless_open));
            }
            Op::Cancel(number) => {
                let cancelled = self.real.cancel(run(number));
                assert_eq!(cancelled, self.model.claim(&run(number).into()) != Claim::None);
            }
            Op::Subscribe(number, ref from, must_exist) => {
                let start = self.start(from);
                self.subscribe(run(number), start, must_exist);
            }
            _ if self.readers.is_empty() => {}
            Op::Resume(number) => {
                let reader = self.readers[self.reader(number)].real.clone();
                self.subscribe(reader.run_id().as_ref(), Start::After(Some(reader.last_event_id())), false);
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
    fn word(&mut self, name: Option<&'static str>, length: usize) -> (Payload, String) {
        let letter = (b'a' + (self.words % 26) as u8) as char;
        self.words += 1;
        let word = letter.to_string().repeat(length.max(1));
        let name = name.map(|name| EventName::try_from(name).expect("a valid name"));
        let payload = Payload::new(name, word.as_bytes());
        if self.payloads.len() < WATCHED {
            self.payloads.push(Watch::new(&payload));
        }
        (payload, word)
    }

    fn publish(&mut self, run: RunIdRef<'_>, named: bool, length: usize) {
        let name = named.then_some(NAME);
        let (payload, json) = self.word(name, length);
        match (self.real.publish(run, payload), self.model.publish(&run.into(), Published { name, json })) {
            (Some(id), Some((seq, life))) => {
                assert_eq!(id, EventId { fence: *life.fence.get_or_insert(id.fence), seq: Seq(seq) });
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
                let fences: Vec<Fence> = self.model.lives.iter().filter_map(|life| life.fence).collect();
                let fence = fences.get(usize::from(life) % fences.len().max(1)).copied().unwrap_or(Fence(0));
                Start::After(Some(EventId { fence, seq: Seq(u64::from(seq)) }))
            }
        }
    }

    fn subscribe(&mut self, run: RunIdRef<'_>, start: Start, must_exist: bool) {
        let id = RunId::from(run);
        let real = match self.real.subscribe(run, start, must_exist) {
            Ok(real) => real,
            Err(refused) => {
                assert_eq!(self.model.life_to_read(&id, must_exist), None);
                return assert_eq!(refused, Error::UnknownRun(id));
            }
        };
        let life = self.model.life_to_read(&id, must_exist).expect("the manager knows it");
        let known = &mut self.model.lives[life];
        let fence = *known.fence.get_or_insert(real.last_event_id().fence);
        let next = match start {
            Start::Newest if known.finished => known.last(),
            Start::Newest => known.last() + 1,
            Start::After(Some(id)) if id.fence == fence && id.seq.0 <= known.last() => id.seq.0 + 1,
            Start::After(_) => 1,
        };
        assert_eq!(real.last_event_id(), EventId { fence, seq: Seq(next - 1) });
        self.model.readers.push(Reader { life, next, private: VecDeque::new(), closed: false });
        self.readers.push(Loop { real: Arc::new(real), armed: None });
    }

    fn read(&mut self, reader: usize) {
        match self.readers[reader].real.try_next() {
            Ok(event) => {
                assert_eq!(self.readers[reader].real.last_event_name().as_deref(), event.name());
                assert_eq!(Ok(short(&event)), self.model.read(reader));
            }
            Err(none) => assert_eq!(Err(matches!(none, NotReady::Pending(_))), self.model.read(reader)),
        }
    }

    /// What the frames of a chunk say is fuzzed elsewhere; here it is how far they bring a reader.
    fn read_chunk(&mut self, reader: usize, limit: usize) {
        let real = &self.readers[reader].real;
        let Err(none) = real.try_next_chunk(limit) else {
            let reached = (real.last_event_id().seq.0 + 1, real.unread());
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
        let (payload, word) = self.word(None, 2);
        let put = self.readers[reader].real.put(payload, PRIVATE);
        let model = &mut self.model.readers[reader];
        if model.closed || model.private.len() < PRIVATE {
            assert_eq!(put, Ok(()));
        } else {
            return assert_eq!(put, Err(Error::Full(PRIVATE)));
        }
        if !model.closed {
            model.private.push_back((self.model.lives[model.life].last(), word));
        }
    }

    fn arm(&mut self, reader: usize) {
        self.disarm(reader);
        if self.model.unread(&self.model.readers[reader]) > 0 {
            return;
        }
        let Loop { real, armed } = &mut self.readers[reader];
        match real.try_next() {
            Err(NotReady::Pending(epoch)) => {
                let port = Arc::new(Port::new(Box::new(|| {})));
                let waiting = Subscription::arm(real.clone(), epoch, &port).expect("nothing has changed");
                *armed = Some((port, waiting));
            }
            Err(NotReady::Ended) => assert!(self.model.is_ended(&self.model.readers[reader])),
            Ok(event) => panic!("the model has no {}", short(&event)),
        }
    }

    fn disarm(&mut self, reader: usize) {
        self.readers[reader].armed = None;
    }

    /// What the manager says of itself is what the model says.
    fn compare(&mut self) {
        assert_eq!(self.real.stats(), self.model.stats());
        assert_eq!(self.real.claimed_runs(), self.model.runs_with(|_, claim| claim != Claim::None));
        assert_eq!(self.real.subscribed_runs(), self.model.subscribed_runs());
        for run in RUNS.map(RunIdRef::of_text) {
            let id = RunId::from(run);
            assert_eq!(self.real.is_open(run), self.model.claim(&id) == Claim::Open);
            assert_eq!(self.real.terminal(run).as_deref(), self.model.terminal(&id).map(String::as_bytes));
        }
        for reader in 0..self.readers.len() {
            let (Loop { real, armed }, model) = (&self.readers[reader], &self.model.readers[reader]);
            assert_eq!(real.unread(), self.model.unread(model));
            assert_eq!(real.last_event_id().seq, Seq(model.next - 1));
            assert_eq!(real.is_ended(), self.model.is_ended(model));
            let has_reason = real.unread() > 0 || real.is_ended();
            let is_woken = armed.as_ref().is_some_and(|(port, _)| port.take_ready().contains(&real.key()));
            assert!(is_woken || armed.is_none() || !has_reason, "it waits in vain");
            if is_woken {
                self.disarm(reader);
            }
        }
    }

    /// Read everything, drop everything: nothing is left.
    fn wind_up(mut self) {
        for run in 0..RUNS.len() as u8 {
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
        assert!(self.payloads.iter().all(Watch::is_freed));
    }
}

/// An event as the model has it.
fn short(event: &Event) -> String {
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
