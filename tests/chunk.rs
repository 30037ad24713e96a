//! Chunks: unread events as server-sent events, in pieces of a bounded length that readers share.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::sse::{Dispatched, parse};
use common::{BEGINNING, limits, manager, named, payload, pending, publish, subscribe};
use genglossary_runs::core::RunIdRef::{Int, Text};
use genglossary_runs::core::frame::Chunk;
use genglossary_runs::core::{NotReady, RunManager, Seq, Start, Subscription};

const PLENTY: usize = 1 << 20;

/// An event of a stream in short: `message 3 word`.
fn short(event: &Dispatched) -> String {
    let seq = event.last_event_id.rsplit('-').next().unwrap_or_default();
    format!("{} {seq} {}", event.kind, event.data)
}

fn events(chunk: &Chunk) -> Vec<String> {
    parse(&chunk.frames).unwrap().iter().map(short).collect()
}

fn next(reader: &Subscription, limit: usize) -> Arc<Chunk> {
    reader.try_next_chunk(limit).map_err(|none| format!("{none:?}")).unwrap()
}

#[test]
fn a_chunk_holds_all_that_is_unread() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b"]);
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(events(&next(&reader, PLENTY)), ["message 1 a", "message 2 b", "complete 3 done"]);
    assert_eq!(reader.try_next_chunk(PLENTY).err(), Some(NotReady::Ended));
    assert_eq!(reader.last_event_id().seq, Seq(3));
}

#[test]
fn with_nothing_to_read_there_is_no_chunk() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    let epoch = pending(&reader);
    assert_eq!(reader.try_next_chunk(PLENTY).err(), Some(NotReady::Pending(epoch)));
}

#[test]
fn a_chunk_begins_with_the_gap_of_a_reader_that_fell_behind() {
    let manager = manager(2);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b", "c", "d"]);
    let chunk = next(&reader, PLENTY);
    let parsed = parse(&chunk.frames).unwrap();
    assert_eq!((parsed[0].kind.as_str(), parsed[0].last_event_id.as_str()), ("gap", ""));
    assert_eq!(events(&chunk)[1..], ["message 3 c", "message 4 d"]);
    assert_eq!(manager.stats().events_missed, 2);
}

#[test]
fn private_messages_keep_their_position() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    reader.put(payload("x"), 10).unwrap();
    publish(&manager, 1, &["b"]);
    assert_eq!(events(&next(&reader, PLENTY)), ["message 1 a", "message 1 x", "message 2 b"]);
    reader.put(payload("y"), 10).unwrap();
    assert_eq!(events(&next(&reader, PLENTY)), ["message  y"]);
}

#[test]
fn readers_at_the_same_position_share_a_chunk() {
    let manager = manager(10);
    let readers = [subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest)];
    let late = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b"]);
    let [one, two] = readers.each_ref().map(|reader| next(reader, PLENTY));
    assert!(Arc::ptr_eq(&one, &two));
    one.attachment.set(Box::new("made by the first reader")).unwrap();
    // A reader that reaches this position later gets the same chunk, then what was published meanwhile.
    publish(&manager, 1, &["c"]);
    let shared = next(&late, PLENTY);
    assert!(Arc::ptr_eq(&one, &shared));
    let attachment = shared.attachment.get().unwrap().downcast_ref::<&str>();
    assert_eq!(attachment, Some(&"made by the first reader"));
    assert_eq!(events(&next(&late, PLENTY)), ["message 3 c"]);
}

#[test]
fn readers_at_different_positions_do_not_share() {
    let manager = manager(10);
    let (behind, ahead) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    publish(&manager, 1, &["a", "b"]);
    ahead.try_next().unwrap();
    assert_eq!(events(&next(&behind, PLENTY)), ["message 1 a", "message 2 b"]);
    assert_eq!(events(&next(&ahead, PLENTY)), ["message 2 b"]);
}

#[test]
fn a_reader_with_private_messages_or_closed_does_not_share() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let readers = [(); 3].map(|()| subscribe(&manager, 1, Start::Newest));
    publish(&manager, 1, &["a"]);
    let shared = next(&readers[0], PLENTY);
    readers[1].put(payload("x"), 10).unwrap();
    assert_eq!(events(&next(&readers[1], PLENTY)), ["message 1 a", "message 1 x"]);
    readers[2].close();
    assert_eq!(readers[2].try_next_chunk(PLENTY).err(), Some(NotReady::Ended));
    assert_eq!(events(&shared), ["message 1 a"]);
}

#[test]
fn a_chunk_is_no_longer_than_the_limit() {
    let manager = manager(100);
    let reader = subscribe(&manager, 1, Start::Newest);
    let word = "w".repeat(100);
    publish(&manager, 1, &[word.as_str(); 10]);
    let mut seen = 0;
    while let Ok(chunk) = reader.try_next_chunk(400) {
        assert!(chunk.frames.len() <= 400);
        assert!(chunk.frames.len() > 200, "as many as fit");
        seen += events(&chunk).len();
    }
    assert_eq!(seen, 10);
}

#[test]
fn an_event_longer_than_the_limit_comes_alone() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    let other = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["much too long for it", "b"]);
    let alone = next(&reader, 1);
    assert_eq!(events(&alone), ["message 1 much too long for it"]);
    assert!(Arc::ptr_eq(&alone, &next(&other, 1)));
}

#[test]
fn a_reader_gets_no_chunk_longer_than_its_own_limit() {
    let manager = manager(10);
    let (large, small) = (subscribe(&manager, 1, Start::Newest), subscribe(&manager, 1, Start::Newest));
    let word = "w".repeat(100);
    publish(&manager, 1, &[word.as_str(); 3]);
    assert_eq!(events(&next(&large, PLENTY)).len(), 3);
    assert!(next(&small, 300).frames.len() <= 300);
}

/// Every kind of frame, with run ids and names of every length, and with limits around their length.
#[test]
fn no_kind_of_frame_breaks_the_limit() {
    let (escaped, wide) = ("\"".repeat(200), "語".repeat(200));
    let (short_name, long_name) = ("n", "n".repeat(255));
    for (run_id, step) in [(Int(i64::MIN), 1), (Text("run"), 7), (Text(&escaped), 7), (Text(&wide), 7)] {
        for limit in (1..2000).step_by(step) {
            let manager = RunManager::new(limits(4, 1 << 20, 10, 1 << 20));
            let reader = subscribe(&manager, run_id, Start::Newest);
            reader.put(payload("x"), 10).unwrap();
            publish(&manager, run_id, &["a", "b", "c"]);
            manager.publish(run_id, named(short_name, "d")).unwrap();
            manager.publish(run_id, named(&long_name, "e")).unwrap();
            publish(&manager, run_id, &["f"]);
            reader.put(payload("y"), 10).unwrap();
            manager.finish(run_id, payload("done"), false);
            let mut seen = 0;
            while let Ok(chunk) = reader.try_next_chunk(limit) {
                let frames = events(&chunk).len();
                assert!(frames == 1 || chunk.frames.len() <= limit, "{} > {limit}", chunk.frames.len());
                seen += frames;
            }
            assert_eq!(seen, 7, "a gap, four events and two private messages");
        }
    }
}

#[test]
fn the_shared_chunk_is_dropped_with_the_log_that_retention_evicts() {
    let manager = RunManager::new(limits(10, 1000, 0, 0));
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    manager.finish(Int(1), payload("done"), false);
    let chunk = next(&reader, PLENTY);
    assert_eq!(Arc::strong_count(&chunk), 2);
    drop(reader);
    manager.stats();
    assert_eq!(Arc::strong_count(&chunk), 1);
}

#[test]
fn the_shared_chunk_is_dropped_when_the_run_finishes() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    let chunk = next(&reader, PLENTY);
    assert_eq!(Arc::strong_count(&chunk), 2);
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(Arc::strong_count(&chunk), 1);
}

#[test]
fn a_finished_run_keeps_no_chunk_longer_than_the_limit() {
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &[&"x".repeat(1000)]);
    let readers = [(); 2].map(|()| subscribe(&manager, 1, BEGINNING));
    let shared = readers.each_ref().map(|reader| next(reader, 100));
    assert!(Arc::ptr_eq(&shared[0], &shared[1]));
    manager.finish(Int(1), payload("done"), false);
    let late = subscribe(&manager, 1, BEGINNING);
    assert_eq!(Arc::strong_count(&next(&late, 100)), 1);
    assert_eq!(Arc::strong_count(&next(&late, 100)), 2);
}

#[test]
fn the_shared_chunk_is_dropped_with_the_last_reader_of_a_run_that_nobody_opened() {
    let manager = manager(10);
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    let chunk = next(&reader, PLENTY);
    reader.close();
    assert_eq!(Arc::strong_count(&chunk), 1);
}
