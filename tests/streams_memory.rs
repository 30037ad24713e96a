//! The memory of the thread that writes streams, once they have gone.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use genglossary_runs::core::limits::{LogLimits, RetentionLimits};
use genglossary_runs::core::{Limits, RunIdRef, RunManager, Start, Subscription};
use genglossary_runs::host::streams::{Group, Options, hand_over};

/// The most bytes that were allocated at once.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Noting;

#[global_allocator]
static ALLOCATOR: Noting = Noting;

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn subscribe(manager: &RunManager) -> Arc<Subscription> {
    Arc::new(manager.subscribe(RunIdRef::Int(1), Start::Newest, false).unwrap())
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
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
    LARGEST.store(0, Ordering::Relaxed);
    for _ in 0..12_000 {
        let (leaves, ours) = UnixStream::pair().unwrap();
        hand_over(ours.into(), subscribe(&manager), options, &group).unwrap();
        drop(leaves);
        // Few at a time, as all of them together would need much memory.
        wait_until(|| group.open() <= 100);
    }
    wait_until(|| group.open() == 1);
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest < 200_000, "{largest} bytes at once");
}
