//! The core: runs, their logs, their readers and their cancel events, in pure Rust.
//!
//! A run is one bounded, numbered log ([`log`]); a subscription is only a cursor on it ([`subscription`],
//! [`cursor`]). The
//! [`registry`] has the maps, through which the [`manager`] opens, publishes, finishes and cancels; [`retention`] keeps
//! finished runs for late readers; [`wake`] knows the waiters; [`stored`] has the runs
//! of a store, and [`archive`] leads to what it holds of them.
//!
//! # Rules
//!
//! - In a critical section there is no callback, no wake-up, no logging and no drop of a caller's object: what is
//!   needed is taken out, the guard is dropped, then it is used.
//! - Lock order: `Registry.maps`, then `Subscription.cursor`, then `Run.state`. The locks of a [`cancel::CancelEvent`],
//!   of a [`wake::Port`], of a [`archive::Backlog`] and of a [`sync::Bell`] are leaves: nothing is locked while they are held.
//! - A thread without the GIL is at a lock only with a share of the gate of [`fork`], which the locks see to.
//! - A reader's `Drop` is its unregistering.
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
