//! Many threads at once: what loom proves for a few steps, tried with many.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use common::memory::Watch;
use common::sse::parse;
use common::{BEGINNING, PATIENCE, limits, next, payload, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Callback, Event, NotReady, RunManager, Seq, Start, Stats, Subscription};

/// Read to the end: every seq from `first` on comes without a hole, the terminal event last. Returns how many were missed.
fn read_to_the_end(reader: &Subscription, first: Option<Seq>) -> u64 {
    let (mut expected, mut missed, mut ended) = (first, 0, false);
    while let Ok(event) = next(reader) {
        assert!(!ended, "{event:?} after the end");
        let (from, to) = match &event {
            Event::Message(id, _) | Event::Terminal(id, _) => (id.seq, id.seq),
            Event::Gap(gap) => (gap.from, gap.to),
            Event::Private(_) => continue,
        };
        assert!(to >= from);
        assert_eq!(from, expected.unwrap_or(from));
        expected = Some(to.next());
        ended = matches!(event, Event::Terminal(..));
        if let Event::Gap(gap) = event {
            missed += gap.missed();
        }
    }
    assert!(ended);
    missed
}

#[test]
fn every_reader_is_told_of_every_event() {
    let manager = RunManager::new(limits(50, 1 << 20, 10, 1 << 20));
    let missed = AtomicU64::new(0);
    let (publishers, each, runs) = (2, 2000, 5);
    for run in 0..runs {
        manager.open(Int(run)).unwrap();
        let readers: Vec<Subscription> = (0..4).map(|_| subscribe(&manager, run, Start::Newest)).collect();
        let publishing = AtomicU64::new(publishers);
        thread::scope(|scope| {
            for reader in &readers {
                scope.spawn(|| missed.fetch_add(read_to_the_end(reader, Some(Seq(1))), Ordering::Relaxed));
            }
            scope.spawn(|| {
                let late = subscribe(&manager, run, Start::Newest);
                missed.fetch_add(read_to_the_end(&late, None), Ordering::Relaxed);
            });
            for _ in 0..publishers {
                scope.spawn(|| {
                    for _ in 0..each {
                        manager.publish(Int(run), payload("event")).unwrap();
                    }
                    if publishing.fetch_sub(1, Ordering::AcqRel) == 1 {
                        assert!(manager.finish(Int(run), payload("done"), false));
                    }
                });
            }
        });
    }
    let stats = manager.stats();
    assert_eq!(stats.events_published, runs.unsigned_abs() * (publishers * each + 1));
    assert_eq!(stats.events_missed, missed.into_inner());
    assert_eq!((stats.active_runs, stats.subscribers, stats.retained_runs), (0, 0, 5));
}

/// Readers of chunks, each with its own limit, some of which resume at the position of another.
#[test]
fn every_reader_of_chunks_gets_the_whole_stream() {
    let manager = RunManager::new(limits(10_000, 1 << 20, 10, 1 << 20));
    manager.open(Int(1)).unwrap();
    thread::scope(|scope| {
        for limit in [1, 200, 1000, 1000, 1 << 16] {
            let mut reader = subscribe(&manager, 1, Start::Newest);
            let manager = &manager;
            scope.spawn(move || {
                let deadline = Instant::now() + PATIENCE;
                let (mut stream, mut chunks) = (Vec::new(), 0);
                loop {
                    match reader.try_next_chunk(limit) {
                        Ok(chunk) => stream.extend_from_slice(&chunk.frames),
                        Err(NotReady::Pending(epoch)) => reader.wait(epoch, Some(deadline)),
                        Err(NotReady::Ended) => break,
                    }
                    chunks += 1;
                    if chunks % 10 == 0 {
                        reader = subscribe(manager, 1, Start::After(Some(reader.last_event_id())));
                    }
                }
                let events = parse(&stream).unwrap();
                let seq = |id: &str| id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
                assert!(events.iter().map(|event| seq(&event.last_event_id)).eq(1..=2001));
                assert!(events.iter().rev().skip(1).all(|event| event.kind == "message"));
            });
        }
        for _ in 0..2000 {
            manager.publish(Int(1), payload("event")).unwrap();
        }
        manager.finish(Int(1), payload("done"), false);
    });
}

/// Runs that open and finish while readers come and go in every way.
#[test]
fn nothing_is_left_of_runs_and_readers_in_any_order() {
    struct Nothing;
    impl Callback for Nothing {
        fn call(self: Box<Self>) {}
    }
    let manager = RunManager::new(limits(20, 1000, 3, 2000));
    let stop = AtomicBool::new(false);
    let event = payload("event");
    let watch = Watch::new(&event);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let (manager, stop) = (&manager, &stop);
                scope.spawn(move || {
                    let mut kept = VecDeque::new();
                    let mut turn = reader;
                    while !stop.load(Ordering::Relaxed) {
                        turn += 1;
                        let after = if turn % 2 == 0 { BEGINNING } else { Start::Newest };
                        let Ok(reader) = manager.subscribe(Int(turn % 4), after, turn % 3 == 0) else { continue };
                        match turn % 5 {
                            0 => drop(reader),
                            1 => reader.close(),
                            2 => drop(reader.try_next_chunk(500)),
                            3 => reader.put(payload("private"), 1).unwrap(),
                            _ => kept.push_back(reader),
                        }
                        if kept.len() > 10 {
                            kept.pop_front();
                        }
                        manager.stats();
                    }
                })
            })
            .collect();
        let owners: Vec<_> = (0..4)
            .map(|run| {
                let (manager, event) = (&manager, &event);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let cancel = manager.open(Int(run)).unwrap();
                        cancel.add_callback(Box::new(Nothing));
                        assert!((0..30).all(|_| manager.publish(Int(run), event.clone()).is_some()));
                        manager.cancel(Int((run + 1) % 4));
                        assert!(manager.finish(Int(run), payload("done"), false));
                    }
                })
            })
            .collect();
        owners.into_iter().for_each(|owner| owner.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    let Stats { active_runs, subscribed_runs, subscribers, retained_runs, events_held, .. } = manager.stats();
    assert_eq!((active_runs, subscribed_runs, subscribers), (0, 0, 0));
    assert!(retained_runs <= 3 && events_held <= 60);
    drop(event);
    drop(manager);
    assert!(watch.is_freed());
}
