//! The processes of this host that execute runs of a store: one lock file each, next to the store.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use super::file::beside;
use crate::core::sync::Mutex;
use crate::host::owner::OwnerLock;
use crate::store::record::now;
use crate::store::store::{Error, Result};

/// This process.
pub struct Owner {
    name: String,
    path: PathBuf,
    lock: Mutex<Option<OwnerLock>>,
}

impl Owner {
    /// An owner with a name that no other process has or had.
    pub fn new(store: &Path) -> Self {
        let name = format!("{}-{:x}-{:x}", std::process::id(), now(), RandomState::new().hash_one(0) >> 32);
        Self { path: lock_file(store, &name), name, lock: Mutex::new(None) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lock the file, if it is not locked yet. Only then may a record contain the name.
    pub fn claim(&self) -> Result<&str> {
        let mut lock = self.lock.lock();
        if lock.is_none() {
            let locked = OwnerLock::acquire(&self.path)
                .map_err(|error| Error::Failed(format!("{} cannot be locked: {error}", self.path.display())))?;
            // Another process that takes this one for dead may hold it for a moment.
            *lock = Some(locked.ok_or(Error::Busy)?);
        }
        Ok(&self.name)
    }

    /// Create the file again if somebody deleted it: without it, this process would be taken for dead.
    pub fn keep(&self) -> Result<()> {
        let mut lock = self.lock.lock();
        if lock.is_some() && !self.path.exists() {
            *lock = None;
            drop(lock);
            self.claim()?;
        }
        Ok(())
    }

    /// Remove the file, because no run of this process is running.
    pub fn leave(&self) {
        if let Some(lock) = self.lock.lock().take() {
            // If the file remains, whoever finds it unlocked removes it.
            let _ = lock.remove();
        }
    }
}

/// Lock the file of a dead owner; `None` if the owner is alive.
pub fn find_dead(store: &Path, name: &str) -> Option<OwnerLock> {
    OwnerLock::acquire(&lock_file(store, name)).ok().flatten()
}

fn lock_file(store: &Path, name: &str) -> PathBuf {
    beside(store, &format!("-owner-{name}.lock"))
}
