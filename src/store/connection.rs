//! The connections of this process to its stores: none may be open while it forks, but those that survive that.

use std::ops::{Deref, DerefMut};

use super::store::{Result, Source, Store, Wake};
use crate::core::sync::Mutex;

/// How many are open, or being opened. Its lock keeps threads from opening one while the fork gate is closed. A leaf.
static OPEN: Mutex<usize> = Mutex::new(0);

/// A connection. It is closed before it is counted as closed.
pub struct Connection {
    store: Box<dyn Store>,
    _counted: Option<Counted>,
}

impl Connection {
    /// Connect to a store, as `source` does.
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

/// Do what opens a store and closes it again.
pub fn briefly<T>(work: impl FnOnce() -> T) -> T {
    let _counted = Counted::new();
    work()
}

/// Whether any is open, or being opened. With the fork gate closed, that does not change.
pub fn any_is_open() -> bool {
    *OPEN.lock() > 0
}
