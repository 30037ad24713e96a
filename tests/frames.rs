//! Properties of what crosses the wire: a browser's parser reads back whatever was published, and whatever a browser
//! sends as an id is harmless.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::sse::{Dispatched, parse};
use common::{limits, named, payload, proptest_config, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Event, EventId, EventName, Fence, Gap, RunId, RunIdRef, RunManager, Seq, Start};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Number, Value};

/// Texts made of what has a meaning in an event stream, in JSON or in Unicode, and of anything else.
fn any_text() -> impl Strategy<Value = String> {
    let meaningful = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "\0",
        ":",
        " ",
        "data: ",
        "id: 1",
        "event: complete",
        "retry: 0",
        "\"",
        "\\",
        "/",
        "\u{feff}",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\u{b}",
        "\u{c}",
        "\u{7f}",
        "\u{fffd}",
        "\u{1f4d6}",
        "用語集",
        "e\u{301}",
    ]);
    vec(prop_oneof![meaningful.prop_map(str::to_owned), any::<char>().prop_map(String::from)], 0..12)
        .prop_map(|parts| parts.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|float| Number::from_f64(float).map_or(Value::Null, Value::Number)),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map(any_text(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_json_text() -> impl Strategy<Value = String> {
    btree_map(any_text(), any_json(), 0..6).prop_map(|map| Value::Object(map.into_iter().collect()).to_string())
}

/// A text without control characters, of 1 to `most` characters.
fn any_line(most: usize) -> impl Strategy<Value = String> {
    let line = move |text: String| text.chars().filter(|char| !char.is_control()).take(most).collect::<String>();
    any_text().prop_map(line).prop_filter("an empty text", |line| !line.is_empty())
}

fn any_run_id() -> impl Strategy<Value = RunId> {
    prop_oneof![any::<i64>().prop_map(RunId::Int), any_line(200).prop_map(|text| RunIdRef::of_text(&text).into())]
}

/// A name for an event: at most 63 characters, so it fits into 255 bytes.
fn any_name() -> impl Strategy<Value = String> {
    any_line(63).prop_filter("a name that is taken", |name| EventName::try_from(name.as_str()).is_ok())
}

/// The one event that the frame of `event` is to a browser.
fn dispatched(event: &Event, run_id: &RunId) -> Dispatched {
    let mut frame = Vec::new();
    event.write_frame(run_id, &mut frame);
    let [only] = parse(&frame).unwrap().try_into().unwrap();
    only
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn an_id_is_read_back(fence: u64, seq: u64) {
        let id = EventId { fence: Fence(fence), seq: Seq(seq) };
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(Start::parse(Some(&id.to_string())), Start::After(Some(id)));
    }

    /// An id has one form, leading zeros aside.
    #[test]
    fn what_is_read_as_an_id_has_its_form(text in "[0-9+-]{0,24}|\\PC{0,8}|[0-9]{1,21}-[0-9]{1,21}") {
        if let Ok(id) = text.parse::<EventId>() {
            let (fence, seq) = text.split_once('-').unwrap();
            let plain = |digits: &str| {
                let shorter = digits.trim_start_matches('0');
                if shorter.is_empty() { "0".to_owned() } else { shorter.to_owned() }
            };
            prop_assert_eq!(id.to_string(), format!("{}-{}", plain(fence), plain(seq)));
        }
    }

    /// A browser gets neither an error nor silence: it gets everything, or what comes after its id.
    #[test]
    fn any_last_event_id_is_a_start(text in any_text()) {
        let manager = RunManager::new(limits(10, 1 << 20, 1, 1 << 20));
        manager.open(Int(1)).unwrap();
        manager.publish(Int(1), payload("{}")).unwrap();
        let reader = subscribe(&manager, 1, Start::parse(Some(&text)));
        prop_assert_eq!(reader.unread(), 1);
    }

    #[test]
    fn a_browser_reads_what_was_published(run_id in any_run_id(), fence: u64, seq: u64, json in any_json_text()) {
        let id = EventId { fence: Fence(fence), seq: Seq(seq) };
        let last_event_id = id.to_string();
        let shared = payload(&json);
        prop_assert_eq!(
            dispatched(&Event::Message(id, shared.clone()), &run_id),
            Dispatched { kind: "message".to_owned(), data: json.clone(), last_event_id: last_event_id.clone() }
        );
        prop_assert_eq!(
            dispatched(&Event::Terminal(id, shared.clone()), &run_id),
            Dispatched { kind: "complete".to_owned(), data: json.clone(), last_event_id }
        );
        prop_assert_eq!(
            dispatched(&Event::Private(shared), &run_id),
            Dispatched { kind: "message".to_owned(), data: json, last_event_id: String::new() }
        );
    }

    #[test]
    fn a_browser_reads_the_name_of_an_event(run_id in any_run_id(), fence: u64, seq: u64, name in any_name(), json in any_json_text()) {
        let id = EventId { fence: Fence(fence), seq: Seq(seq) };
        let payload = named(&name, &json);
        prop_assert_eq!(payload.name(), Some(name.as_str()));
        prop_assert_eq!(payload.json(), json.as_bytes());
        prop_assert_eq!(
            dispatched(&Event::Message(id, payload), &run_id),
            Dispatched { kind: name, data: json, last_event_id: id.to_string() }
        );
    }

    #[test]
    fn a_browser_reads_what_was_missed(run_id in any_run_id(), from in 1..u64::MAX, more: u64) {
        let gap = Gap { from: Seq(from), to: Seq(from.saturating_add(more)) };
        let event = dispatched(&Event::Gap(gap), &run_id);
        prop_assert_eq!((event.kind.as_str(), event.last_event_id.as_str()), ("gap", ""));
        let data: Value = serde_json::from_str(&event.data).unwrap();
        let in_json = match &run_id {
            RunId::Int(number) => Value::from(*number),
            RunId::Text(text) => Value::from(&**text),
        };
        prop_assert_eq!(&data["run_id"], &in_json);
        prop_assert_eq!(data["level"].as_str(), Some("warning"));
        let number = |name: &str| data["gap"][name].as_u64();
        prop_assert_eq!((number("from"), number("to"), number("missed")), (Some(gap.from.0), Some(gap.to.0), Some(gap.missed())));
        let missed = data["message"].as_str().unwrap().split(' ').next().unwrap();
        prop_assert_eq!(missed.parse(), Ok(gap.missed()));
    }

    #[test]
    fn a_browser_reads_a_whole_run(
        run_id in any_run_id(),
        events in vec((option::of(any_name()), any_json_text()), 1..8),
        limit in 1..2000_usize,
    ) {
        let manager = RunManager::new(limits(100, 1 << 30, 1, 1 << 30));
        let reader = subscribe(&manager, run_id.as_ref(), Start::Newest);
        for (name, json) in &events {
            let payload = name.as_ref().map_or_else(|| payload(json), |name| named(name, json));
            manager.publish(run_id.as_ref(), payload).unwrap();
        }
        manager.finish(run_id.as_ref(), payload("{}"), false);
        let mut stream = Vec::new();
        while let Ok(chunk) = reader.try_next_chunk(limit) {
            prop_assert!(chunk.frames.len() <= limit || parse(&chunk.frames).unwrap().len() == 1);
            stream.extend_from_slice(&chunk.frames);
        }
        let mut got = parse(&stream).unwrap();
        prop_assert_eq!(got.pop().unwrap().kind, "complete");
        let got: Vec<(String, String)> = got.into_iter().map(|event| (event.kind, event.data)).collect();
        let kind = |name: Option<String>| name.unwrap_or_else(|| "message".to_owned());
        let published: Vec<(String, String)> = events.into_iter().map(|(name, json)| (kind(name), json)).collect();
        prop_assert_eq!(got, published);
    }
}

#[test]
fn the_parser_is_one() {
    let event = |kind: &str, data: &str, id: &str| Dispatched {
        kind: kind.to_owned(),
        data: data.to_owned(),
        last_event_id: id.to_owned(),
    };
    let stream = "\u{feff}: hello\ndata: a\rdata:b\r\n\r\nid: 7\nevent: x\ndata\n\ndata:  c\n\n";
    assert_eq!(
        parse(stream.as_bytes()).unwrap(),
        [event("message", "a\nb", ""), event("x", "", "7"), event("message", " c", "7")]
    );
    for broken in ["data: a", "data: a\n", "id: 1\n\n", "nonsense\n\n", "id: \0\ndata: a\n\n", "event: x\n"] {
        assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
    }
    assert!(parse(b"data: \xff\n\n").is_err());
}
