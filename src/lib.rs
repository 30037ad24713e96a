//! A run manager for long background jobs. [`core`] is pure Rust, [`host`] what concerns this machine, `py` the binding to
//! Python.

pub mod core;
#[cfg(not(loom))]
pub mod host;

#[cfg(feature = "python")]
mod py;
