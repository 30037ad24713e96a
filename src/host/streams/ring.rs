//! Sending to many sockets with one system call, through io_uring.

use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

/// Maximum number of sockets per call.
pub const ENTRIES: usize = 64;

/// An io_uring, if the system has one and lets this process use it.
pub struct Ring(Option<IoUring>);

impl Ring {
    /// Create a ring. It sends nothing if there is no suitable io_uring, or if `GENGLOSSARY_RUNS_IO_URING` is 0.
    pub fn new() -> Self {
        let is_off = std::env::var_os("GENGLOSSARY_RUNS_IO_URING").is_some_and(|value| value == "0");
        let ring = if is_off { None } else { IoUring::new(ENTRIES as u32).ok() };
        // Since Linux 5.12; some earlier versions wait for a socket although they are told not to.
        Self(ring.filter(|ring| ring.params().is_feature_native_workers()))
    }

    /// Send to each of at most [`ENTRIES`] sockets what it accepts at once. Returns how many bytes each has accepted: 0
    /// also on an error, which the next write to that socket will report.
    pub fn send(&mut self, parts: &[(BorrowedFd<'_>, &[u8])]) -> Vec<usize> {
        let mut taken = vec![0; parts.len()];
        let Some(ring) = &mut self.0 else { return taken };
        let mut submission = ring.submission();
        for (index, (socket, bytes)) in parts.iter().enumerate() {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let send = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build()
                .user_data(index as u64);
            #[expect(unsafe_code, reason = "the kernel gets the address of the bytes")]
            // SAFETY: the kernel reads the bytes only during the call below, for which `parts` borrows them and keeps
            // the socket open: with MSG_DONTWAIT, an entry that it takes is complete when the call returns. Entries
            // that it does not take are never submitted, because the ring is dropped then.
            let pushed = unsafe { submission.push(&send) };
            if pushed.is_err() {
                break;
            }
        }
        let pushed = submission.len();
        drop(submission);
        let submitted = ring.submit_and_wait(pushed);
        for completion in ring.completion() {
            let index = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
            if let Some(taken) = taken.get_mut(index) {
                *taken = usize::try_from(completion.result()).unwrap_or(0);
            }
        }
        if submitted.ok() != Some(pushed) {
            self.0 = None;
        }
        taken
    }
}
