//! Locks and shared pointers: `parking_lot` and `std`, or loom's under `cfg(loom)` so that every interleaving of the
//! core can be explored.

#[cfg(loom)]
pub use self::model::*;
#[cfg(not(loom))]
pub use self::real::*;

#[cfg(not(loom))]
mod real {
    pub use parking_lot::{Condvar, Mutex, MutexGuard};
    pub use std::sync::Arc;
    pub use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// Share bytes: one allocation of their size.
    pub fn share(bytes: &[u8]) -> Arc<[u8]> {
        Arc::from(bytes)
    }
}

#[cfg(loom)]
mod model {
    //! loom's primitives behind the part of `parking_lot`'s interface that the core uses.

    use std::ops::{Deref, DerefMut};
    use std::time::Instant;

    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// Share bytes, counted by loom, so that one that is never freed fails the model.
    pub fn share(bytes: &[u8]) -> Arc<[u8]> {
        Arc::from_std(std::sync::Arc::from(bytes))
    }

    /// `parking_lot::Mutex`.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    /// `parking_lot::MutexGuard`; empty only while a [`Condvar`] has it.
    pub struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    /// `parking_lot::Condvar`; a wait never times out.
    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    /// `parking_lot::WaitTimeoutResult`.
    pub struct WaitTimeoutResult;

    impl<T> Mutex<T> {
        /// As `parking_lot`'s.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// As `parking_lot`'s.
        #[allow(clippy::expect_used)]
        pub fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().expect("a model that panicked has failed already")))
        }

        /// As `parking_lot`'s.
        pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok().map(|guard| MutexGuard(Some(guard)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        #[allow(clippy::expect_used)]
        fn deref(&self) -> &T {
            self.0.as_deref().expect("held")
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[allow(clippy::expect_used)]
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_deref_mut().expect("held")
        }
    }

    impl Condvar {
        /// As `parking_lot`'s.
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// As `parking_lot`'s.
        pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().and_then(|held| self.0.wait(held).ok());
        }

        /// As `parking_lot`'s, without the deadline.
        pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _deadline: Instant) -> WaitTimeoutResult {
            self.wait(guard);
            WaitTimeoutResult
        }

        /// As `parking_lot`'s.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    impl WaitTimeoutResult {
        /// Never.
        pub fn timed_out(&self) -> bool {
            false
        }
    }
}
