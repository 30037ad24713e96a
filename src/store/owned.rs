//! The runs of this process that are stored, and which of them may have something new: finding those costs nothing for
//! the others.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::record::{Outcome, Record};
use crate::core::run::Run;
use crate::core::sync::Arc;
use crate::core::wake::Key;
use crate::core::{Fence, RunManager, Seq};

/// A run that is open here.
pub(super) struct Owned {
    pub manager: RunManager,
    pub run: Arc<Run>,
    /// What to restore if the store loses it.
    pub record: Record,
    /// The first event that is not stored.
    pub next: Seq,
    /// Its manager has dropped the engine.
    pub is_abandoned: bool,
}

impl Owned {
    /// Note that `last` is the newest event that the store has.
    pub fn set_stored(&mut self, last: Seq) {
        (self.next, self.record.last) = (last.next(), last);
    }
}

/// A run whose end is stored. A server that is killed, or replaced by one that lags behind, may lose it.
pub(super) struct Ended {
    pub at: Instant,
    pub owned: Owned,
    pub outcome: Outcome,
}

/// All runs that are open here.
#[derive(Default)]
pub(super) struct OwnedRuns {
    runs: HashMap<Key, Owned>,
    /// Those that may have events that are not stored. The logs of all others wake the engine at the next event.
    ready: HashSet<Key>,
}

impl OwnedRuns {
    /// Add a run, which may have events already.
    pub fn insert(&mut self, owned: Owned) {
        self.ready.insert(owned.run.key);
        self.runs.insert(owned.run.key, owned);
    }

    pub fn remove(&mut self, key: Key) -> Option<Owned> {
        self.ready.remove(&key);
        self.runs.remove(&key)
    }

    pub fn get(&self, key: Key) -> Option<&Owned> {
        self.runs.get(&key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Owned> {
        self.runs.get_mut(&key)
    }

    /// The run with this fence.
    pub fn of_fence(&self, fence: Fence) -> Option<&Owned> {
        self.iter().find(|owned| owned.record.fence == fence)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Owned> {
        self.runs.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Owned> {
        self.runs.values_mut()
    }

    pub fn len(&self) -> usize {
        self.runs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Note that a run may have events that are not stored.
    pub fn set_ready(&mut self, key: Key) {
        if self.runs.contains_key(&key) {
            self.ready.insert(key);
        }
    }

    /// Note that the log of a run wakes the engine at the next event.
    pub fn set_waiting(&mut self, key: Key) {
        self.ready.remove(&key);
    }

    pub fn is_ready(&self, key: Key) -> bool {
        self.ready.contains(&key)
    }

    /// Those that may have events that are not stored.
    pub fn ready(&self) -> Vec<Key> {
        self.ready.iter().copied().collect()
    }

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Store again what the log of a run holds after `last`, the newest event that the store has. Returns the run.
    pub fn store_after(&mut self, key: Key, last: Seq) -> Option<&Owned> {
        let owned = self.runs.get_mut(&key)?;
        owned.set_stored(last);
        self.ready.insert(key);
        Some(owned)
    }
}
