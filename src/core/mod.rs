//! The core: runs, their logs, their readers and their cancel events, in pure Rust.
//!
//! A run is one bounded, numbered log ([`log`]); a subscription is only a cursor on it ([`subscription`]). The
//! [`manager`] owns the maps; [`retention`] keeps finished runs for late readers; [`wake`] knows who waits.
//!
//! # Rules
//!
//! - In a critical section there is no callback, no wake-up, no logging and no drop of a caller's object: what is
//!   needed is taken out, the guard is dropped, then it is used.
//! - Lock order: `RunManager.maps`, then `Subscription.cursor`, then `Run.state`. The locks of a [`cancel::CancelEvent`]
//!   and of a [`wake::Port`] are leaves: nothing is locked while they are held.
//! - A reader's `Drop` is its unregistering.
//! - Finishing a run is one step for everyone else: it happens under `RunManager.maps`.
//! - Everything kept is bounded.

pub mod cancel;
pub mod error;
pub mod event;
pub mod fork;
pub mod log;
pub mod manager;
#[cfg(not(loom))]
pub mod owner;
pub mod retention;
pub mod run;
pub mod subscription;
pub mod sync;
pub mod wake;

pub use cancel::{Callback, CancelEvent};
pub use error::Error;
pub use event::{Event, EventId, Gap, Payload, RunId};
pub use manager::{Limits, RunManager, Start, Stats};
pub use subscription::{NotReady, Subscription};
pub use wake::Port;
