//! What the engine's thread moves: events into the store, and out of it into mirrors and to readers that fell behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::record::{Outcome, Record, interrupted_event};
use super::store::{Append, Command, Error, Fate, News, PAGE, PAGE_BYTES, Progress, Result, StoredEvent};
use super::worker::{Followed, Owned, Worker};
use crate::core::archive::{Page, Terminal};
use crate::core::log::Lookup;
use crate::core::sync::Arc as CoreArc;
use crate::core::wake::Key;
use crate::core::{Fence, Payload, Seq, fork};

/// So many events make the next write come at once.
const BUSY_WRITE: usize = 256;
/// Runs of which is written at once.
const WRITTEN_AT_ONCE: usize = 64;
/// How many runs are remembered whose end was stored last, and how long.
const ENDED: usize = 256;
const END_AGE: Duration = Duration::from_secs(3);
/// Mirrors of which is asked at once.
const FILLED_AT_ONCE: usize = 100;
/// How long readers wait for events that cannot be read from the store, before they are told of a gap.
const WANTED_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a run is cancelled that another process ended.
const LOST: &str = "the store took this process for dead and ended its runs";

/// What is to be stored of one run.
struct Batch {
    key: Key,
    append: Append,
    /// Events that were evicted before they could be stored.
    lost: u64,
    /// There may be more.
    more: bool,
}

impl Worker {
    /// Store what is new of the runs that are open here.
    pub(super) fn write(&mut self) {
        for key in self.port.take_ready() {
            if let Some(owned) = self.owned.get_mut(&key) {
                owned.is_ready = true;
            }
        }
        let ready: Vec<Key> = self.owned.iter().filter(|(_, owned)| owned.is_ready).map(|(key, _)| *key).collect();
        let mut written = 0;
        for some in ready.chunks(WRITTEN_AT_ONCE) {
            match self.write_some(some) {
                Ok(events) => written += events,
                Err(_) => break,
            }
            // After an outage there may be so much that it takes longer than others wait for a sign of life.
            self.keep_alive();
        }
        let pause = if written >= BUSY_WRITE { Duration::ZERO } else { Duration::from_millis(4) };
        self.next_write = Instant::now() + pause;
    }

    /// Store what is new of these runs; returns how many events that were.
    fn write_some(&mut self, ready: &[Key]) -> Result<usize> {
        let batches: Vec<Batch> = ready.iter().filter_map(|key| self.batch(*key)).collect();
        if batches.is_empty() {
            return Ok(0);
        }
        let written: usize = batches.iter().map(|batch| batch.append.events.len()).sum();
        let (appends, rest): (Vec<_>, Vec<_>) =
            batches.into_iter().map(|batch| (batch.append, (batch.key, batch.lost, batch.more))).unzip();
        match self.ask(|store| store.append(&appends)) {
            Ok(fates) => {
                self.wrote.extend(appends.iter().map(|append| append.fence));
                self.recovered();
                for ((append, (key, lost, more)), fate) in appends.iter().zip(rest).zip(fates) {
                    if fate == Fate::Stored {
                        self.shared.health.lock().events_stored += append.events.len() as u64;
                    }
                    self.settle(key, append, lost, more, fate);
                }
                Ok(written)
            }
            Err(error) => {
                for (key, ..) in rest {
                    self.owned.entry(key).and_modify(|owned| owned.is_ready = true);
                }
                Err(error)
            }
        }
    }

    /// What is new of one run. Its log wakes the engine at the next event, if this is all.
    fn batch(&mut self, key: Key) -> Option<Batch> {
        let owned = self.owned.get_mut(&key)?;
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
        let armed = more || owned.run.arm(epoch, &self.port);
        owned.is_ready = more || !armed;
        if next == owned.next {
            return None;
        }
        let end = ended.then(|| {
            let noted = self.shared.outcomes.lock().get(&owned.record.fence).cloned();
            let json = events.last().map(|event| event.payload.json()).unwrap_or_default();
            noted.unwrap_or_else(|| Outcome::of_event(json))
        });
        let append = Append { fence: owned.record.fence, events, last: next.previous(), end };
        Some(Batch { key, append, lost, more: more || !armed })
    }

    /// Note what became of a run's batch.
    fn settle(&mut self, key: Key, append: &Append, lost: u64, more: bool, fate: Fate) {
        let Some(owned) = self.owned.get_mut(&key) else { return };
        match fate {
            Fate::Stored => {
                owned.next = append.last.next();
                owned.record.last = append.last;
                owned.is_ready |= more;
                self.shared.health.lock().events_lost += lost;
                if let Some(end) = &append.end {
                    let owned = self.drop_owned(key);
                    self.ended.extend(owned.map(|owned| (Instant::now(), owned, end.clone())));
                    let excess = self.ended.len().saturating_sub(ENDED);
                    self.ended.drain(..excess);
                }
            }
            Fate::Unknown => {
                let record = owned.begin_again();
                // If this fails, so does the next write, and it is tried again.
                if matches!(self.ask(|store| store.restore(&record)), Ok(false)) {
                    self.lose(key);
                }
            }
            Fate::Refused => self.lose(key),
        }
    }

    /// Stop storing a run that another process ended, since it took this one for dead, and cancel it.
    fn lose(&mut self, key: Key) {
        let Some(owned) = self.owned.get(&key) else { return };
        let (manager, run_id) = (owned.manager.clone(), owned.run.id.clone());
        self.say(&format!(
            "Run {run_id} was ended or replaced by another process, so its events are no longer stored and it is cancelled"
        ));
        cancel(manager, run_id, Some(LOST));
        drop(self.drop_owned(key));
    }

    /// See what the store has of the runs that are open here. What it lost is stored again, as far as memory holds it: a
    /// server that was away may be back without its newest data, or without any. What others ended is lost here.
    pub(super) fn review(&mut self) -> Result<()> {
        let owned: Vec<(Key, Fence)> = self.owned.iter().map(|(key, owned)| (*key, owned.record.fence)).collect();
        for some in owned.chunks(FILLED_AT_ONCE) {
            // Records alone: no event has such a seq.
            let wanted: Vec<_> = some.iter().map(|(_, fence)| (*fence, Seq(u64::MAX))).collect();
            let found = self.ask(|store| store.follow(&wanted))?;
            for ((key, _), progress) in some.iter().zip(found) {
                let Some(owned) = self.owned.get_mut(key) else { continue };
                match progress {
                    Progress::Missing => {
                        let record = owned.begin_again();
                        if !self.ask(|store| store.restore(&record))? {
                            self.lose(*key);
                        }
                    }
                    Progress::Running(last, _) if last < owned.next.previous() => {
                        (owned.next, owned.record.last, owned.is_ready) = (last.next(), last, true);
                    }
                    Progress::Ended(record, _) if record.end_fence.is_some() => self.lose(*key),
                    Progress::Running(..) | Progress::Ended(..) => {}
                }
            }
        }
        Ok(())
    }

    fn drop_owned(&mut self, key: Key) -> Option<Owned> {
        let owned = self.owned.remove(&key)?;
        self.last_owned = Some(Instant::now());
        self.shared.outcomes.lock().remove(&owned.record.fence);
        Some(owned)
    }

    /// Store again how runs ended that a server, which is back without its newest data, has as running.
    pub(super) fn review_ends(&mut self) -> Result<()> {
        let wanted: Vec<_> = self.ended.iter().map(|(_, owned, _)| (owned.record.fence, Seq(u64::MAX))).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let found = self.ask(|store| store.follow(&wanted))?;
        for ((_, mut owned, end), progress) in std::mem::take(&mut self.ended).into_iter().zip(found) {
            if let Progress::Running(last, _) = progress {
                (owned.next, owned.record.last, owned.is_ready) = (last.next(), last, true);
                self.shared.outcomes.lock().insert(owned.record.fence, end);
                self.owned.insert(owned.run.key, owned);
            }
        }
        Ok(())
    }

    /// Forget the ends of runs that a server has written to its disk by now, if it does that each second.
    pub(super) fn forget_ends(&mut self) {
        self.ended.retain(|(at, ..)| at.elapsed() < END_AGE);
    }

    /// Store all that has been published.
    pub(super) fn flush(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            self.write();
            if !self.owned.values().any(|owned| owned.is_ready) {
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

    /// Give readers that fell behind what the store holds.
    pub(super) fn serve_wanted(&mut self) {
        let now = Instant::now();
        let mut all = std::mem::take(&mut *self.shared.delayed.lock());
        all.extend(std::mem::take(&mut *self.shared.wanted.lock()).into_iter().map(|wanted| (now, wanted)));
        for (since, wanted) in all {
            if self.owned.get(&wanted.key).is_some_and(|owned| owned.is_ready) {
                self.write();
            }
            let (fence, gap) = (wanted.fence, wanted.gap);
            let found = match self.ask(|store| store.read(fence, gap.from, PAGE, PAGE_BYTES)) {
                Ok(found) => found,
                // The store may be away for a moment only.
                Err(_) if since.elapsed() < WANTED_TIMEOUT => {
                    self.shared.delayed.lock().push((since, wanted));
                    continue;
                }
                Err(_) => Vec::new(),
            };
            let bytes: usize = found.iter().map(|event| event.payload.encoded_len()).sum();
            let is_full = found.len() >= PAGE || bytes >= PAGE_BYTES;
            let to = found.last().filter(|_| is_full).map_or(gap.to, |event| event.seq.min(gap.to));
            let events: VecDeque<(Seq, Payload)> =
                found.into_iter().filter(|event| event.seq <= to).map(|event| (event.seq, event.payload)).collect();
            wanted.give(Page { events, to });
            self.keep_alive();
        }
    }

    /// Bring the mirrors up to date of which there is news.
    pub(super) fn fill_mirrors(&mut self, news: &News) {
        let owned = &self.owned;
        self.followed.retain(|mirror| {
            let is_open_here = owned.contains_key(&mirror.run.key) && mirror.manager.is_open(mirror.run.id.as_ref());
            // Somebody may have ended it here, as whoever learns the end from elsewhere does.
            CoreArc::strong_count(&mirror.run) > 1 && !is_open_here && !mirror.run.lock().log.is_finished()
        });
        let is_news = |mirror: &Followed| match (mirror.fence, &news.runs) {
            (None, _) => news.began,
            // The owner of a run that is missing may have begun it again.
            (Some(fence), Some(runs)) => runs.contains(&fence) || (news.began && mirror.missing_since.is_some()),
            (Some(_), None) => true,
        };
        let (changed, unchanged) = std::mem::take(&mut self.followed).into_iter().partition(is_news);
        self.followed = unchanged;
        let (begun, waiting): (Vec<_>, Vec<_>) = changed.into_iter().partition(|mirror| mirror.fence.is_some());
        for mut mirror in waiting {
            if self.discover(&mut mirror) != Ok(true) {
                self.followed.push(mirror);
            }
        }
        let mut begun = begun.into_iter().peekable();
        while begun.peek().is_some() {
            // What cannot be read now is at the next poll.
            let _ = self.fill(begun.by_ref().take(FILLED_AT_ONCE).collect());
        }
    }

    /// Bring mirrors of runs that have begun up to date.
    fn fill(&mut self, mirrors: Vec<Followed>) -> Result<()> {
        let wanted: Vec<(Fence, Seq)> =
            mirrors.iter().filter_map(|mirror| mirror.fence.map(|fence| (fence, mirror.next))).collect();
        let found = match self.ask(|store| store.follow(&wanted)) {
            Ok(found) => found,
            Err(error) => {
                self.followed.extend(mirrors);
                return Err(error);
            }
        };
        for ((mut mirror, progress), (fence, _)) in mirrors.into_iter().zip(found).zip(wanted) {
            let missing_since = mirror.missing_since.take();
            if self.stalls > 0 {
                mirror.run.stall(0);
            }
            let is_done = match progress {
                Progress::Running(last, events) => {
                    // What cannot be read now is copied at the next poll.
                    let _ = self.copy(&mut mirror, fence, last, events);
                    false
                }
                Progress::Ended(record, events) => self.complete(&mut mirror, &record, events).is_ok(),
                Progress::Missing => {
                    mirror.missing_since = missing_since.or_else(|| Some(Instant::now()));
                    false
                }
            };
            if !is_done {
                self.followed.push(mirror);
            }
        }
        Ok(())
    }

    /// See whether a run that is waited for has begun; returns whether it has ended, or is open here.
    fn discover(&mut self, mirror: &mut Followed) -> std::result::Result<bool, ()> {
        let run_id = mirror.run.id.clone();
        let Some(record) = self.ask(|store| store.find(&run_id)).map_err(drop)? else { return Ok(false) };
        let mut life = self.life(&record).map_err(drop)?;
        // Its end is copied like any other, once the mirror is one.
        let terminal = life.terminal.take();
        if terminal.is_some() {
            life.last = life.last.previous();
        }
        if !mirror.manager.mirror(&mirror.run, &life, &self.archive) {
            return Ok(true);
        }
        (mirror.fence, mirror.next) = (Some(record.fence), life.last.next());
        if record.is_running() {
            self.copy(mirror, record.fence, record.last, Vec::new())?;
            return Ok(false);
        }
        self.complete(mirror, &record, Vec::new())?;
        Ok(true)
    }

    /// Copy events up to `last` to a mirror, of which these were read.
    fn copy(
        &mut self,
        mirror: &mut Followed,
        fence: Fence,
        last: Seq,
        mut read: Vec<StoredEvent>,
    ) -> std::result::Result<(), ()> {
        while mirror.next <= last {
            let next = mirror.next;
            let mut found = std::mem::take(&mut read);
            if found.is_empty() {
                found = self.ask(|store| store.read(fence, next, PAGE, PAGE_BYTES)).map_err(drop)?;
            }
            let events: Vec<(Seq, Payload)> =
                found.into_iter().filter(|event| event.seq <= last).map(|event| (event.seq, event.payload)).collect();
            let to = match events.last() {
                Some((seq, _)) if *seq < last => *seq,
                _ => last,
            };
            mirror.run.fill(events, to);
            mirror.next = to.next();
            self.keep_alive();
        }
        Ok(())
    }

    /// Copy the rest of a run that has ended, and end its mirror.
    fn complete(
        &mut self,
        mirror: &mut Followed,
        record: &Record,
        read: Vec<StoredEvent>,
    ) -> std::result::Result<(), ()> {
        self.copy(mirror, record.fence, record.last.previous(), read)?;
        let terminal = self.terminal(record).map_err(drop)?;
        mirror.manager.finish_stored(&mirror.run, &terminal);
        Ok(())
    }

    /// Drop mirrors that nobody reads.
    pub(super) fn forget_unread_mirrors(&mut self) {
        self.followed.retain(|mirror| CoreArc::strong_count(&mirror.run) > 1);
    }

    /// End mirrors whose run the store has lost.
    pub(super) fn end_lost_mirrors(&mut self, now: Instant) {
        let Some(timeout) = self.store.as_ref().map(|store| store.absence()) else { return };
        let is_lost = |mirror: &Followed| mirror.missing_since.is_some_and(|since| now.duration_since(since) > timeout);
        let (lost, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.followed).into_iter().partition(is_lost);
        self.followed = rest;
        // Once more, since that they are back may have been missed.
        if lost.is_empty() || self.fill(lost).is_err() {
            return;
        }
        self.followed.retain(|mirror| {
            let is_lost = is_lost(mirror);
            if is_lost {
                let payload = Payload::new(None, &interrupted_event(&mirror.run.id));
                // An id that the owner gave to nothing: it is told here alone.
                let fence = mirror.fence.map(|fence| Fence(fence.0 + 1));
                mirror.manager.finish_stored(&mirror.run, &Terminal { fence, payload });
            }
            !is_lost
        });
    }

    /// Do what other processes ask of the runs that are open here.
    pub(super) fn obey_commands(&mut self) {
        if !self.heeds_commands() && self.obeyed.is_empty() {
            return;
        }
        let Ok(commands) = self.ask(|store| store.commands()) else { return };
        for (number, fence, command) in commands {
            if !self.obeyed.contains_key(&number) {
                let reply = self.obey(fence, command);
                self.obeyed.insert(number, reply);
            }
        }
        // What was published for others is stored before they hear of it.
        self.write();
        let numbers: Vec<u64> = self.obeyed.keys().copied().collect();
        for number in numbers {
            let reply = self.obeyed.get(&number).cloned().flatten();
            if self.ask(|store| store.reply(number, reply.as_deref())).is_err() {
                return;
            }
            self.obeyed.remove(&number);
            // Who asked may be this process.
            self.look = true;
        }
    }

    fn obey(&self, fence: Fence, command: Command) -> Option<String> {
        let Some(owned) = self.owned.values().find(|owned| owned.record.fence == fence) else {
            return Some(String::new());
        };
        let run_id = owned.run.id.as_ref();
        match command {
            Command::Cancel => {
                cancel(owned.manager.clone(), owned.run.id.clone(), None);
                None
            }
            Command::Publish(payload) => {
                Some(owned.manager.publish(run_id, payload).map_or_else(String::new, |id| id.to_string()))
            }
            Command::Finish(payload) => {
                let finished = owned.manager.finish(run_id, payload, false);
                Some(if finished { "finished".to_owned() } else { String::new() })
            }
        }
    }

    /// Hand on the replies that have come, and give up on those that have not.
    pub(super) fn take_replies(&mut self) {
        let now = Instant::now();
        for sent in std::mem::take(&mut self.sent) {
            match self.ask(|store| store.take_reply(sent.number)) {
                Ok(Some(reply)) => drop(sent.answer.give(Ok(Some(reply).filter(|reply| !reply.is_empty())))),
                _ if now >= sent.deadline => {
                    let error = "the process that runs it did not answer in time; it may be stopped or overloaded";
                    drop(sent.answer.give(Err(Error::Failed(error.to_owned()))));
                }
                _ => self.sent.push(sent),
            }
        }
    }
}

/// Cancel a run. Its callbacks are the application's and may take their time, so not in the engine's thread.
fn cancel(manager: crate::core::RunManager, run_id: crate::core::RunId, reason: Option<&'static str>) {
    let set = move || {
        fork::detached(|| match (manager.cancel_event(run_id.as_ref()), reason) {
            (Some(event), Some(reason)) => event.set_because(reason),
            (Some(event), None) => event.set(),
            (None, _) => {}
        });
    };
    let thread = std::thread::Builder::new().name("run-cancel".to_owned()).spawn(set.clone());
    if thread.is_err() {
        // Late, with the callbacks holding up the engine, is better than never.
        set();
    }
}
