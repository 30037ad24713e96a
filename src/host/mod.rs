//! This host: files and sockets. No Python, and nothing that the core needs.

pub mod owner;
pub mod streams;
