//! The memory of the thread that writes streams, once they have gone.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use common::memory::{forget_largest, largest};
use common::wait_until;
use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::{Limits, RunIdRef, RunManager, Start, Subscription};
use genglossary_runs::host::streams::{Group, Options, hand_over};

fn subscribe(manager: &RunManager) -> Arc<Subscription> {
    Arc::new(manager.subscribe(RunIdRef::Int(1), Start::Newest, false).unwrap())
}

#[test]
fn the_alarms_of_clients_that_had_left_were_kept_until_their_heartbeat() {
    let log = LogLimits { events: 1, bytes: 1 };
    let retention = RetentionLimits { runs: 0, bytes: 0, age: Duration::ZERO };
    let (manager, group) = (RunManager::new(Limits { log, retention }), Arc::<Group>::default());
    let day = Some(Duration::from_secs(86_400));
    let options = Options { heartbeat: day, send_timeout: Duration::from_secs(60), retry: 0 };
    // It keeps the thread, with its alarms.
    let (_stays, ours) = UnixStream::pair().unwrap();
    hand_over(ours.into(), subscribe(&manager), options, &group).unwrap();
    forget_largest();
    for _ in 0..12_000 {
        let (leaves, ours) = UnixStream::pair().unwrap();
        hand_over(ours.into(), subscribe(&manager), options, &group).unwrap();
        drop(leaves);
        // Few at a time, as all of them together would need much memory.
        wait_until("most clients have left", || group.open() <= 100);
    }
    wait_until("all but one have left", || group.open() == 1);
    let largest = largest();
    assert!(largest < 200_000, "{largest} bytes at once");
}
