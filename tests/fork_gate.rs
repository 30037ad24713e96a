//! Forks while threads without the GIL contend the core's locks: the child's own locks work.
//!
//! Without the gate (`fork::close_gate` before each fork) a few children of a thousand find a part of parking_lot's table
//! locked, and hang at a contended lock of their own.

#![cfg(not(loom))]
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::thread;
use std::time::{Duration, Instant};

use genglossary_runs::core::fork::{close_gate, detached, entered_child, open_gate};
use genglossary_runs::core::sync::Mutex;

const FORKS: u32 = 400;
/// How long a child may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Let others come to the lock while it is held, so that they have to sleep.
fn hold(lock: &Mutex<u64>) {
    let mut number = lock.lock();
    *number += 1;
    thread::yield_now();
}

/// Threads that meet at new locks, and end.
fn contend_new_locks() {
    let locks: Arc<Vec<Mutex<u64>>> = Arc::new((0..64).map(Mutex::new).collect());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let locks = locks.clone();
            thread::spawn(move || detached(|| locks.iter().cycle().take(300).for_each(hold)))
        })
        .collect();
    for thread in threads {
        let _ = thread.join();
    }
}

/// Fork; the exit status of the child, or `None` if it hangs.
fn fork() -> Option<i32> {
    close_gate();
    // SAFETY: the child runs only code of this crate and of std, whose allocator is usable after a fork (glibc, macOS),
    // and ends by `_exit`, so nothing of the parent's runs in it.
    let child = unsafe { libc::fork() };
    open_gate();
    if child == 0 {
        entered_child();
        contend_new_locks();
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0, "fork failed");
    let deadline = Instant::now() + PATIENCE;
    let mut status = 0;
    // SAFETY: waits for the child that was just made, with a status to write to.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > deadline {
            // SAFETY: the child has not been waited for, so this is its number.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &mut status, 0);
            }
            return None;
        }
        thread::sleep(Duration::from_micros(200));
    }
    Some(status)
}

#[test]
fn a_child_never_finds_the_table_of_locks_locked() {
    // Stands for the GIL: the thread that forks has it, and so has every thread that is at a lock without the gate.
    let gil = Arc::new(StdMutex::new(()));
    let locks: Arc<Vec<Mutex<u64>>> = Arc::new((0..2).map(Mutex::new).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..7)
        .map(|index| {
            let (gil, locks, stop) = (gil.clone(), locks.clone(), stop.clone());
            let without_gil = index < 6;
            thread::spawn(move || {
                for lock in locks.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                    if without_gil {
                        detached(|| hold(lock));
                    } else {
                        let _gil = gil.lock().unwrap();
                        hold(lock);
                    }
                }
            })
        })
        .collect();
    let hung = (0..FORKS).filter(|_| {
        thread::sleep(Duration::from_micros(100));
        let _gil = gil.lock().unwrap();
        fork() != Some(0)
    });
    // One is enough to fail, and each takes its time.
    let hung = hung.take(1).count();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(hung, 0, "a child hung, or crashed");
}
