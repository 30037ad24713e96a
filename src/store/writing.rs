//! What the engine's thread writes to the store: the events of the runs that are open here, and how they ended.

use std::time::{Duration, Instant};

use super::commands::cancel;
use super::owned::{Ended, Owned};
use super::record::Outcome;
use super::store::{Append, Error, FOLLOWED_AT_ONCE, Fate, PAGE, PAGE_BYTES, Progress, Result, StoredEvent};
use super::worker::{WRITE_INTERVAL, Worker};
use crate::core::log::Lookup;
use crate::core::wake::Key;
use crate::core::{Fence, Seq};

/// A write of this many events is followed by the next one at once.
const BUSY_WRITE: usize = 256;
/// Otherwise, a slow store is left to others for this long after each write.
const WRITE_PAUSE: Duration = Duration::from_millis(1);
/// How many runs one write covers.
const WRITTEN_AT_ONCE: usize = 64;
/// How many runs are remembered after their end was stored: for as long as their managers keep finished runs, but at
/// least for `END_AGE`.
const ENDED: usize = 256;
const END_AGE: Duration = Duration::from_secs(3);
/// Until this long after a run's end, a missing record counts as lost rather than as removed.
const LOST_AGE: Duration = Duration::from_secs(60);

/// The reason of a cancel event whose run another process ended.
const LOST: &str = "the store declared this process dead and ended its runs";

/// What to store of one run.
struct Batch {
    key: Key,
    append: Append,
    /// Events that were evicted before they could be stored.
    lost: u64,
}

impl Worker {
    /// Note which open runs have something new.
    pub(super) fn note_ready(&mut self) {
        for key in self.port.take_ready() {
            self.owned.set_ready(key);
        }
    }

    /// Store what is new in the open runs, after comparing the store with them if necessary.
    ///
    /// # Errors
    ///
    /// Some of it could not be stored; this is retried.
    pub(super) fn write(&mut self) -> Result<()> {
        self.prepare_write()?;
        let began = Instant::now();
        self.note_ready();
        let (mut written, mut result) = (0, Ok(()));
        for some in self.owned.ready().chunks(WRITTEN_AT_ONCE) {
            result = self.write_some(some).map(|events| written += events).and_then(|()| {
                // After an outage, there may be so much to write that others would miss the sign of life.
                self.keep_alive();
                self.prepare_write()
            });
            if result.is_err() {
                break;
            }
        }
        let now = Instant::now();
        let next = (began + WRITE_INTERVAL).max(now + WRITE_PAUSE);
        self.next_write = if written >= BUSY_WRITE { now } else { next };
        result
    }

    /// Have a connection, and know what the store has of the runs of this process.
    fn prepare_write(&mut self) -> Result<()> {
        self.require_connection()?;
        self.reconcile()
    }

    /// Store what is new in these runs. Returns the number of events.
    fn write_some(&mut self, ready: &[Key]) -> Result<usize> {
        let batches: Vec<Batch> = ready.iter().filter_map(|key| self.batch(*key)).collect();
        if batches.is_empty() {
            return Ok(0);
        }
        let written: usize = batches.iter().map(|batch| batch.append.events.len()).sum();
        let (appends, rest): (Vec<_>, Vec<_>) =
            batches.into_iter().map(|batch| (batch.append, (batch.key, batch.lost))).unzip();
        match self.ask(|store| store.append(&appends)) {
            Ok(fates) => {
                self.wrote.extend(appends.iter().map(|append| append.fence));
                let mut result = Ok(written);
                for ((append, (key, lost)), fate) in appends.iter().zip(rest).zip(fates) {
                    if fate == Fate::Stored {
                        self.shared.health.lock().events_stored += append.events.len() as u64;
                    }
                    if let Err(error) = self.settle(key, append, lost, fate) {
                        result = Err(error);
                    }
                }
                if result.is_ok() {
                    self.recovered();
                }
                result
            }
            Err(error) => {
                rest.into_iter().for_each(|(key, _)| self.owned.set_ready(key));
                Err(error)
            }
        }
    }

    /// What is new in one run. If this is all, its log wakes the engine at the next event.
    fn batch(&mut self, key: Key) -> Option<Batch> {
        let owned = self.owned.get(key)?;
        let (mut events, mut bytes, mut lost, mut next) = (Vec::new(), 0, 0, owned.next);
        let mut ended = false;
        let state = owned.run.lock();
        let more = loop {
            match state.log.at(next) {
                Lookup::Gap(gap) => {
                    lost += gap.missed();
                    next = gap.to.next();
                }
                Lookup::Event(payload, terminal) => {
                    bytes += payload.encoded_len();
                    events.push(StoredEvent { seq: next, payload: payload.clone() });
                    next = next.next();
                    ended = terminal;
                }
                Lookup::Pending | Lookup::Ended => break false,
            }
            if events.len() >= PAGE || bytes >= PAGE_BYTES {
                break true;
            }
        };
        let epoch = state.epoch();
        drop(state);
        let is_waiting = !more && owned.run.arm(epoch, &self.port);
        let (fence, is_new) = (owned.record.fence, next != owned.next);
        if is_waiting {
            self.owned.set_waiting(key);
        }
        if !is_new {
            return None;
        }
        let end = ended.then(|| {
            let noted = self.shared.outcomes.lock().get(&fence).cloned();
            let json = events.last().map(|event| event.payload.json()).unwrap_or_default();
            noted.unwrap_or_else(|| Outcome::of_event(json))
        });
        let append = Append { fence, events, last: next.previous(), end };
        Some(Batch { key, append, lost })
    }

    /// Record the fate of a run's batch.
    fn settle(&mut self, key: Key, append: &Append, lost: u64, fate: Fate) -> Result<()> {
        let Some(owned) = self.owned.get_mut(key) else { return Ok(()) };
        match fate {
            Fate::Stored => {
                owned.set_stored(append.last);
                self.shared.health.lock().events_lost += lost;
                if let Some(outcome) = append.end.clone() {
                    let owned = self.drop_owned(key);
                    self.ended.extend(owned.map(|owned| Ended { at: Instant::now(), owned, outcome }));
                    let excess = self.ended.len().saturating_sub(ENDED);
                    self.ended.drain(..excess);
                }
            }
            Fate::Unknown => self.restore(key)?,
            Fate::Refused => self.lose(key),
        }
        Ok(())
    }

    /// Store a run again of which the store has no record; if another process has ended it, it is lost.
    fn restore(&mut self, key: Key) -> Result<()> {
        let Some(owned) = self.owned.store_after(key, Seq::ZERO) else { return Ok(()) };
        let record = owned.record.clone();
        if !self.ask(|store| store.restore(&record))? {
            self.lose(key);
        }
        Ok(())
    }

    /// Stop storing a run that another process ended because it declared this one dead, and cancel the run.
    fn lose(&mut self, key: Key) {
        let Some(owned) = self.owned.get(key) else { return };
        let (manager, run) = (owned.manager.clone(), owned.run.clone());
        let run_id = &run.id;
        self.warn(&format!(
            "Run {run_id} was ended or replaced by another process, so its events are no longer stored and it is cancelled"
        ));
        cancel(&manager, &run, Some(LOST));
        drop(self.drop_owned(key));
    }

    /// Compare the store with the runs of this process, unless that was done since it may last have lost data: a server
    /// that was down may be back without its newest data, or without any. What it has lost is stored again, as far as
    /// it is in memory. On failure, this is retried before anything is written.
    pub(super) fn reconcile(&mut self) -> Result<()> {
        if self.is_reconciled {
            return Ok(());
        }
        // Ends come first: they free keys that other runs may have by now.
        self.reconcile_ends()?;
        self.reconcile_owned()?;
        self.is_reconciled = true;
        if !self.refuses_writes {
            self.recover_if_stored();
        }
        Ok(())
    }

    /// The records of these runs, in the same order.
    fn records_of(&mut self, fences: &[Fence]) -> Result<Vec<Progress>> {
        let mut found = Vec::with_capacity(fences.len());
        for some in fences.chunks(FOLLOWED_AT_ONCE) {
            // For the records alone: no event has this seq.
            let wanted: Vec<_> = some.iter().map(|fence| (*fence, Seq(u64::MAX))).collect();
            found.extend(self.ask(|store| store.follow(&wanted))?);
        }
        Ok(found)
    }

    /// Store again what the store has lost of the open runs. Runs that others have ended are lost here.
    fn reconcile_owned(&mut self) -> Result<()> {
        let (keys, fences): (Vec<Key>, Vec<Fence>) =
            self.owned.iter().map(|owned| (owned.run.key, owned.record.fence)).unzip();
        let found = self.records_of(&fences)?;
        for (key, progress) in keys.into_iter().zip(found) {
            let Some(owned) = self.owned.get(key) else { continue };
            match progress {
                Progress::Missing => self.restore(key)?,
                Progress::Running(last, _) if last < owned.next.previous() => {
                    self.owned.store_after(key, last);
                }
                Progress::Ended(record, _) if record.end_fence.is_some() => self.lose(key),
                Progress::Running(..) | Progress::Ended(..) => {}
            }
        }
        Ok(())
    }

    fn drop_owned(&mut self, key: Key) -> Option<Owned> {
        let owned = self.owned.remove(key)?;
        self.last_owned = Some(Instant::now());
        self.shared.outcomes.lock().remove(&owned.record.fence);
        Some(owned)
    }

    /// Store the ends of runs again that a server, back without its newest data, has as running or not at all.
    fn reconcile_ends(&mut self) -> Result<()> {
        let fences: Vec<Fence> = self.ended.iter().map(|ended| ended.owned.record.fence).collect();
        let found = self.records_of(&fences)?;
        let mut lost = Vec::new();
        for (ended, progress) in std::mem::take(&mut self.ended).into_iter().zip(found) {
            let last = match progress {
                Progress::Running(last, _) => last,
                Progress::Missing if ended.at.elapsed() < LOST_AGE => Seq::ZERO,
                // It may still be lost later.
                Progress::Missing | Progress::Ended(..) => {
                    self.ended.push(ended);
                    continue;
                }
            };
            let Ended { mut owned, outcome, .. } = ended;
            owned.set_stored(last);
            self.shared.outcomes.lock().insert(owned.record.fence, outcome);
            lost.push(owned.run.key);
            self.owned.insert(owned);
        }
        for key in lost {
            while self.owned.is_ready(key) {
                self.write_some(&[key])?;
            }
        }
        Ok(())
    }

    /// Drop the ends of runs that managers no longer keep. A server that syncs every second has them on disk by now.
    pub(super) fn drop_old_ends(&mut self) {
        self.ended.retain(|ended| {
            let age = ended.at.elapsed();
            let kept = ended.owned.manager.limits().retention.age;
            age < END_AGE || (age < kept && !ended.owned.is_abandoned)
        });
    }

    /// Store all that has been published.
    pub(super) fn flush(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            // What fails is told below.
            let _ = self.write();
            if !self.has_unstored() {
                return Ok(());
            }
            let health = self.shared.health.lock().error.clone();
            if let Some(error) = health {
                return Err(Error::Failed(error));
            }
            if Instant::now() > deadline {
                return Err(Error::Busy);
            }
        }
    }
}
