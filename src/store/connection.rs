//! The open connections of this process to its stores. During a fork, none may be open, except those that survive it.

use std::ops::{Deref, DerefMut};

use super::store::{Result, Source, Store, Wake};
use crate::core::sync::Mutex;

/// How many are open or being opened. While the fork gate is closed, its lock keeps threads from opening one. A leaf.
static OPEN: Mutex<usize> = Mutex::new(0);

/// A connection. It is closed before it counts as closed.
pub struct Connection {
    store: Box<dyn Store>,
    _counted: Option<Counted>,
}

impl Connection {
    /// Connect to a store through `source`.
    ///
    /// # Errors
    ///
    /// Those of `source`.
    pub fn open(source: &dyn Source, wake: &Wake) -> Result<Self> {
        let counted = (!source.survives_fork()).then(Counted::new);
        Ok(Self { store: source.connect(wake)?, _counted: counted })
    }
}

impl Deref for Connection {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.store.as_ref()
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.store.as_mut()
    }
}

struct Counted;

impl Counted {
    fn new() -> Self {
        *OPEN.lock() += 1;
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *OPEN.lock() -= 1;
    }
}

/// Run work that opens a store and closes it again.
pub fn briefly<T>(work: impl FnOnce() -> T) -> T {
    let _counted = Counted::new();
    work()
}

/// Whether any is open or being opened. While the fork gate is closed, the answer does not change.
pub fn any_is_open() -> bool {
    *OPEN.lock() > 0
}
