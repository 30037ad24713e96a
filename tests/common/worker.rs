//! A thread that is led step by step, so that a test decides what happens between two of them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::PATIENCE;

/// How long a thread is given to do what it must not. Too short a time hides a bug on a loaded machine, but never makes
/// a test fail.
const MUST_NOT: Duration = Duration::from_millis(50);

/// A thread that is told when to go on. It is not joined: if it hangs, its test fails all the same.
pub struct Worker {
    go_on: Sender<()>,
    reached: Receiver<&'static str>,
}

/// A worker's side of it.
pub struct Steps {
    gone_on: Receiver<()>,
    reach: Sender<&'static str>,
}

impl Worker {
    pub fn new(work: impl FnOnce(&Steps) + Send + 'static) -> Self {
        let ((go_on, gone_on), (reach, reached)) = (channel(), channel());
        thread::spawn(move || work(&Steps { gone_on, reach }));
        Self { go_on, reached }
    }

    /// Let it go on from where it waits.
    pub fn go_on(&self) {
        self.go_on.send(()).expect("it has not panicked");
    }

    #[track_caller]
    pub fn assert_reaches(&self, step: &str) {
        assert_eq!(self.next(), Some(step));
    }

    /// The next step it reaches; `None` if that takes too long, or it has panicked.
    pub fn next(&self) -> Option<&'static str> {
        self.reached.recv_timeout(PATIENCE).ok()
    }

    /// Whether it reaches nothing for a while.
    pub fn is_held_up(&self) -> bool {
        self.reached.recv_timeout(MUST_NOT).is_err()
    }

    #[track_caller]
    pub fn assert_reaches_nothing(&self) {
        assert_eq!(self.reached.recv_timeout(MUST_NOT), Err(RecvTimeoutError::Timeout));
    }
}

impl Steps {
    pub fn reach(&self, step: &'static str) {
        // The test may have failed.
        let _ = self.reach.send(step);
    }

    pub fn wait(&self) {
        let _ = self.gone_on.recv();
    }
}
