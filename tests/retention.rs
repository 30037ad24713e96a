//! What is kept of finished runs: how many, how much, how long, and what happens to a run that is evicted.

#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::memory::Watch;
use common::{BEGINNING, PATIENCE, ints, limits, payload, publish, read, subscribe, wide};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::retention::{LINGER, Retention};
use genglossary_runs::core::run::Run;
use genglossary_runs::core::{Fence, RunId, RunManager, Start};

const AGE: Duration = Duration::from_secs(300);

fn retention(runs: usize, bytes: usize) -> Retention {
    Retention::new(RetentionLimits { runs, bytes, age: AGE })
}

/// A run with one event before its terminal one.
fn finished(id: i64) -> Arc<Run> {
    let run = Run::new(RunId::Int(id), Fence(1), LogLimits { events: 10, bytes: 1000 });
    run.publish(payload("a"));
    run.wake(run.finish(payload("done")).wakeup);
    Arc::new(run)
}

fn kept(retention: &Retention) -> Vec<RunId> {
    let ids: Vec<RunId> = retention.iter().map(|run| run.id.clone()).collect();
    assert!(ids.iter().all(|id| retention.get(id.as_ref()).is_some_and(|run| run.id == *id)));
    ids
}

fn ids(runs: &[Arc<Run>]) -> Vec<RunId> {
    runs.iter().map(|run| run.id.clone()).collect()
}

#[test]
fn the_oldest_are_evicted_when_there_are_too_many() {
    let (mut retention, now) = (retention(2, 1000), Instant::now());
    assert_eq!(ids(&retention.insert(finished(1), 5, now)), ints([]));
    assert_eq!(ids(&retention.insert(finished(2), 5, now)), ints([]));
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), ints([1]));
    assert_eq!(kept(&retention), ints([2, 3]));
    assert!(retention.get(Int(1)).is_none());
}

#[test]
fn the_oldest_are_evicted_when_they_are_too_much() {
    let (mut retention, now) = (retention(100, 10), Instant::now());
    retention.insert(finished(1), 4, now);
    assert_eq!(ids(&retention.insert(finished(2), 6, now)), ints([]));
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), ints([1, 2]));
    assert_eq!(ids(&retention.insert(finished(4), 5, now)), ints([]));
    assert_eq!(ids(&retention.insert(finished(5), 11, now)), ints([3, 4, 5]));
    assert_eq!(kept(&retention), ints([]));
    retention.insert(finished(6), 10, now);
    assert_eq!(kept(&retention), ints([6]));
}

#[test]
fn the_oldest_are_evicted_when_they_are_too_old() {
    let (mut retention, start) = (retention(100, 1000), Instant::now());
    retention.insert(finished(1), 5, start);
    retention.insert(finished(2), 5, start + Duration::from_secs(1));
    assert_eq!(ids(&retention.expire(start + AGE - Duration::from_nanos(1))), ints([]));
    assert_eq!(kept(&retention), ints([1, 2]));
    assert_eq!(ids(&retention.expire(start + AGE)), ints([1]));
    assert_eq!(kept(&retention), ints([2]));
    assert_eq!(ids(&retention.insert(finished(3), 5, start + AGE * 2)), ints([2]));
}

#[test]
fn a_run_that_is_removed_is_not_counted() {
    let (mut retention, now) = (retention(2, 10), Instant::now());
    retention.insert(finished(1), 5, now);
    retention.insert(finished(2), 5, now);
    retention.remove(Int(1));
    retention.remove(Int(1));
    retention.remove(Int(7));
    assert_eq!(kept(&retention), ints([2]));
    assert_eq!(ids(&retention.expire(now)), ints([1]));
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), ints([]));
    assert_eq!(kept(&retention), ints([2, 3]));
}

#[test]
fn readers_of_an_evicted_run_may_linger() {
    let (mut retention, start) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    assert_eq!(ids(&retention.insert(reader.clone(), 5, start)), ints([]));
    assert_eq!(kept(&retention), ints([]));
    assert_eq!(ids(&retention.expire(start + LINGER - Duration::from_nanos(1))), ints([]));
    let gone = retention.expire(start + LINGER);
    assert_eq!(ids(&gone), ints([1]));
    gone.iter().for_each(|run| run.evict_all_but_newest());
    assert_eq!(reader.lock().log.len(), 1);
    assert!(reader.lock().log.terminal().is_some());
    assert_eq!(ids(&retention.expire(start + LINGER)), ints([]));
}

#[test]
fn the_time_to_linger_is_ten_seconds_from_the_end_of_the_run() {
    assert_eq!(LINGER, Duration::from_secs(10));
    let (mut retention, start) = (retention(1, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, start);
    let gone = retention.insert(finished(2), 5, start + LINGER);
    assert_eq!(ids(&gone), ints([1]), "it was evicted later, but finished that long ago");
}

/// Attached readers do not keep a run for longer than retention would. Age 0 is the exception: it concerns late readers.
#[test]
fn no_reader_lingers_longer_than_retention_keeps_a_run() {
    for (age, lingers) in [(Duration::from_secs(1), Duration::from_secs(1)), (Duration::ZERO, LINGER)] {
        let start = Instant::now();
        let mut retention = Retention::new(RetentionLimits { runs: 0, bytes: 1000, age });
        let reader = finished(1);
        retention.insert(reader.clone(), 5, start);
        assert_eq!(ids(&retention.expire(start + lingers - Duration::from_nanos(1))), ints([]));
        assert_eq!(ids(&retention.expire(start + lingers)), ints([1]));
        assert!(!reader.lock().log.is_empty());
    }
}

#[test]
fn a_run_without_readers_does_not_linger() {
    let (mut retention, now) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, now);
    drop(reader);
    assert_eq!(ids(&retention.expire(now)), ints([1]));
}

#[test]
fn a_run_that_lingers_delays_no_other() {
    let (mut retention, now) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, now);
    for id in 2..100 {
        assert_eq!(ids(&retention.insert(finished(id), 5, now)), ints([id]));
    }
    assert_eq!(Arc::strong_count(&reader), 2);
}

#[test]
fn a_manager_keeps_runs_for_as_long_as_its_limits_say() {
    let mut limits = wide();
    limits.retention.age = Duration::from_millis(50);
    let manager = RunManager::new(limits);
    let event = payload("a");
    let watch = Watch::new(&event);
    manager.open(Int(1)).unwrap();
    manager.publish(Int(1), event);
    let finished_at = Instant::now();
    manager.finish(Int(1), payload("done"), false);
    while manager.terminal(Int(1)).is_some() {
        assert!(finished_at.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert!(finished_at.elapsed() >= Duration::from_millis(50));
    assert_eq!(manager.retained_runs(), ints([]));
    assert_eq!(manager.stats().bytes_held, 0);
    assert!(watch.is_freed(), "its bytes are freed");
    let waiting = subscribe(&manager, 1, BEGINNING);
    assert_eq!(read(&waiting), [] as [String; 0], "nobody knows the run");
    assert_eq!(manager.subscribed_runs(), ints([1]));
}

#[test]
fn an_attached_reader_reads_to_the_end_of_a_run_that_is_not_retained() {
    let manager = RunManager::new(limits(10, 1000, 0, 0));
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b"]);
    manager.finish(Int(1), payload("done"), false);
    assert_eq!(manager.retained_runs(), ints([]));
    assert!(manager.terminal(Int(1)).is_none());
    manager.open(Int(1)).unwrap();
    assert_eq!(read(&reader), ["1 a", "2 b", "end 3 done"]);
}

/// Every method of the manager that uses retention evicts what is over its limits.
#[test]
fn each_method_that_uses_retention_frees_what_has_expired() {
    type Call = fn(&RunManager);
    let calls: [(&str, Call); 7] = [
        ("open", |manager| drop(manager.open(Int(2)))),
        ("finish", |manager| assert!(manager.finish(Int(2), payload("done"), false))),
        ("a finish that does nothing", |manager| assert!(!manager.finish(Int(3), payload("done"), true))),
        ("subscribe", |manager| drop(subscribe(manager, 2, Start::Newest))),
        ("terminal", |manager| assert!(manager.terminal(Int(2)).is_none())),
        ("retained_runs", |manager| drop(manager.retained_runs())),
        ("stats", |manager| _ = manager.stats()),
    ];
    for (name, call) in calls {
        let manager = RunManager::new(limits(10, 1000, 0, 0));
        manager.open(Int(3)).unwrap();
        manager.open(Int(1)).unwrap();
        let event = payload("a");
        let watch = Watch::new(&event);
        manager.publish(Int(1), event);
        let reader = subscribe(&manager, 1, Start::Newest);
        manager.finish(Int(1), payload("done"), false);
        assert!(!watch.is_freed(), "its reader may still read it");
        drop(reader);
        call(&manager);
        assert!(watch.is_freed(), "{name}");
    }
}
