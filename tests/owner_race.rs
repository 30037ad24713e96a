//! Owners that come and go, most of them removing their file, while others look: there is never a second one.
//!
//! Every lock is on a file opened anew, so two of them in one process keep each other out as two processes do.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use genglossary_runs::host::owner::OwnerLock;

/// How long it may take on a loaded machine before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn there_is_never_a_second_owner_while_files_are_removed() {
    const TURNS: u32 = 1000;
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("owner-race");
    let _ = fs::remove_file(&path);
    let (owners, turns, looks) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let end = Instant::now() + PATIENCE;
    let goes_on = || {
        thread::yield_now();
        assert!(Instant::now() < end, "{turns:?} turns, {looks:?} looks");
        turns.load(Ordering::SeqCst) < TURNS || looks.load(Ordering::SeqCst) == 0
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while goes_on() {
                    let Some(owner) = OwnerLock::acquire(&path).unwrap() else { continue };
                    assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0, "two owners at once");
                    owner.describe("words").unwrap();
                    // Long enough for a second one to be seen.
                    thread::sleep(Duration::from_micros(100));
                    let turn = turns.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(owners.fetch_sub(1, Ordering::SeqCst), 1);
                    if turn % 3 == 0 { owner.release() } else { owner.remove().unwrap() }
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while goes_on() {
                    let Some(look) = OwnerLock::look(&path).unwrap() else { continue };
                    assert_eq!(owners.load(Ordering::SeqCst), 0, "an owner while somebody looks");
                    assert!(["", "words"].contains(&look.found()), "{:?}", look.found());
                    looks.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
}
