//! Which process this is, counted by forks.
//!
//! A fork copies locks that other threads of the parent may hold, so in the child no lock made before the fork may be
//! taken. Everything with a lock remembers the generation it was made in and is left alone in any later one.

use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The number of forks between the process that loaded this module and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// To be called once in the child of each fork, before anything else of this module.
pub fn entered_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
