//! The core: runs, their logs, readers and cancel events, in pure Rust.
//!
//! A run is one bounded, numbered log ([`log`]); a subscription is only a cursor on it ([`subscription`], [`cursor`]).
//! The [`manager`] opens, publishes to, finishes and cancels runs through the maps of the [`registry`]. [`retention`]
//! keeps finished runs for late readers, [`wake`] wakes waiters, [`stored`] handles the runs of a store, and
//! [`archive`] reads what the store holds of them.
//!
//! # Rules
//!
//! - A critical section runs no callback, sends no wake-up, logs nothing and drops no caller's object: take out what is
//!   needed, drop the guard, then use it.
//! - Lock order: `Registry.maps`, then `Subscription.cursor`, then `Run.state`. The locks of a [`cancel::CancelEvent`],
//!   a [`wake::Port`], an [`archive::Backlog`] and a [`sync::Bell`] are leaves: no lock is taken while one is held. So
//!   are locks that the `note` of [`RunManager::finish_life`] takes.
//! - A thread without the GIL needs a share of the gate of [`fork`] to take a lock; the lock types take it.
//! - A reader unsubscribes in its `Drop`.
//! - Finishing a run is one step for everyone else: it happens under `Registry.maps`.
//! - Everything kept is bounded.

pub mod archive;
pub mod cancel;
pub mod cursor;
pub mod error;
pub mod event;
pub mod fork;
pub mod frame;
pub mod id;
pub mod limits;
pub mod log;
pub mod manager;
pub mod registry;
pub mod retention;
pub mod run;
pub mod stats;
pub mod stored;
pub mod subscription;
pub mod sync;
pub mod wake;

pub use cancel::{Callback, CancelEvent};
pub use error::Error;
pub use event::{Event, EventName, Gap, Payload};
pub use frame::Chunk;
pub use id::{EventId, Fence, RunId, RunIdRef, Seq};
pub use limits::Limits;
pub use manager::{RunManager, Start};
pub use stats::Stats;
pub use subscription::{NotReady, Subscription};
pub use wake::{Epoch, Key, Port};
