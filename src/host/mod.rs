//! What concerns this host: sockets. No Python, and nothing the core needs.

pub mod streams;
