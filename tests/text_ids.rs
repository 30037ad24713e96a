//! Runs that are named by texts, through the whole of the manager.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::{BEGINNING, ints, limits, manager, payload, publish, read, subscribe};
use genglossary_runs::core::RunIdRef::{Int, Text};
use genglossary_runs::core::{Error, RunId, RunIdRef, RunManager, Start};
use serde_json::Value;

const RUN: RunIdRef<'_> = Text("nightly \"用語\" 7");

fn text(text: &str) -> RunId {
    RunId::Text(text.into())
}

#[test]
fn a_text_names_a_run_for_its_whole_life() {
    let manager = manager(10);
    let reader = subscribe(&manager, RUN, Start::Newest);
    assert_eq!(reader.run_id(), &RunId::from(RUN));
    let reserved = manager.reserve(RUN);
    let cancel = manager.open(RUN).unwrap();
    assert_eq!(cancel.key(), reserved.key());
    assert!(manager.is_open(RUN));
    assert_eq!((manager.claimed_runs(), manager.subscribed_runs()), (vec![RUN.into()], vec![RUN.into()]));
    publish(&manager, RUN, &["a", "b"]);
    assert!(manager.cancel(RUN));
    assert!(manager.cancel_event(RUN).is_some_and(|event| event.is_set()) && cancel.is_set());
    assert!(manager.finish(RUN, payload("done"), false));
    assert!(!manager.finish(RUN, payload("again"), false));
    assert_eq!(manager.terminal(RUN).as_deref(), Some(b"done".as_slice()));
    assert_eq!(manager.retained_runs(), [RunId::from(RUN)]);
    assert_eq!(read(&reader), ["1 a", "2 b", "end 3 done"]);
    assert_eq!(read(&subscribe(&manager, RUN, BEGINNING)), ["1 a", "2 b", "end 3 done"]);
    manager.open(RUN).unwrap();
    assert!(manager.terminal(RUN).is_none(), "opening it again evicts the earlier life");
    assert!(manager.abandon(RUN));
    assert_eq!(manager.publish(RUN, payload("c")), None);
}

#[test]
fn errors_name_the_run() {
    let manager = manager(10);
    let refused = manager.subscribe(RUN, Start::Newest, true).map(drop).unwrap_err();
    assert_eq!(refused, Error::UnknownRun(RUN.into()));
    assert_eq!(
        refused.to_string(),
        "run nightly \"用語\" 7 is unknown; open it first, or subscribe without must_exist to wait for it"
    );
    manager.open(RUN).unwrap();
    assert_eq!(manager.open(RUN).map(drop).unwrap_err(), Error::RunActive(RUN.into()));
}

#[test]
fn a_decimal_names_the_run_of_its_integer() {
    let manager = manager(10);
    manager.open(Int(17)).unwrap();
    let reader = subscribe(&manager, RunIdRef::of_text("17"), Start::Newest);
    assert_eq!(reader.run_id(), &RunId::Int(17));
    publish(&manager, RunIdRef::of_text("17"), &["a"]);
    assert_eq!(read(&reader), ["1 a"]);
    assert_eq!(manager.open(RunIdRef::of_text("17")).map(drop).unwrap_err(), Error::RunActive(RunId::Int(17)));
    assert_eq!(manager.claimed_runs(), ints([17]));
}

#[test]
fn ids_that_resemble_each_other_are_different_runs() {
    let manager = manager(10);
    let ids = ["7", "07", "+7", " 7", "7 ", "7.0", "\u{ff17}", "\u{667}", "seven", "Seven", "se\u{301}ven", "sév"];
    let readers = ids.map(|id| subscribe(&manager, RunIdRef::of_text(id), Start::Newest));
    for id in ids {
        publish(&manager, RunIdRef::of_text(id), &[id]);
    }
    for (id, reader) in ids.iter().zip(&readers) {
        assert_eq!(read(reader), [format!("1 {id}")]);
    }
}

#[test]
fn the_lists_of_runs_have_integers_before_texts() {
    let manager = manager(10);
    let ids = ["b", "10", "a", "-1", "9", "B", "09"];
    for id in ids {
        manager.open(RunIdRef::of_text(id)).unwrap();
    }
    let _readers = ids.map(|id| subscribe(&manager, RunIdRef::of_text(id), Start::Newest));
    let mut rising = ints([-1, 9, 10]).to_vec();
    rising.extend(["09", "B", "a", "b"].map(text));
    assert_eq!(manager.claimed_runs(), rising);
    assert_eq!(manager.subscribed_runs(), rising);
    for id in ids {
        manager.finish(RunIdRef::of_text(id), payload("done"), false);
    }
    let in_order_of_finishing = ids.map(|id| RunId::from(RunIdRef::of_text(id)));
    assert_eq!(manager.retained_runs(), in_order_of_finishing);
}

#[test]
fn a_gap_has_the_id_as_escaped_json() {
    for id in ["run", "a\"b", "back\\slash", "</script>", "用語\u{2028}", "line\nend", "\0", "017", "17"] {
        let manager = manager(1);
        let run_id = RunIdRef::of_text(id);
        let readers = [(); 2].map(|()| subscribe(&manager, run_id, Start::Newest));
        publish(&manager, run_id, &["a", "b"]);
        let gap = readers[0].try_next().unwrap();
        let json: Value = serde_json::from_slice(&gap.json(readers[0].run_id())).unwrap();
        let expected = if id == "17" { Value::from(17) } else { Value::from(id) };
        assert_eq!(json["run_id"], expected);
        assert_eq!(json["gap"]["missed"], 1);
        let chunk = readers[1].try_next_chunk(1).unwrap_or_else(|none| panic!("{none:?}"));
        let event = &common::sse::parse(&chunk.frames).unwrap()[0];
        assert_eq!((event.kind.as_str(), &serde_json::from_str::<Value>(&event.data).unwrap()), ("gap", &json));
    }
}

#[test]
fn the_fence_tells_lives_of_a_text_apart() {
    let manager = RunManager::new(limits(10, 1000, 10, 1000));
    manager.open(RUN).unwrap();
    let old = manager.publish(RUN, payload("a")).unwrap();
    manager.finish(RUN, payload("done"), false);
    manager.open(RUN).unwrap();
    let new = manager.publish(RUN, payload("b")).unwrap();
    assert!(old.fence < new.fence);
    assert_eq!(read(&subscribe(&manager, RUN, Start::After(Some(old)))), ["1 b"]);
    assert_eq!(read(&subscribe(&manager, RUN, Start::After(Some(new)))), [] as [&str; 0]);
}
