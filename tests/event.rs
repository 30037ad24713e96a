//! Event ids, and the two forms of an event: JSON and a server-sent event.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::borrow::Cow;

use common::payload;
use genglossary_runs::core::id::NotAnEventId;
use genglossary_runs::core::{Event, EventId, Fence, Gap, RunId, Seq, Start};
use serde_json::{Value, json};

const ID: EventId = EventId { fence: Fence(1_700_000_000_000), seq: Seq(42) };

fn frame(event: &Event, run_id: i64) -> String {
    let mut out = Vec::new();
    event.write_frame(&RunId::Int(run_id), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_id_is_written_as_fence_and_seq() {
    assert_eq!(ID.to_string(), "1700000000000-42");
    assert_eq!("1700000000000-42".parse(), Ok(ID));
}

#[test]
fn the_largest_id_can_be_read() {
    let largest = EventId { fence: Fence(u64::MAX), seq: Seq(u64::MAX) };
    assert_eq!(largest.to_string().parse(), Ok(largest));
    assert_eq!(largest.to_string().len(), EventId::MAX_LEN);
}

#[test]
fn what_is_no_id_is_refused() {
    for text in [
        "",
        "-",
        "0",
        "7",
        "7-",
        "-7",
        "7-8-9",
        "7--8",
        "+7-8",
        "7-+8",
        " 7-8",
        "7-8 ",
        "7-8\n",
        "7.0-8",
        "0x7-8",
        "٧-٨",
        "18446744073709551616-1",
        "1-18446744073709551616",
        "fence-seq",
    ] {
        assert_eq!(text.parse::<EventId>(), Err(NotAnEventId), "{text:?}");
    }
}

#[test]
fn a_wish_that_is_no_id_means_the_beginning_and_none_the_newest() {
    assert_eq!(Start::parse(None), Start::Newest);
    assert_eq!(Start::parse(Some("1700000000000-42")), Start::After(Some(ID)));
    assert_eq!(Start::parse(Some("0")), Start::After(None));
    assert_eq!(Start::parse(Some("")), Start::After(None));
}

#[test]
fn a_message_keeps_its_json() {
    let json = payload(r#"{"message":"用語"}"#);
    for event in [Event::Message(ID, json.clone()), Event::Terminal(ID, json.clone()), Event::Private(json)] {
        assert!(
            matches!(event.json(&RunId::Int(7)), Cow::Borrowed(json) if json == r#"{"message":"用語"}"#.as_bytes())
        );
    }
}

#[test]
fn a_gap_is_a_warning_that_a_log_view_can_show() {
    let gap = Event::Gap(Gap { from: Seq(3), to: Seq(7) });
    let dict: Value = serde_json::from_slice(&gap.json(&RunId::Int(-7))).unwrap();
    assert_eq!(
        dict,
        json!({
            "run_id": -7,
            "level": "warning",
            "message": "5 log messages were dropped",
            "gap": {"from": 3, "to": 7, "missed": 5},
        })
    );
}

#[test]
fn a_gap_of_one_is_in_the_singular() {
    let gap = Gap { from: Seq(3), to: Seq(3) };
    assert_eq!(gap.missed(), 1);
    let dict: Value = serde_json::from_slice(&Event::Gap(gap).json(&RunId::Int(7))).unwrap();
    assert_eq!(dict["message"], "1 log message was dropped");
}

#[test]
fn each_kind_has_its_frame() {
    let json = payload(r#"{"a":1}"#);
    assert_eq!(frame(&Event::Message(ID, json.clone()), 7), "id: 1700000000000-42\ndata: {\"a\":1}\n\n");
    assert_eq!(
        frame(&Event::Terminal(ID, json.clone()), 7),
        "id: 1700000000000-42\nevent: complete\ndata: {\"a\":1}\n\n"
    );
    assert_eq!(frame(&Event::Private(json), 7), "data: {\"a\":1}\n\n");
    let gap = Event::Gap(Gap { from: Seq(1), to: Seq(2) });
    let data = String::from_utf8(gap.json(&RunId::Int(7)).into_owned()).unwrap();
    assert_eq!(frame(&gap, 7), format!("event: gap\ndata: {data}\n\n"));
}

#[test]
fn frames_are_appended() {
    let mut out = b": hello\n\n".to_vec();
    Event::Private(payload("{}")).write_frame(&RunId::Int(7), &mut out);
    assert_eq!(out, b": hello\n\ndata: {}\n\n");
}
