//! The frame writer: what a browser's parser reads back is what was published.

#![no_main]

#[path = "../../common/sse.rs"]
mod sse;

use std::time::Duration;

use arbitrary::Arbitrary;
use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::{
    Event, EventName, Limits, NotReady, Payload, RunId, RunIdRef, RunManager, Start, Subscription,
};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use sse::{Dispatched, parse};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    /// A name, if it is a valid one, and a message.
    Publish(&'a str, &'a str),
    /// Give the readers a private message.
    Put(&'a str),
    /// Read chunks of so many bytes at most until there is nothing more.
    Read(u16),
}

#[derive(Debug, Arbitrary)]
enum Id<'a> {
    Int(i64),
    Text(&'a str),
}

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    run_id: Id<'a>,
    history: u8,
    steps: Vec<Step<'a>>,
}

fuzz_target!(|input: Input<'_>| {
    let run_id = match input.run_id {
        Id::Int(number) => RunIdRef::Int(number),
        Id::Text(text) => RunIdRef::of_text(text),
    };
    if run_id.check().is_err() {
        return;
    }
    let manager = RunManager::new(Limits {
        log: LogLimits { events: usize::from(input.history) + 1, bytes: 1 << 20 },
        retention: RetentionLimits { runs: 1, bytes: 1 << 20, age: Duration::from_secs(60) },
    });
    // One reads frames, as a browser does; the other the same events as they are.
    let reader = || manager.subscribe(run_id, Start::Newest, false).expect("a run that need not exist");
    let (browser, witness) = (reader(), reader());
    let mut stream = Vec::new();
    let mut told = Told::default();
    for step in &input.steps {
        match step {
            Step::Publish(name, text) => drop(manager.publish(run_id, json(EventName::try_from(*name).ok(), text))),
            Step::Put(text) => {
                for reader in [&browser, &witness] {
                    reader.put(json(None, text), usize::MAX).expect("there is no bound");
                }
            }
            Step::Read(limit) => read(&browser, &witness, usize::from(*limit), &mut stream, &mut told),
        }
    }
    assert!(manager.finish(run_id, json(None, r#"{"complete":true}"#), false));
    read(&browser, &witness, usize::from(u16::MAX), &mut stream, &mut told);
    assert_eq!(browser.try_next_chunk(1).err(), Some(NotReady::Ended));
    assert_eq!(parse(&stream), Ok(told.events));
});

/// A JSON text of one line as the binding writes them: the fuzzer's own if it has found one, else a message of its words.
fn json(name: Option<EventName<'_>>, text: &str) -> Payload {
    let is_one = !text.contains(['\n', '\r']) && serde_json::from_str::<IgnoredAny>(text).is_ok();
    if is_one {
        return Payload::new(name, text.as_bytes());
    }
    Payload::new(name, serde_json::json!({ "message": text }).to_string().as_bytes())
}

/// Read all there is, as frames into `stream` and as events into `told`.
fn read(browser: &Subscription, witness: &Subscription, limit: usize, stream: &mut Vec<u8>, told: &mut Told) {
    while let Ok(chunk) = browser.try_next_chunk(limit) {
        let events = parse(&chunk.frames).expect("a chunk is made of whole frames").len();
        assert!(events == 1 || chunk.frames.len() <= limit);
        stream.extend_from_slice(&chunk.frames);
        for _ in 0..events {
            told.note(&witness.try_next().expect("as many events as frames"), witness.run_id());
        }
        assert_eq!(witness.last_event_id(), browser.last_event_id());
    }
    assert_eq!(witness.unread(), 0);
}

/// What a browser should have dispatched.
#[derive(Default)]
struct Told {
    events: Vec<Dispatched>,
    last_event_id: String,
}

impl Told {
    fn note(&mut self, event: &Event, run_id: &RunId) {
        let kind = match event {
            Event::Message(..) | Event::Private(_) => event.name().unwrap_or("message"),
            Event::Terminal(..) => "complete",
            Event::Gap(_) => "gap",
        };
        if let Event::Message(id, _) | Event::Terminal(id, _) = event {
            self.last_event_id = id.to_string();
        }
        let data = String::from_utf8(event.json(run_id).into_owned()).expect("JSON is UTF-8");
        self.events.push(Dispatched { kind: kind.to_owned(), data, last_event_id: self.last_event_id.clone() });
    }
}
