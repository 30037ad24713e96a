//! A run manager for long background jobs. [`core`] is pure Rust, [`host`] what concerns this machine, [`store`] what keeps
//! runs outside the process, `py` the binding to Python.

pub mod core;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod store;

// Its documentation is Python's, with Python's examples; `cargo test --doc` would take them for Rust.
#[cfg(all(feature = "python", not(doctest)))]
mod py;
