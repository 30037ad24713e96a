//! How the engine's thread calls the store, and what it does while the store fails.

use std::time::{Duration, Instant};

use super::connection::Connection;
use super::shared::Level;
use super::store::{Error, Result, Store};
use super::worker::{WRITE_INTERVAL, Worker};

/// Between two attempts with a store that fails.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long other processes may lock a store before that counts as a failure.
pub(super) const LOCKED_TIMEOUT: Duration = Duration::from_secs(5);

impl Worker {
    /// Connect, if there is no connection, and store again what the store may have lost. Returns whether there is a
    /// connection; if not, the error is recorded.
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
                    self.warn(&format!("The run store {}: {warning}", self.shared.name));
                    self.warned = Some(warning);
                }
                self.store = Some(store);
                (self.check_all, self.is_reconciled) = (true, false);
                // First of all: others may be about to declare this process dead.
                if !self.owned.is_empty() {
                    let _ = self.ask(|store| store.keep_alive());
                }
                // If this fails, it is retried before anything is written.
                let _ = self.reconcile();
                self.store.is_some()
            }
            Err(error) => {
                let is_lost = matches!(error, Error::Lost(_));
                self.failed(error);
                // The one that is there instead can be used.
                is_lost && self.connect()
            }
        }
    }

    /// Connect, if there is no connection.
    ///
    /// # Errors
    ///
    /// The store cannot be reached.
    pub fn require_connection(&mut self) -> Result<()> {
        if self.connect() {
            return Ok(());
        }
        let health = self.shared.health.lock();
        Err(Error::Failed(health.error.clone().unwrap_or_else(|| "the store is locked".to_owned())))
    }

    /// Call the store, and record whether it works.
    pub fn ask<T>(&mut self, question: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        self.require_connection()?;
        let Some(store) = self.store.as_mut() else { return Err(Error::Busy) };
        match question(&mut **store) {
            Ok(answer) => {
                // A store that can be read may still refuse writes.
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

    /// Call the store with what may be done twice: often only this call finds that an idle connection was lost. A
    /// server that hangs is called once.
    pub fn ask_twice<T>(&mut self, question: impl Fn(&mut dyn Store) -> Result<T>) -> Result<T> {
        let (was_connected, asked) = (self.store.is_some(), Instant::now());
        let answer = self.ask(&question);
        let is_lost = was_connected && self.store.is_none() && self.retry_at.is_some_and(|at| at <= Instant::now());
        if answer.is_err() && is_lost && asked.elapsed() < RETRY_INTERVAL { self.ask(question) } else { answer }
    }

    /// Record that the store answers. It works again unless there is something that it has not stored yet.
    pub fn recover_if_stored(&mut self) {
        let has_failed = self.retry_at.is_some() || self.locked_since.is_some();
        // In this order, because this runs for every call, and there may be many runs.
        if has_failed && !self.has_unstored() {
            self.recovered();
        }
    }

    /// Record that the store can be written.
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
                format!("another process has kept it locked for {} seconds", LOCKED_TIMEOUT.as_secs())
            }
            Error::Lost(_) => {
                // There is a different store now, which does not know the runs that are open here.
                self.store = None;
                self.executed.clear();
                self.ended.clear();
                let lost =
                    format!("{} was deleted or replaced before the process that runs it replied", self.shared.name);
                for sent in self.sent.drain(..) {
                    drop(sent.answer.give(Err(Error::Failed(lost.clone()))));
                }
                self.warn(&format!(
                    "The run store {} was deleted or replaced: its data is lost, and open runs continue in a new store",
                    self.shared.name
                ));
                return;
            }
            Error::Refused(message) | Error::Failed(message) => message,
        };
        // A connection that can still be read is kept: with a full disk, a new one could not even be opened.
        if self.store.as_mut().is_some_and(|store| store.news().is_err()) {
            self.store = None;
        }
        self.refuses_writes = self.store.is_some();
        // The store may have done what it was asked without answering.
        self.tidy_soon();
        let first = self.shared.health.lock().error.replace(message.clone()).is_none();
        // A lost connection, such as one that was idle, is replaced at once.
        self.retry_at = Some(if first && self.store.is_none() { now } else { now + RETRY_INTERVAL });
        if first {
            self.stalls = self.stalls.wrapping_add(1).max(1);
            self.warn(&format!(
                "The run store {} failed: {message}; runs continue and it is retried, \
                 but events that their logs evict meanwhile are lost",
                self.shared.name
            ));
        }
        // Each time, because some mirrors may have been taken out to be filled.
        self.followed.iter().for_each(|mirror| mirror.run.stall(self.stalls));
    }

    pub fn warn(&self, message: &str) {
        (self.report)(Level::Warning, message);
    }
}
