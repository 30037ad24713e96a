//! Named events: the SSE field `event:` of what a run publishes.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::sse::parse;
use common::{BEGINNING, event_name, limits, manager, named, payload, publish, read, short, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::event::{InvalidEventName, MAX_EVENT_NAME};
use genglossary_runs::core::frame::{event_bound, gap_bound};
use genglossary_runs::core::{
    Event, EventId, EventName, Fence, Gap, Payload, RunId, RunManager, Seq, Start, Subscription,
};

const ID: EventId = EventId { fence: Fence(1_700_000_000_000), seq: Seq(42) };
const LONGEST_ID: EventId = EventId { fence: Fence(u64::MAX), seq: Seq(u64::MAX) };

fn frame(event: &Event, run_id: &RunId) -> String {
    let mut out = Vec::new();
    event.write_frame(run_id, &mut out);
    String::from_utf8(out).unwrap()
}

fn name(reader: &Subscription) -> Option<String> {
    reader.last_event_name().map(String::from)
}

#[test]
fn a_name_has_one_to_255_bytes() {
    assert_eq!(MAX_EVENT_NAME, 255);
    let (ascii, wide) = ("x".repeat(255), format!("{}x", "é".repeat(127)));
    for valid in ["x", " ", ":", "message", "Gap", "gap ", "completed", "用語", "\u{2028}", &ascii, &wide] {
        assert!(EventName::try_from(valid).is_ok(), "{valid:?}");
    }
    for invalid in ["", &"x".repeat(256), &"é".repeat(128), &"x".repeat(100_000)] {
        assert_eq!(EventName::try_from(invalid), Err(InvalidEventName::Length), "{} bytes", invalid.len());
    }
}

#[test]
fn a_name_has_no_line_ends_or_control_characters() {
    for invalid in ["\n", "a\nb", "a\r", "\r\n", "\0", "a\tb", "\u{7f}", "a\u{85}"] {
        assert_eq!(EventName::try_from(invalid), Err(InvalidEventName::ControlCharacter), "{invalid:?}");
    }
}

#[test]
fn the_names_that_the_log_gives_are_taken() {
    for taken in ["gap", "complete"] {
        assert_eq!(EventName::try_from(taken), Err(InvalidEventName::Taken));
    }
}

#[test]
fn an_invalid_name_says_what_is_wrong() {
    assert_eq!(InvalidEventName::Length.to_string(), "an event's name must have 1 to 255 bytes of UTF-8");
    assert_eq!(
        InvalidEventName::ControlCharacter.to_string(),
        "an event's name cannot contain line ends or control characters"
    );
    assert_eq!(
        InvalidEventName::Taken.to_string(),
        "the event names 'gap' and 'complete' are reserved; choose another name"
    );
}

#[test]
fn a_payload_has_its_name_and_its_json() {
    let longest = "x".repeat(255);
    for name in ["x", "用語", &longest] {
        let payload = named(name, r#"{"a":1}"#);
        assert_eq!((payload.name(), payload.json()), (Some(name), br#"{"a":1}"#.as_slice()));
        assert_eq!(&*payload, payload.json());
        assert_eq!(payload.encoded_len(), 1 + name.len() + 7);
    }
    let unnamed = payload(r#"{"a":1}"#);
    assert_eq!((unnamed.name(), unnamed.json(), unnamed.encoded_len()), (None, br#"{"a":1}"#.as_slice(), 8));
    assert_eq!((payload("").name(), payload("").json()), (None, b"".as_slice()));
}

#[test]
fn a_payload_that_is_written_in_steps_is_the_same() {
    for name in [None, Some(event_name("step"))] {
        let mut encoded = Vec::new();
        Payload::begin(name, &mut encoded);
        encoded.extend_from_slice(b"{\"a\"");
        encoded.extend_from_slice(b":1}");
        let (in_steps, at_once) = (Payload::share(&encoded), Payload::new(name, b"{\"a\":1}"));
        assert_eq!((in_steps.name(), in_steps.json()), (at_once.name(), at_once.json()));
        assert_eq!(in_steps.encoded_len(), at_once.encoded_len());
    }
}

#[test]
fn a_message_with_a_name_has_the_field_event() {
    let run_id = RunId::Int(7);
    let json = r#"{"a":1}"#;
    let message = Event::Message(ID, named("step", json));
    assert_eq!(message.name(), Some("step"));
    assert_eq!(frame(&message, &run_id), "id: 1700000000000-42\nevent: step\ndata: {\"a\":1}\n\n");
    let unnamed = Event::Message(ID, payload(json));
    assert_eq!(unnamed.name(), None);
    assert_eq!(frame(&unnamed, &run_id), "id: 1700000000000-42\ndata: {\"a\":1}\n\n");
    assert_eq!(message.json(&run_id), unnamed.json(&run_id));
}

/// A page tells these apart by the names that the log gives.
#[test]
fn only_a_message_has_a_name_of_its_own() {
    let run_id = RunId::Int(7);
    let payload = named("step", "{}");
    let others = [
        (Event::Terminal(ID, payload.clone()), Some("complete"), "id: 1700000000000-42\nevent: complete\ndata: {}\n\n"),
        (Event::Private(payload), None, "data: {}\n\n"),
    ];
    for (event, name, expected) in others {
        assert_eq!((event.name(), frame(&event, &run_id).as_str()), (name, expected));
    }
    assert_eq!(Event::Gap(Gap { from: Seq(1), to: Seq(2) }).name(), Some("gap"));
}

#[test]
fn no_frame_is_longer_than_its_bound() {
    let run_ids = [RunId::Int(i64::MIN), RunId::Text("\0".repeat(200).into()), RunId::Text("語".repeat(200).into())];
    let longest = "x".repeat(255);
    for run_id in &run_ids {
        for payload in [payload("{}"), named("x", "{}"), named(&longest, "{}")] {
            let bound = event_bound(&payload);
            for event in [
                Event::Message(LONGEST_ID, payload.clone()),
                Event::Terminal(LONGEST_ID, payload.clone()),
                Event::Private(payload),
            ] {
                assert!(frame(&event, run_id).len() <= bound, "{event:?}");
            }
        }
        let gap = Event::Gap(Gap { from: Seq(1), to: Seq(u64::MAX) });
        assert!(frame(&gap, run_id).len() <= gap_bound(run_id));
    }
}

#[test]
fn a_reader_gets_names_with_their_events() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.publish(Int(1), named("step", "a")).unwrap();
    publish(&manager, 1, &["b"]);
    manager.publish(Int(1), named("用語", "c")).unwrap();
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(read(&reader), ["1 step: a", "2 b", "3 用語: c", "end 4 done"]);
    let kinds = |stream: &[u8]| parse(stream).unwrap().into_iter().map(|event| event.kind).collect::<Vec<_>>();
    let chunk = subscribe(&manager, 1, BEGINNING).try_next_chunk(1 << 20).unwrap_or_else(|none| panic!("{none:?}"));
    assert_eq!(kinds(&chunk.frames), ["step", "message", "用語", "complete"]);
}

#[test]
fn names_count_in_no_seq_and_no_limit() {
    let manager = RunManager::new(limits(100, 6, 10, 1 << 20));
    let reader = subscribe(&manager, 1, Start::Newest);
    let seqs = [
        manager.publish(Int(1), payload("aa")).unwrap().seq,
        manager.publish(Int(1), named("a name longer than the limit", "bb")).unwrap().seq,
        manager.publish(Int(1), named("a name longer than the limit", "cc")).unwrap().seq,
    ];
    assert_eq!(seqs, [Seq(1), Seq(2), Seq(3)]);
    assert_eq!(manager.stats().bytes_held, 6);
    manager.publish(Int(1), named("x", "d")).unwrap();
    assert_eq!(manager.stats().bytes_held, 5);
    let name = "a name longer than the limit";
    assert_eq!(read(&reader), ["gap 1-1", &format!("2 {name}: bb"), &format!("3 {name}: cc"), "4 x: d"]);
}

#[test]
fn a_reader_resumes_after_an_event_with_a_name() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    manager.publish(Int(1), named("step", "a")).unwrap();
    let last = manager.publish(Int(1), named("step", "b")).unwrap();
    publish(&manager, 1, &["c"]);
    assert_eq!((short(&reader.try_next().unwrap()).as_str(), reader.last_event_id().seq), ("1 step: a", Seq(1)));
    assert_eq!(read(&subscribe(&manager, 1, Start::After(Some(last)))), ["3 c"]);
}

#[test]
fn the_last_event_name_is_that_of_the_last_event_read() {
    let manager = manager(3);
    let reader = subscribe(&manager, 1, Start::Newest);
    assert_eq!(name(&reader), None);
    manager.publish(Int(1), named("first", "a")).unwrap();
    manager.publish(Int(1), named("second", "b")).unwrap();
    assert_eq!(name(&reader), None, "nothing is read yet");
    for expected in ["first", "second"] {
        reader.try_next().unwrap();
        assert_eq!(name(&reader).as_deref(), Some(expected));
    }
    assert!(reader.try_next().is_err());
    assert_eq!(name(&reader).as_deref(), Some("second"), "there was no event");
    publish(&manager, 1, &["c"]);
    reader.try_next().unwrap();
    assert_eq!(name(&reader), None);
}

#[test]
fn private_messages_gaps_and_the_terminal_event_are_told_apart_by_the_last_name() {
    let manager = manager(1);
    let reader = subscribe(&manager, 1, Start::Newest);
    let read_a_name = || {
        manager.publish(Int(1), named("step", "a")).unwrap();
        while reader.try_next().is_ok() {}
        assert_eq!(name(&reader).as_deref(), Some("step"));
    };
    read_a_name();
    reader.put(named("step", "x"), 1).unwrap();
    assert_eq!(short(&reader.try_next().unwrap()), "private step: x");
    assert_eq!(name(&reader), None);
    read_a_name();
    publish(&manager, 1, &["b", "c"]);
    assert_eq!(short(&reader.try_next().unwrap()), "gap 3-3");
    assert_eq!(name(&reader).as_deref(), Some("gap"));
    read_a_name();
    manager.finish(Int(1), named("step", "done"), false);
    assert_eq!(short(&reader.try_next().unwrap()), "end 6 step: done");
    assert_eq!(name(&reader).as_deref(), Some("complete"));
}
