//! A run manager for long background jobs. [`core`] is pure Rust, [`host`] handles this machine's files and sockets,
//! [`store`] keeps runs outside the process, and `py` is the Python binding.

pub mod core;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod store;

// Its docs contain Python examples, which `cargo test --doc` would run as Rust.
#[cfg(all(feature = "python", not(doctest)))]
mod py;
