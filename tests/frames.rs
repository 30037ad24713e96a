//! Properties of what crosses the wire: whatever is published, a browser's parser reads it back; whatever a browser
//! sends as an id, it is read without harm.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::sse::{Dispatched, parse};
use common::{limits, payload, proptest_config, subscribe};
use genglossary_runs::core::{Event, EventId, Gap, RunManager, Start};
use proptest::collection::{btree_map, vec};
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

/// The one event that the frame of `event` is to a browser.
fn dispatched(event: &Event, run_id: i64) -> Dispatched {
    let mut frame = Vec::new();
    event.write_frame(run_id, &mut frame);
    let [only] = parse(&frame).unwrap().try_into().unwrap();
    only
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn an_id_is_read_back(fence: u64, seq: u64) {
        let id = EventId { fence, seq };
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

    /// Neither an error to a browser, nor silence: it gets everything, or what comes after its id.
    #[test]
    fn any_last_event_id_is_a_start(text in any_text()) {
        let manager = RunManager::new(limits(10, 1 << 20, 1, 1 << 20));
        manager.open(1).unwrap();
        manager.publish(1, payload("{}")).unwrap();
        let reader = subscribe(&manager, 1, Start::parse(Some(&text)));
        prop_assert_eq!(reader.unread(), 1);
    }

    #[test]
    fn a_browser_reads_what_was_published(run_id: i64, fence: u64, seq: u64, json in any_json_text()) {
        let id = EventId { fence, seq };
        let last_event_id = id.to_string();
        let shared = payload(&json);
        prop_assert_eq!(
            dispatched(&Event::Message(id, shared.clone()), run_id),
            Dispatched { kind: "message".to_owned(), data: json.clone(), last_event_id: last_event_id.clone() }
        );
        prop_assert_eq!(
            dispatched(&Event::Terminal(id, shared.clone()), run_id),
            Dispatched { kind: "complete".to_owned(), data: json.clone(), last_event_id }
        );
        prop_assert_eq!(
            dispatched(&Event::Own(shared), run_id),
            Dispatched { kind: "message".to_owned(), data: json, last_event_id: String::new() }
        );
    }

    #[test]
    fn a_browser_reads_what_was_missed(run_id: i64, from in 1..u64::MAX, more: u64) {
        let gap = Gap { from, to: from.saturating_add(more) };
        let event = dispatched(&Event::Gap(gap), run_id);
        prop_assert_eq!((event.kind.as_str(), event.last_event_id.as_str()), ("gap", ""));
        let data: Value = serde_json::from_str(&event.data).unwrap();
        prop_assert_eq!(data["run_id"].as_i64(), Some(run_id));
        prop_assert_eq!(data["level"].as_str(), Some("warning"));
        let number = |name: &str| data["gap"][name].as_u64();
        prop_assert_eq!((number("from"), number("to"), number("missed")), (Some(gap.from), Some(gap.to), Some(gap.missed())));
        let missed = data["message"].as_str().unwrap().split(' ').next().unwrap();
        prop_assert_eq!(missed.parse(), Ok(gap.missed()));
    }

    #[test]
    fn a_browser_reads_a_whole_run(events in vec(any_json_text(), 1..8), limit in 1..2000_usize) {
        let manager = RunManager::new(limits(100, 1 << 30, 1, 1 << 30));
        let reader = subscribe(&manager, 1, Start::Newest);
        for event in &events {
            manager.publish(1, payload(event)).unwrap();
        }
        manager.finish(1, payload("{}"), false);
        let mut stream = Vec::new();
        while let Ok(chunk) = reader.try_next_chunk(limit) {
            stream.extend_from_slice(&chunk.frames);
        }
        let mut got = parse(&stream).unwrap();
        prop_assert_eq!(got.pop().unwrap().kind, "complete");
        let got: Vec<String> = got.into_iter().map(|event| event.data).collect();
        prop_assert_eq!(got, events);
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
