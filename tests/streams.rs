//! The thread that writes streams: what reaches the other end of a socket.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::{BEGINNING, PATIENCE, manager, payload, publish, subscribe, wait_until};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::RunManager;
use genglossary_runs::host::streams::{Group, Options, Stats, drain, hand_over};

/// The counters are the process's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const OPTIONS: Options = Options { heartbeat: None, send_timeout: Duration::from_secs(60), retry: 1234 };

/// A client of run 1.
fn client(manager: &RunManager, group: &Arc<Group>, options: Options) -> UnixStream {
    let (theirs, ours) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    hand_over(ours.into(), Arc::new(subscribe(manager, 1, BEGINNING)), options, group).unwrap();
    theirs
}

fn all(mut client: UnixStream) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn every_client_gets_the_run_in_the_chunked_coding() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a"]);
    let clients: Vec<_> = (0..50).map(|_| client(&manager, &group, OPTIONS)).collect();
    publish(&manager, 1, &["b", "c"]);
    manager.finish(Int(1), payload("end"), false);
    for text in clients.into_iter().map(all) {
        let body: String = text.split("\r\n").skip(1).step_by(2).collect();
        let data: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data, ["a", "b", "c", "end"]);
        assert!(text.ends_with("\r\n0\r\n\r\n"));
    }
    wait_until("all streams have ended", || group.open() == 0);
    assert_eq!(manager.stats().subscribers, 0);
}

#[test]
fn a_drained_client_is_told_when_to_come_back() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    let (stays, other) = (Arc::default(), RunManager::new(common::wide()));
    let kept = client(&other, &stays, OPTIONS);
    let drained = client(&manager, &group, OPTIONS);
    drain(&group, PATIENCE);
    assert_eq!(all(drained), "c\r\nretry: 1234\n\r\n0\r\n\r\n");
    wait_until("all streams have ended", || group.open() == 0);
    assert_eq!(stays.open(), 1);
    drop(kept);
    wait_until("the other streams have ended", || stays.open() == 0);
}

#[test]
fn a_drain_whose_grace_never_elapses_drained_nothing() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    let drained = client(&manager, &group, OPTIONS);
    drain(&group, Duration::MAX);
    assert_eq!(all(drained), "c\r\nretry: 1234\n\r\n0\r\n\r\n");
    wait_until("all streams have ended", || group.open() == 0);
}

#[test]
fn a_drain_cut_off_a_client_whose_heartbeat_was_due() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    let dropped = Stats::now().dropped;
    // Due whenever the thread looks.
    let options = Options { heartbeat: Some(Duration::from_nanos(1)), ..OPTIONS };
    let mut clients: Vec<_> = (0..20).map(|_| client(&manager, &group, options)).collect();
    clients.iter_mut().for_each(|client| client.read_exact(&mut [0; 17]).unwrap());
    drain(&group, PATIENCE);
    for text in clients.into_iter().map(all) {
        assert!(text.ends_with("c\r\nretry: 1234\n\r\n0\r\n\r\n"), "{text:?}");
    }
    wait_until("all streams have ended", || group.open() == 0);
    assert_eq!(Stats::now().dropped, dropped);
}

#[test]
fn a_silent_run_gives_heartbeats_and_a_client_that_leaves_is_noticed() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    let mut client = client(&manager, &group, Options { heartbeat: Some(Duration::from_millis(5)), ..OPTIONS });
    let mut beats = [0; 3 * 17];
    client.read_exact(&mut beats).unwrap();
    assert_eq!(&beats, "c\r\n: keepalive\n\r\n".repeat(3).as_bytes());
    drop(client);
    wait_until("the client is forgotten", || group.open() == 0 && manager.stats().subscribers == 0);
}

#[test]
fn a_client_that_takes_nothing_is_dropped_and_counted() {
    let _alone = alone();
    let before = Stats::now().dropped;
    let (manager, group) = (RunManager::new(common::limits(100, 1 << 26, 1, 1 << 26)), Arc::default());
    manager.open(Int(1)).unwrap();
    let _client = client(&manager, &group, Options { send_timeout: Duration::from_millis(50), ..OPTIONS });
    publish(&manager, 1, &["x".repeat(8 << 20).as_str()]);
    wait_until("the client is dropped", || group.open() == 0 && Stats::now().stalled == 0);
    assert_eq!((Stats::now().dropped, Stats::now().stalled), (before + 1, 0));
    assert_eq!(manager.stats().subscribers, 0);
}

#[test]
fn a_client_that_did_not_take_the_end_of_its_run_was_not_hurried_by_a_drain() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    let (_theirs, mut ours) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[0; 4096]).is_ok() {}
    let ended = Arc::new(subscribe(&manager, 1, BEGINNING));
    ended.close();
    hand_over(ours.into(), ended, OPTIONS, &group).unwrap();
    wait_until("the client stalls", || Stats::now().stalled == 1);
    drain(&group, Duration::from_millis(50));
    wait_until("the client is dropped", || group.open() == 0);
}

#[test]
fn one_that_came_as_another_left_got_everything_twice() {
    let _alone = alone();
    let (manager, group) = (manager(100), Arc::default());
    manager.open(Int(1)).unwrap();
    publish(&manager, 1, &["a"]);
    manager.finish(Int(1), payload("end"), false);
    let expected = all(client(&manager, &group, OPTIONS));
    // Each leaves as soon as it has everything, when the thread has yet to look at it again; the next gets its number.
    let follow = || {
        let (mut client, mut text) = (client(&manager, &group, OPTIONS), vec![0; expected.len()]);
        client.read_exact(&mut text).unwrap();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| follow()));
        }
    });
}
