//! Run ids: integers and texts, of which the decimal form of an integer is the integer.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use common::{manager, payload, proptest_config};
use genglossary_runs::core::id::{InvalidRunId, MAX_RUN_ID};
use genglossary_runs::core::{RunId, RunIdRef};
use hashbrown::{Equivalent, HashMap};
use proptest::prelude::*;
use serde_json::Value;

use RunIdRef::{Int, Text};

/// Texts that resemble integers, and any other.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[+-]{0,2}0{0,2}[0-9]{0,20}", "[ 0-9٠-٩.eE_-]{0,6}", any::<String>()]
}

fn json(id: &RunId) -> String {
    let mut out = Vec::new();
    id.write_json(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_canonical_decimal_is_an_integer() {
    let integers = [
        ("0", 0),
        ("17", 17),
        ("-5", -5),
        ("10", 10),
        ("-100", -100),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ];
    for (text, number) in integers {
        assert_eq!(RunIdRef::of_text(text), Int(number), "{text:?}");
    }
}

#[test]
fn any_other_text_is_a_text() {
    let texts = [
        "",
        "-",
        "--5",
        "-0",
        "00",
        "-00",
        "017",
        "-017",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1.0",
        "1e3",
        "1_000",
        "0x1f",
        "\u{2212}1",
        "\u{661}",
        "\u{ff11}",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "run",
        "用語集",
    ];
    for text in texts {
        assert_eq!(RunIdRef::of_text(text), Text(text), "{text:?}");
    }
}

#[test]
fn a_run_id_has_one_to_200_characters() {
    assert_eq!(MAX_RUN_ID, 200);
    assert_eq!(Text("").check(), Err(InvalidRunId::Empty));
    for character in ["x", "é", "語", "📖"] {
        let (longest, too_long) = (character.repeat(200), character.repeat(201));
        assert_eq!(Text(character).check(), Ok(Text(character)));
        assert_eq!(Text(&longest).check(), Ok(Text(&longest)));
        assert_eq!(Text(&too_long).check(), Err(InvalidRunId::TooLong), "{character}");
    }
    for number in [0, i64::MIN, i64::MAX] {
        assert_eq!(Int(number).check(), Ok(Int(number)));
    }
}

#[test]
fn a_run_id_has_no_control_characters() {
    for text in ["\n", "a\tb", "a\r", "\0", "\u{7f}", "a\u{85}", "\u{9f}b"] {
        assert_eq!(Text(text).check(), Err(InvalidRunId::ControlCharacter), "{text:?}");
    }
    for text in [" ", "a b", "\u{a0}", "\u{2028}", "\u{feff}", "/", "\"", "\\", ".."] {
        assert_eq!(Text(text).check(), Ok(Text(text)), "{text:?}");
    }
}

#[test]
fn an_invalid_run_id_says_what_is_wrong() {
    assert_eq!(InvalidRunId::Empty.to_string(), "a run id cannot be empty");
    assert_eq!(InvalidRunId::TooLong.to_string(), "a run id has at most 200 characters");
    assert_eq!(InvalidRunId::ControlCharacter.to_string(), "a run id cannot contain control characters");
}

/// The order in which the manager lists runs.
#[test]
fn integers_come_before_texts_and_both_in_rising_order() {
    let rising = ["-10", "-9", "0", "2", "10", "", "-", "010", "Run", "run", "run 2", "用語"];
    let ids = rising.map(|text| RunId::from(RunIdRef::of_text(text)));
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[test]
fn an_id_is_displayed_as_it_was_given() {
    for text in ["17", "-5", "017", "a \"b\"", "用語"] {
        let id = RunIdRef::of_text(text);
        assert_eq!((id.to_string(), RunId::from(id).to_string()), (text.to_owned(), text.to_owned()));
    }
}

#[test]
fn json_escapes_a_text() {
    assert_eq!(json(&RunId::Int(i64::MIN)), "-9223372036854775808");
    assert_eq!(json(&RunId::from(7)), "7");
    assert_eq!(json(&RunId::Text("run".into())), r#""run""#);
    assert_eq!(json(&RunId::Text("017".into())), r#""017""#);
    assert_eq!(json(&RunId::Text(r#"a"b\c/用語"#.into())), r#""a\"b\\c/用語""#);
    assert_eq!(json(&RunId::Text("a\n\0\u{7f}".into())), "\"a\\n\\u0000\u{7f}\"");
}

#[test]
fn json_is_appended() {
    let mut out = b"[1,".to_vec();
    RunId::Int(2).write_json(&mut out);
    assert_eq!(out, b"[1,2");
}

proptest! {
    #![proptest_config(proptest_config())]

    #[test]
    fn an_integer_and_its_decimal_form_are_one_id(number: i64) {
        let text = number.to_string();
        let (id, of_text) = (RunId::Int(number), RunId::from(RunIdRef::of_text(&text)));
        prop_assert_eq!(&of_text, &id);
        prop_assert_eq!(RunIdRef::from(number), RunIdRef::of_text(&text));
        prop_assert_eq!(json(&of_text), text.clone());
        let manager = manager(10);
        manager.open(Int(number)).unwrap();
        prop_assert!(manager.is_open(RunIdRef::of_text(&text)));
        prop_assert!(manager.finish(RunIdRef::of_text(&text), payload("done"), false));
        prop_assert!(manager.terminal(Int(number)).is_some());
    }

    /// No two texts are one id.
    #[test]
    fn an_id_has_the_text_it_was_made_of(text in any_text()) {
        let id = RunIdRef::of_text(&text);
        prop_assert_eq!(id.to_string(), text.clone());
        prop_assert_eq!(matches!(id, Int(_)), text.parse::<i64>().is_ok_and(|number| number.to_string() == text));
    }

    #[test]
    fn a_borrowed_id_finds_its_owned_one(texts in prop::collection::vec(any_text(), 1..10)) {
        let hasher = RandomState::new();
        let mut numbers = HashMap::with_hasher(hasher.clone());
        for (number, text) in texts.iter().enumerate() {
            let borrowed = RunIdRef::of_text(text);
            let owned = RunId::from(borrowed);
            prop_assert_eq!(owned.as_ref(), borrowed);
            prop_assert_eq!(hasher.hash_one(&owned), hasher.hash_one(borrowed));
            prop_assert!(borrowed.equivalent(&owned));
            numbers.insert(owned, number);
        }
        let different: BTreeSet<&String> = texts.iter().collect();
        prop_assert_eq!(numbers.len(), different.len());
        for text in &texts {
            let last = texts.iter().rposition(|other| other == text);
            prop_assert_eq!(numbers.get(&RunIdRef::of_text(text)).copied(), last);
            for other in &texts {
                let equivalent = RunIdRef::of_text(text).equivalent(&RunId::from(RunIdRef::of_text(other)));
                prop_assert_eq!(equivalent, text == other);
            }
        }
    }

    #[test]
    fn json_reads_back_as_the_id(text in any_text()) {
        let id = RunId::from(RunIdRef::of_text(&text));
        let read: Value = serde_json::from_str(&json(&id)).unwrap();
        match id {
            RunId::Int(number) => prop_assert_eq!(read.as_i64(), Some(number)),
            RunId::Text(_) => prop_assert_eq!(read.as_str(), Some(text.as_str())),
        }
    }
}
