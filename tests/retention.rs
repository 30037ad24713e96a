//! What is kept of finished runs: how many, how much, how long, and what becomes of what is let go.

#![cfg(not(loom))]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{BEGINNING, PATIENCE, limits, payload, publish, read, subscribe, wide};
use genglossary_runs::core::log::LogLimits;
use genglossary_runs::core::retention::{LINGER, Retention, RetentionLimits};
use genglossary_runs::core::run::Run;
use genglossary_runs::core::{RunId, RunManager, Start};

const AGE: Duration = Duration::from_secs(300);

fn retention(runs: usize, bytes: usize) -> Retention {
    Retention::new(RetentionLimits { runs, bytes, age: AGE })
}

/// A run with one event before its terminal one.
fn finished(id: RunId) -> Arc<Run> {
    let run = Run::new(id, 1, LogLimits { events: 10, bytes: 1000 });
    run.publish(payload("a"));
    run.wake(run.finish(payload("done")).wakeup);
    Arc::new(run)
}

fn kept(retention: &Retention) -> Vec<RunId> {
    let ids: Vec<RunId> = retention.iter().map(|run| run.id).collect();
    assert!(ids.iter().all(|id| retention.get(*id).is_some_and(|run| run.id == *id)));
    ids
}

fn ids(runs: &[Arc<Run>]) -> Vec<RunId> {
    runs.iter().map(|run| run.id).collect()
}

#[test]
fn the_oldest_go_when_there_are_too_many() {
    let (mut retention, now) = (retention(2, 1000), Instant::now());
    assert_eq!(ids(&retention.insert(finished(1), 5, now)), []);
    assert_eq!(ids(&retention.insert(finished(2), 5, now)), []);
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), [1]);
    assert_eq!(kept(&retention), [2, 3]);
    assert!(retention.get(1).is_none());
}

#[test]
fn the_oldest_go_when_they_are_too_much() {
    let (mut retention, now) = (retention(100, 10), Instant::now());
    retention.insert(finished(1), 4, now);
    assert_eq!(ids(&retention.insert(finished(2), 6, now)), []);
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), [1, 2]);
    assert_eq!(ids(&retention.insert(finished(4), 5, now)), []);
    assert_eq!(ids(&retention.insert(finished(5), 11, now)), [3, 4, 5]);
    assert_eq!(kept(&retention), []);
    retention.insert(finished(6), 10, now);
    assert_eq!(kept(&retention), [6]);
}

#[test]
fn the_oldest_go_when_they_are_too_old() {
    let (mut retention, start) = (retention(100, 1000), Instant::now());
    retention.insert(finished(1), 5, start);
    retention.insert(finished(2), 5, start + Duration::from_secs(1));
    assert_eq!(ids(&retention.expire(start + AGE - Duration::from_nanos(1))), []);
    assert_eq!(kept(&retention), [1, 2]);
    assert_eq!(ids(&retention.expire(start + AGE)), [1]);
    assert_eq!(kept(&retention), [2]);
    assert_eq!(ids(&retention.insert(finished(3), 5, start + AGE * 2)), [2]);
}

#[test]
fn a_run_that_is_forgotten_is_let_go_and_not_counted() {
    let (mut retention, now) = (retention(2, 10), Instant::now());
    retention.insert(finished(1), 5, now);
    retention.insert(finished(2), 5, now);
    retention.forget(1);
    retention.forget(1);
    retention.forget(7);
    assert_eq!(kept(&retention), [2]);
    assert_eq!(ids(&retention.expire(now)), [1]);
    assert_eq!(ids(&retention.insert(finished(3), 5, now)), []);
    assert_eq!(kept(&retention), [2, 3]);
}

#[test]
fn who_reads_what_is_let_go_may_linger() {
    let (mut retention, start) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    assert_eq!(ids(&retention.insert(reader.clone(), 5, start)), []);
    assert_eq!(kept(&retention), []);
    assert_eq!(ids(&retention.expire(start + LINGER - Duration::from_nanos(1))), []);
    let gone = retention.expire(start + LINGER);
    assert_eq!(ids(&gone), [1]);
    gone.iter().for_each(|run| run.shed());
    assert_eq!(reader.lock().log.len(), 1);
    assert!(reader.lock().log.terminal().is_some());
    assert_eq!(ids(&retention.expire(start + LINGER)), []);
}

#[test]
fn the_time_to_linger_is_ten_seconds_from_the_end_of_the_run() {
    assert_eq!(LINGER, Duration::from_secs(10));
    let (mut retention, start) = (retention(1, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, start);
    let gone = retention.insert(finished(2), 5, start + LINGER);
    assert_eq!(ids(&gone), [1], "it was let go later, but ended that long ago");
}

/// Not to be kept is not to be kept, also for those who were there; but a retention of no time is meant for late readers.
#[test]
fn nobody_lingers_longer_than_retention_keeps_a_run() {
    for (age, lingers) in [(Duration::from_secs(1), Duration::from_secs(1)), (Duration::ZERO, LINGER)] {
        let start = Instant::now();
        let mut retention = Retention::new(RetentionLimits { runs: 0, bytes: 1000, age });
        let reader = finished(1);
        retention.insert(reader.clone(), 5, start);
        assert_eq!(ids(&retention.expire(start + lingers - Duration::from_nanos(1))), []);
        assert_eq!(ids(&retention.expire(start + lingers)), [1]);
        assert!(!reader.lock().log.is_empty());
    }
}

#[test]
fn what_nobody_reads_any_more_does_not_linger() {
    let (mut retention, now) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, now);
    drop(reader);
    assert_eq!(ids(&retention.expire(now)), [1]);
}

#[test]
fn one_that_lingers_holds_up_no_other() {
    let (mut retention, now) = (retention(0, 1000), Instant::now());
    let reader = finished(1);
    retention.insert(reader.clone(), 5, now);
    for id in 2..100 {
        assert_eq!(ids(&retention.insert(finished(id), 5, now)), [id]);
    }
    assert_eq!(Arc::strong_count(&reader), 2);
}

#[test]
fn a_manager_keeps_runs_for_as_long_as_its_limits_say() {
    let mut limits = wide();
    limits.retention.age = Duration::from_millis(50);
    let manager = RunManager::new(limits);
    let event = payload("a");
    manager.open(1).unwrap();
    manager.publish(1, event.clone());
    let ended = Instant::now();
    manager.finish(1, payload("done"), false);
    while manager.terminal(1).is_some() {
        assert!(ended.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    assert!(ended.elapsed() >= Duration::from_millis(50));
    assert_eq!(manager.retained_runs(), [] as [RunId; 0]);
    assert_eq!(manager.stats().bytes_held, 0);
    assert_eq!(Arc::strong_count(&event), 1, "its bytes are freed");
    let waiting = subscribe(&manager, 1, BEGINNING);
    assert_eq!(read(&waiting), [] as [String; 0], "nobody knows the run");
    assert_eq!(manager.subscribed_runs(), [1]);
}

#[test]
fn a_reader_may_finish_what_is_not_retained() {
    let manager = RunManager::new(limits(10, 1000, 0, 0));
    manager.open(1).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a", "b"]);
    manager.finish(1, payload("done"), false);
    assert_eq!(manager.retained_runs(), [] as [RunId; 0]);
    assert!(manager.terminal(1).is_none());
    manager.open(1).unwrap();
    assert_eq!(read(&reader), ["1 a", "2 b", "end 3 done"]);
}

/// Every way into the manager that looks at retention lets go of what is over its bounds.
#[test]
fn each_way_in_frees_what_has_expired() {
    type Way = fn(&RunManager);
    let ways: [(&str, Way); 7] = [
        ("open", |manager| drop(manager.open(2))),
        ("finish", |manager| assert!(manager.finish(2, payload("done"), false))),
        ("a finish that does nothing", |manager| assert!(!manager.finish(3, payload("done"), true))),
        ("subscribe", |manager| drop(subscribe(manager, 2, Start::Newest))),
        ("terminal", |manager| assert!(manager.terminal(2).is_none())),
        ("retained_runs", |manager| drop(manager.retained_runs())),
        ("stats", |manager| _ = manager.stats()),
    ];
    for (name, way) in ways {
        let manager = RunManager::new(limits(10, 1000, 0, 0));
        manager.open(3).unwrap();
        manager.open(1).unwrap();
        let event = payload("a");
        manager.publish(1, event.clone());
        let reader = subscribe(&manager, 1, Start::Newest);
        manager.finish(1, payload("done"), false);
        assert_eq!(Arc::strong_count(&event), 2, "its reader may still read it");
        drop(reader);
        way(&manager);
        assert_eq!(Arc::strong_count(&event), 1, "{name}");
    }
}
