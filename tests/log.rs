//! The log of one run: numbers, limits, positions.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use common::payload;
use genglossary_runs::core::limits::LogLimits;
use genglossary_runs::core::log::{Lookup, RunLog};
use genglossary_runs::core::{EventId, Fence, Gap, Seq};

fn log(events: usize, bytes: usize) -> RunLog {
    RunLog::new(LogLimits { events, bytes })
}

fn filled(events: usize, bytes: usize, words: &[&str]) -> RunLog {
    let mut log = log(events, bytes);
    for word in words {
        log.append(payload(word)).unwrap();
    }
    log
}

/// What the log has at a seq, in short.
fn at(log: &RunLog, seq: u64) -> String {
    match log.at(Seq(seq)) {
        Lookup::Gap(Gap { from, to }) => format!("gap {from}-{to}"),
        Lookup::Event(json, terminal) => {
            format!("{}{}", if terminal { "end " } else { "" }, String::from_utf8_lossy(json))
        }
        Lookup::Pending => "pending".to_owned(),
        Lookup::Ended => "ended".to_owned(),
    }
}

#[test]
fn seqs_count_from_one() {
    let mut log = log(10, 100);
    assert_eq!(log.last(), Seq(0));
    assert_eq!(log.append(payload("a")), Some(Seq(1)));
    assert_eq!(log.append(payload("b")), Some(Seq(2)));
    assert_eq!(log.last(), Seq(2));
}

#[test]
fn an_empty_log_has_nothing_anywhere() {
    let log = log(10, 100);
    assert!(log.is_empty());
    assert_eq!((log.len(), log.bytes(), log.last()), (0, 0, Seq(0)));
    assert_eq!(at(&log, 1), "pending");
    assert_eq!(log.newest(), Seq(1));
    assert_eq!(log.unread(Seq(1)), 0);
    assert!(log.terminal().is_none());
}

#[test]
fn the_oldest_are_evicted_when_there_are_too_many() {
    let log = filled(3, 100, &["a", "b", "c", "d", "e"]);
    assert!(!log.is_empty());
    assert_eq!((log.len(), log.bytes(), log.last()), (3, 3, Seq(5)));
    assert_eq!(at(&log, 1), "gap 1-2");
    assert_eq!(at(&log, 2), "gap 2-2");
    assert_eq!(at(&log, 3), "c");
    assert_eq!(at(&log, 5), "e");
    assert_eq!(at(&log, 6), "pending");
}

#[test]
fn the_oldest_are_evicted_when_they_are_too_long() {
    let log = filled(100, 5, &["aa", "bb", "cc"]);
    assert_eq!((log.len(), log.bytes()), (2, 4));
    assert_eq!(at(&log, 1), "gap 1-1");
}

#[test]
fn a_log_may_be_as_full_as_its_limits() {
    let log = filled(3, 6, &["aa", "bb", "cc"]);
    assert_eq!((log.len(), log.bytes()), (3, 6));
}

#[test]
fn the_newest_is_held_even_if_it_alone_is_too_long() {
    let mut log = filled(100, 5, &["aa", "a long one"]);
    assert_eq!((log.len(), log.bytes()), (1, 10));
    assert_eq!(at(&log, 2), "a long one");
    log.append(payload("b")).unwrap();
    assert_eq!((log.len(), log.bytes()), (1, 1));
}

#[test]
fn nothing_comes_after_the_terminal_event() {
    let mut log = filled(3, 100, &["a"]);
    assert!(log.finish(payload("done")));
    assert!(!log.finish(payload("again")));
    assert_eq!(log.append(payload("b")), None);
    assert_eq!(log.last(), Seq(2));
    assert_eq!(at(&log, 1), "a");
    assert_eq!(at(&log, 2), "end done");
    assert_eq!(at(&log, 3), "ended");
    assert_eq!(at(&log, u64::MAX), "ended");
    assert_eq!(log.terminal().map(|json| json.to_vec()), Some(b"done".to_vec()));
}

#[test]
fn evicting_all_but_the_newest_leaves_the_terminal_event() {
    let mut log = filled(10, 100, &["a", "b"]);
    log.finish(payload("done"));
    log.evict_all_but_newest();
    assert_eq!((log.len(), log.bytes(), log.last()), (1, 4, Seq(3)));
    assert_eq!(at(&log, 1), "gap 1-2");
    assert_eq!(at(&log, 3), "end done");
}

#[test]
fn clearing_leaves_nothing_but_the_numbers() {
    let mut log = filled(10, 100, &["a", "b"]);
    log.clear();
    log.clear();
    assert_eq!((log.len(), log.bytes(), log.last()), (0, 0, Seq(2)));
    assert_eq!(at(&log, 1), "gap 1-2");
    assert_eq!(at(&log, 3), "pending");
    assert_eq!(log.append(payload("c")), Some(Seq(3)));
}

#[test]
fn a_reader_starts_after_an_id_of_this_life() {
    let log = filled(2, 100, &["a", "b", "c"]);
    let start = |fence, seq| log.after(Some(EventId { fence: Fence(fence), seq: Seq(seq) }), Fence(7));
    assert_eq!(start(7, 0), Seq(1));
    assert_eq!(start(7, 1), Seq(2));
    assert_eq!(start(7, 3), Seq(4));
}

#[test]
fn an_id_that_is_no_position_in_this_log_starts_at_the_beginning() {
    let log = filled(2, 100, &["a", "b", "c"]);
    let start = |fence, seq| log.after(Some(EventId { fence: Fence(fence), seq: Seq(seq) }), Fence(7));
    assert_eq!(start(8, 2), Seq(1));
    assert_eq!(start(6, 2), Seq(1));
    assert_eq!(start(7, 4), Seq(1));
    assert_eq!(start(7, u64::MAX), Seq(1));
    assert_eq!(log.after(None, Fence(7)), Seq(1));
}

#[test]
fn new_events_only_means_after_the_newest_or_at_the_terminal_event() {
    let mut log = filled(2, 100, &["a", "b", "c"]);
    assert_eq!(log.newest(), Seq(4));
    log.finish(payload("done"));
    assert_eq!(log.newest(), Seq(4));
}

#[test]
fn unread_counts_the_events_without_the_gap() {
    let log = filled(2, 100, &["a", "b", "c", "d"]);
    let unread: Vec<usize> = (1..=6).map(|seq| log.unread(Seq(seq))).collect();
    assert_eq!(unread, [2, 2, 2, 1, 0, 0]);
}
