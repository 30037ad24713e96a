//! Whether the memory of a payload has been freed, and how much was allocated at once: an allocator that is the system's,
//! but notes the end of what is watched, and the largest block.
//!
//! So a test sees that nothing keeps a payload, without the core having to tell how often it is shared.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use genglossary_runs::core::Payload;

/// How much can be watched at once in all tests of one file.
const SLOTS: usize = 1024;

/// In a slot: nothing is watched here, or what was has been freed. Otherwise it is an address.
const EMPTY: usize = 0;
const FREED: usize = 1;

static WATCHED: [AtomicUsize; SLOTS] = [const { AtomicUsize::new(EMPTY) }; SLOTS];
/// All slots in use are before this one; it costs nothing to free memory while nothing is watched.
static USED: AtomicUsize = AtomicUsize::new(0);
/// The most bytes that were allocated at once.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watching;

#[global_allocator]
static ALLOCATOR: Watching = Watching;

// SAFETY: the system's allocator does all of it; nothing here allocates, unwinds or touches the memory.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let used = USED.load(Ordering::Relaxed);
        for slot in WATCHED.iter().take(used) {
            let address = slot.load(Ordering::Relaxed);
            if address.wrapping_sub(block.addr()) < layout.size() {
                // It fails if the watch ended meanwhile.
                let _ = slot.compare_exchange(address, FREED, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The most bytes that have been allocated at once since `forget_largest`.
pub fn largest() -> usize {
    LARGEST.load(Ordering::Relaxed)
}

pub fn forget_largest() {
    LARGEST.store(0, Ordering::Relaxed);
}

/// Tells when the memory of a payload or other bytes is freed.
#[derive(Debug)]
pub struct Watch {
    slot: usize,
}

impl Watch {
    /// Watch the payload, which has at least one byte of JSON.
    pub fn new(payload: &Payload) -> Self {
        Self::of(payload)
    }

    /// Watch what holds these bytes, of which there is at least one.
    pub fn of(bytes: &[u8]) -> Self {
        assert!(!bytes.is_empty());
        let address = bytes.as_ptr().addr();
        let taken = |slot: &AtomicUsize| slot.compare_exchange(EMPTY, address, Ordering::Relaxed, Ordering::Relaxed);
        let slot = WATCHED.iter().position(|slot| taken(slot).is_ok()).expect("less is watched at once");
        USED.fetch_max(slot + 1, Ordering::Relaxed);
        Self { slot }
    }

    /// Whether every clone of the payload, or what held the bytes, has been dropped.
    pub fn is_freed(&self) -> bool {
        WATCHED[self.slot].load(Ordering::Relaxed) == FREED
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED[self.slot].store(EMPTY, Ordering::Relaxed);
    }
}
