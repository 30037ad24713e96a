//! What concerns this host: files and sockets. No Python, and nothing the core needs.

pub mod owner;
pub mod streams;
