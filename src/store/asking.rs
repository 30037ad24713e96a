//! How the engine's thread asks the store, and what it does while the store fails.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::shared::Level;
use super::store::{Error, Result, Store};
use super::worker::{WRITE_INTERVAL, Worker};

/// Between two tries with a store that fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long a store may be locked by others before that counts as a failure.
pub(super) const LOCKED_TIMEOUT: Duration = Duration::from_secs(5);

impl Worker {
    /// Have a connection, or have said why there is none. On a new one, what the store may have lost is looked for first.
    pub fn connect(&mut self) -> bool {
        if self.store.is_some() {
            return true;
        }
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        match Connection::open(self.source.as_ref(), &self.wake) {
            Ok(mut store) => {
                let warning = store.warning().filter(|warning| self.warned.as_ref() != Some(warning));
                if let Some(warning) = warning {
                    self.say(&format!("The run store {}: {warning}", self.shared.name));
                    self.warned = Some(warning);
                }
                self.store = Some(store);
                (self.look, self.is_reviewed) = (true, false);
                // Before all else: others may be about to take this process for dead.
                if !self.owned.is_empty() {
                    let _ = self.ask(|store| store.keep_alive());
                }
                // If this fails, it is tried again before anything is written.
                let _ = self.review();
                self.store.is_some()
            }
            Err(error) => {
                self.failed(error);
                false
            }
        }
    }

    /// Ask the store, and note how it is.
    pub fn ask<T>(&mut self, question: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        if !self.connect() {
            let health = self.shared.health.lock();
            return Err(Error::Failed(health.error.clone().unwrap_or_else(|| "the store is locked".to_owned())));
        }
        let Some(store) = self.store.as_mut() else { return Err(Error::Busy) };
        match question(&mut **store) {
            Ok(answer) => {
                // What can be read may still refuse to be written.
                if !self.refuses_writes {
                    self.recover_if_stored();
                }
                Ok(answer)
            }
            Err(error) => {
                let again = match &error {
                    Error::Busy => Error::Busy,
                    other => Error::Failed(other.to_string()),
                };
                self.missed = true;
                self.failed(error);
                Err(again)
            }
        }
    }

    /// Ask what may be asked twice: that a connection was lost while nothing was asked is often found only now. A server
    /// that hangs is asked once.
    pub fn ask_twice<T>(&mut self, question: impl Fn(&mut dyn Store) -> Result<T>) -> Result<T> {
        let (was_connected, asked) = (self.store.is_some(), Instant::now());
        let answer = self.ask(&question);
        let is_lost = was_connected && self.store.is_none() && self.retry_at.is_some_and(|at| at <= Instant::now());
        if answer.is_err() && is_lost && asked.elapsed() < RETRY_INTERVAL { self.ask(question) } else { answer }
    }

    /// Note that the store answers, and so works again unless it has yet to take something.
    pub fn recover_if_stored(&mut self) {
        let has_failed = self.retry_at.is_some() || self.locked_since.is_some();
        // In this order: every question comes by here, and the runs may be many.
        if has_failed && !self.has_unstored() {
            self.recovered();
        }
    }

    /// Note that the store can be written.
    pub fn recovered(&mut self) {
        self.locked_since = None;
        self.retry_at = None;
        self.refuses_writes = false;
        let was = self.shared.health.lock().error.take();
        if was.is_some() {
            self.followed.iter().for_each(|mirror| mirror.run.stall(0));
            (self.report)(Level::Info, &format!("The run store {} works again", self.shared.name));
        }
    }

    fn failed(&mut self, error: Error) {
        let now = Instant::now();
        let message = match error {
            Error::Busy => {
                let since = *self.locked_since.get_or_insert(now);
                if now.duration_since(since) < LOCKED_TIMEOUT {
                    self.next_write = now + WRITE_INTERVAL;
                    return;
                }
                "it has been locked by another process for seconds".to_owned()
            }
            Error::Lost(_) => {
                // What is there now is another store, to which the runs that are open here are new.
                self.store = None;
                self.obeyed.clear();
                self.ended.clear();
                let lost =
                    format!("{} was deleted or replaced before the process that runs it replied", self.shared.name);
                for sent in self.sent.drain(..) {
                    drop(sent.answer.give(Err(Error::Failed(lost.clone()))));
                }
                self.say(&format!(
                    "The run store {} was deleted or replaced; what it held is lost, and runs that are open go on in a new one",
                    self.shared.name
                ));
                return;
            }
            Error::Refused(message) | Error::Failed(message) => message,
        };
        // A connection that can still be read is kept: a full disk takes nothing, not even a new connection.
        if self.store.as_mut().is_some_and(|store| store.news().is_err()) {
            self.store = None;
        }
        self.refuses_writes = self.store.is_some();
        // What was asked may have been done without an answer.
        self.tidy_soon();
        let first = self.shared.health.lock().error.replace(message.clone()).is_none();
        // A connection that was lost, as idle ones are, is made anew at once.
        self.retry_at = Some(if first && self.store.is_none() { now } else { now + RETRY_INTERVAL });
        if first {
            self.stalls = self.stalls.wrapping_add(1).max(1);
            self.say(&format!(
                "The run store {} fails: {message}; runs go on and it will be retried, but what their logs evict meanwhile is lost",
                self.shared.name
            ));
        }
        // Each time, since some may have been taken out to be filled.
        self.followed.iter().for_each(|mirror| mirror.run.stall(self.stalls));
    }

    pub fn say(&self, message: &str) {
        (self.report)(Level::Warning, message);
    }
}
