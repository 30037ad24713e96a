//! Readers of mirrors: logs that are filled with what a store has of runs that are executed elsewhere.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::sse::parse;
use common::{manager, payload, read};
use genglossary_runs::core::archive::{Archive, Life, Terminal, Wanted};
use genglossary_runs::core::{EventId, Fence, NotReady, RunIdRef, RunManager, Seq, Start, Subscription};

const RUN: RunIdRef<'static> = RunIdRef::Int(7);

/// A store that has nothing of what a log evicted.
struct Empty;

impl Archive for Empty {
    fn request(&self, wanted: Wanted) {
        wanted.refuse();
    }
}

/// What a reader gets that comes when the store has the end of a run, event 4, of which the mirror has 2 events so far;
/// and whether that is all.
fn read_of_stale_mirror(start: Start, end_fence: Option<u64>) -> (Vec<String>, bool) {
    let (manager, archive) = (manager(10), Arc::new(Empty) as Arc<dyn Archive>);
    let running = Life { fence: Fence(5), last: Seq(2), terminal: None };
    let (_first, run) = manager.subscribe_stored(RUN, &running, &archive, Start::Newest);
    let run = run.unwrap();
    let end = Terminal { fence: end_fence.map(Fence), payload: payload("the end") };
    let ended = Life { last: Seq(4), terminal: Some(end.clone()), ..running };
    let (reader, _) = manager.subscribe_stored(RUN, &ended, &archive, start);
    run.fill([(Seq(3), payload("3"))], Seq(3));
    manager.finish_stored(&run, &end);
    (read(&reader), reader.try_next().err() == Some(NotReady::Ended))
}

fn id(fence: u64, seq: u64) -> EventId {
    EventId { fence: Fence(fence), seq: Seq(seq) }
}

fn after(fence: u64, seq: u64) -> Start {
    Start::After(Some(id(fence, seq)))
}

#[test]
fn a_reader_that_resumed_after_the_end_was_told_it_again_by_a_mirror_that_was_behind() {
    assert_eq!(read_of_stale_mirror(after(5, 4), None), (vec![], true));
    assert_eq!(read_of_stale_mirror(after(6, 4), Some(6)), (vec![], true));
    assert_eq!(read_of_stale_mirror(after(5, 3), None), (vec!["end 4 the end".to_owned()], true));
}

#[test]
fn a_reader_of_new_events_got_old_ones_from_a_mirror_that_was_behind() {
    assert_eq!(read_of_stale_mirror(Start::Newest, None), (vec!["end 4 the end".to_owned()], true));
}

#[test]
fn a_reader_ahead_of_what_was_stored_is_told_the_end_once() {
    assert_eq!(read_of_stale_mirror(after(5, 9), Some(6)), (vec!["end 4 the end".to_owned()], true));
}

#[test]
fn an_id_with_the_largest_seq_ended_the_engine() {
    for end_fence in [None, Some(6)] {
        assert_eq!(read_of_stale_mirror(after(5, u64::MAX), end_fence), (vec!["end 4 the end".to_owned()], true));
    }
}

#[test]
fn a_reader_ahead_of_what_was_stored_had_the_id_of_an_end_that_it_had_not_read() {
    let (manager, archive) = (manager(10), Arc::new(Empty) as Arc<dyn Archive>);
    let running = Life { fence: Fence(5), last: Seq(2), terminal: None };
    let (reader, run) = manager.subscribe_stored(RUN, &running, &archive, after(5, 9));
    manager.finish_stored(&run.unwrap(), &Terminal { fence: Some(Fence(6)), payload: payload("the end") });
    assert_eq!(reader.last_event_id(), id(5, 9));
    assert_eq!(read(&reader), ["end 3 the end"]);
    assert_eq!(reader.last_event_id(), id(6, 3));
}

/// Readers of a run with one event, all from the start, and its mirror.
fn stalling<const N: usize>() -> ([Subscription; N], RunManager, impl Fn(u32)) {
    let (manager, archive) = (manager(10), Arc::new(Empty) as Arc<dyn Archive>);
    let life = Life { fence: Fence(5), last: Seq(0), terminal: None };
    let readers = [(); N].map(|()| manager.subscribe_stored(RUN, &life, &archive, Start::Newest));
    let run = readers.iter().find_map(|(_, run)| run.clone()).unwrap();
    run.fill([(Seq(1), payload("1"))], Seq(1));
    (readers.map(|(reader, _)| reader), manager, move |number| run.stall(number))
}

/// The kinds of events that a stream gets now.
fn kinds(reader: &Subscription) -> Vec<String> {
    let chunks = std::iter::from_fn(|| reader.try_next_chunk(1 << 16).ok());
    chunks.flat_map(|chunk| parse(&chunk.frames).unwrap()).map(|event| event.kind).collect()
}

#[test]
fn a_stream_that_was_behind_when_its_store_stalled_was_not_told() {
    let ([reader], _manager, stall) = stalling();
    stall(1);
    assert_eq!(reader.try_next_chunk(1).map(|chunk| parse(&chunk.frames).unwrap().len()), Ok(1));
    // As the thread asks that has sent this.
    assert_eq!(reader.idle(), None);
    assert_eq!(kinds(&reader), ["stalled"]);
    assert!(reader.idle().is_some());
}

#[test]
fn streams_that_shared_a_chunk_were_told_twice_of_a_stall_or_when_it_was_over() {
    let ([first, second, late], _manager, stall) = stalling();
    stall(1);
    assert_eq!(kinds(&first), ["message", "stalled"]);
    assert_eq!(kinds(&second), ["message", "stalled"]);
    stall(0);
    assert_eq!(kinds(&late), ["message"]);
}
