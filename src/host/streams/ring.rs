//! Sending to many sockets with one system call, by io_uring.

use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};

/// How many sockets one call sends to at most.
pub const ENTRIES: usize = 64;

/// What a system that has io_uring, and lets this process use it, sends with.
pub struct Ring(Option<IoUring>);

impl Ring {
    /// A ring; it sends nothing where there is no io_uring that will do, or `GENGLOSSARY_RUNS_IO_URING` is 0.
    pub fn new() -> Self {
        let is_off = std::env::var_os("GENGLOSSARY_RUNS_IO_URING").is_some_and(|value| value == "0");
        let ring = if is_off { None } else { IoUring::new(ENTRIES as u32).ok() };
        // Linux 5.12; some before it wait for a socket although they are told not to.
        Self(ring.filter(|ring| ring.params().is_feature_native_workers()))
    }

    /// Send to each socket, [`ENTRIES`] at most, what it takes at once. Returns how many bytes each has taken: none also if
    /// it failed, of which the next attempt to write to it tells.
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
            #[expect(unsafe_code, reason = "the kernel is given the address of what it is to send")]
            // SAFETY: the kernel reads the bytes only within the call below, for which `parts` borrows them and keeps the
            // socket open: with MSG_DONTWAIT an entry that it takes is complete when the call returns. Entries that it
            // does not take are never submitted, because the ring is dropped then.
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
