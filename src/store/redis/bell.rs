//! The bell: a second connection, on which a thread listens for changes in the store.
//!
//! It only gives hints. Messages are numbered and the store counts them: an engine that missed one checks everything.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use redis::Connection;

use super::server::Address;
use crate::core::sync::Mutex;
use crate::core::{Fence, fork};
use crate::store::store::Wake;

/// How long the thread listens before it checks whether it is still needed.
const LISTEN: Duration = Duration::from_millis(500);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// What was heard since the last look.
#[derive(Debug, Default)]
pub struct Heard {
    /// Runs that changed.
    pub runs: HashSet<Fence>,
    /// A run began.
    pub began: bool,
    /// There is a command for this process, or a reply.
    pub messages: bool,
    /// The number of the newest change up to which no message was missed.
    pub number: u64,
    /// A message was missed.
    pub missed: bool,
    /// It is listening, so that missed messages are noticed.
    pub is_up: bool,
}

impl Heard {
    /// Whether it is listening and has missed nothing that a later message reveals.
    pub fn is_sure(&self) -> bool {
        self.is_up && !self.missed
    }
}

struct Shared {
    heard: Mutex<Heard>,
    is_wanted: AtomicBool,
    wake: Wake,
    channel: String,
    /// A message on this channel ends the thread's wait.
    stop: String,
    owner: String,
}

/// Listens until dismissed.
pub struct Bell {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Bell {
    /// Listen to `channel`. `number` is the newest known change.
    pub fn new(address: Address, channel: String, owner: &str, number: u64, wake: Wake) -> Self {
        let shared = Arc::new(Shared {
            heard: Mutex::new(Heard { number, ..Heard::default() }),
            is_wanted: AtomicBool::new(true),
            wake,
            stop: format!("{channel}:{owner}"),
            channel,
            owner: owner.to_owned(),
        });
        let listener = shared.clone();
        let listen = move || fork::detached(|| listener.run(&address));
        // Without the thread, the store is polled.
        let thread = std::thread::Builder::new().name("run-bell".to_owned()).spawn(listen).ok();
        Self { shared, thread }
    }

    /// Take what was heard.
    pub fn take(&self) -> Heard {
        let mut heard = self.shared.heard.lock();
        let rest = Heard { number: heard.number, is_up: heard.is_up, ..Heard::default() };
        std::mem::replace(&mut *heard, rest)
    }

    /// Whether it is listening.
    pub fn is_up(&self) -> bool {
        self.shared.heard.lock().is_up
    }

    /// Record that everything up to the change `number` has been handled.
    pub fn note(&self, number: u64) {
        let mut heard = self.shared.heard.lock();
        heard.number = heard.number.max(number);
    }

    /// Wait until a dismissed bell has stopped listening, so that a fork does not copy its connection.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Tell it to stop listening. The first call returns the channel on which any message ends the thread's wait.
    pub fn dismiss(&self) -> Option<&str> {
        self.shared.is_wanted.swap(false, Ordering::Relaxed).then_some(&self.shared.stop)
    }
}

impl Shared {
    fn run(&self, address: &Address) {
        while self.is_wanted.load(Ordering::Relaxed) {
            let begun = Instant::now();
            if let Ok(mut connection) = address.connect() {
                let _ = self.listen(&mut connection);
            }
            self.heard.lock().is_up = false;
            // Polls take over.
            (self.wake)();
            while self.is_wanted.load(Ordering::Relaxed) && begun.elapsed() < RETRY {
                std::thread::sleep(RETRY / 10);
            }
        }
    }

    fn listen(&self, connection: &mut Connection) -> redis::RedisResult<()> {
        let mut bell = connection.as_pubsub();
        bell.subscribe(&[&self.channel, &self.stop])?;
        bell.set_read_timeout(Some(LISTEN))?;
        self.heard.lock().is_up = true;
        (self.wake)();
        while self.is_wanted.load(Ordering::Relaxed) {
            match bell.get_message() {
                Ok(message) => self.hear(message.get_payload_bytes()),
                Err(error) if error.is_timeout() => {
                    // A half-open connection is silent, too.
                    bell.ping::<redis::Value>()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Handle a message: its number, its kind, the owner that it is for or comes from, and runs.
    fn hear(&self, message: &[u8]) {
        let Ok(message) = std::str::from_utf8(message) else { return };
        let mut words = message.split(' ');
        let Some(number) = words.next().and_then(|number| number.parse::<u64>().ok()) else { return };
        let mut heard = self.heard.lock();
        match number.cmp(&(heard.number + 1)) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => heard.number = number,
            std::cmp::Ordering::Greater => heard.missed = true,
        }
        let (what, is_own) = (words.next(), words.next() == Some(&self.owner));
        match what {
            // The engine knows of its own changes.
            Some("runs" | "began") if is_own => return,
            Some("runs") => heard.runs.extend(words.filter_map(|fence| fence.parse().ok()).map(Fence)),
            Some("began") => heard.began = true,
            Some("commands" | "replies") if !is_own => return,
            _ => heard.messages = true,
        }
        drop(heard);
        (self.wake)();
    }
}
