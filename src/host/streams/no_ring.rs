//! A substitute for io_uring on systems without it.

use std::os::fd::BorrowedFd;

/// How many sockets are advanced together.
pub const ENTRIES: usize = 64;

/// Sends nothing.
pub struct Ring;

impl Ring {
    /// As on Linux.
    pub fn new() -> Self {
        Self
    }

    /// As on Linux, but nothing is sent: each socket is written to afterwards.
    pub fn send(&mut self, parts: &[(BorrowedFd<'_>, &[u8])]) -> Vec<usize> {
        vec![0; parts.len()]
    }
}
