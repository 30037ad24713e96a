//! What the engine's thread reads from the store: events for mirrors, and for readers that fell behind.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::followed::Followed;
use super::record::{Record, interrupted_event};
use super::store::{FOLLOWED_AT_ONCE, News, PAGE, PAGE_BYTES, Progress, Result, StoredEvent};
use super::worker::Worker;
use crate::core::archive::{Page, Terminal};
use crate::core::{Fence, Payload, Seq};

/// How long readers wait for events that cannot be read from the store before they get a gap.
const WANTED_TIMEOUT: Duration = Duration::from_secs(30);

impl Worker {
    /// Serve the requests of readers that fell behind.
    pub(super) fn serve_wanted(&mut self) {
        let now = Instant::now();
        let mut all = std::mem::take(&mut *self.shared.delayed.lock());
        all.extend(std::mem::take(&mut *self.shared.wanted.lock()).into_iter().map(|wanted| (now, wanted)));
        for (since, wanted) in all {
            if self.owned.is_ready(wanted.key) {
                let _ = self.write();
            }
            let (fence, gap) = (wanted.fence, wanted.gap);
            let found = match self.ask(|store| store.read(fence, gap.from, PAGE, PAGE_BYTES)) {
                Ok(found) => found,
                // The store may be unavailable for a moment only.
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

    /// Update the mirrors for which there is news.
    pub(super) fn fill_mirrors(&mut self, news: &News) {
        let (mut begun, mut waiting) = self.followed.take(news);
        let owned = &self.owned;
        for mirrors in [&mut begun, &mut waiting] {
            mirrors.retain(|mirror| {
                let is_open_here =
                    owned.get(mirror.run.key).is_some() && mirror.manager.is_open(mirror.run.id.as_ref());
                // It may have been finished here, by somebody who learned of its end elsewhere.
                mirror.is_read() && !is_open_here && !mirror.run.lock().log.is_finished()
            });
        }
        for mut mirror in waiting {
            if self.discover(&mut mirror) != Ok(true) {
                self.followed.add(mirror);
            }
        }
        let mut begun = begun.into_iter().peekable();
        while begun.peek().is_some() {
            // What cannot be read now is read at the next poll.
            let _ = self.fill(begun.by_ref().take(FOLLOWED_AT_ONCE).collect());
        }
    }

    /// Update mirrors of runs that have begun.
    fn fill(&mut self, mirrors: Vec<Followed>) -> Result<()> {
        let wanted: Vec<(Fence, Seq)> =
            mirrors.iter().filter_map(|mirror| mirror.fence.map(|fence| (fence, mirror.next))).collect();
        let found = match self.ask(|store| store.follow(&wanted)) {
            Ok(found) => found,
            Err(error) => {
                mirrors.into_iter().for_each(|mirror| self.followed.add(mirror));
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
                self.followed.add(mirror);
            }
        }
        Ok(())
    }

    /// Check whether an awaited run has begun. Returns whether it has ended or is open here.
    fn discover(&mut self, mirror: &mut Followed) -> std::result::Result<bool, ()> {
        let run_id = mirror.run.id.clone();
        let Some(record) = self.ask(|store| store.find(&run_id)).map_err(drop)? else { return Ok(false) };
        let mut life = self.life(&record).map_err(drop)?;
        // Its end is copied like any other, once it has a mirror.
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

    /// Copy events up to `last` to a mirror; `read` are those already read.
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

    /// Copy the rest of a run that has ended, and finish its mirror.
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
    pub(super) fn drop_unread_mirrors(&mut self) {
        self.followed.retain(Followed::is_read);
    }

    /// Finish mirrors whose run the store has lost.
    pub(super) fn end_lost_mirrors(&mut self, now: Instant) {
        let Some(timeout) = self.store.as_ref().map(|store| store.absence()) else { return };
        let is_lost = |since| now.duration_since(since) > timeout;
        let lost = self.followed.take_lost(is_lost);
        // Checked once more, because their return may have been missed.
        if lost.is_empty() || self.fill(lost).is_err() {
            return;
        }
        for mirror in self.followed.take_lost(is_lost) {
            let payload = interrupted_event(&mirror.run.id);
            // An id that the owner never assigns, because this event is created here alone.
            let fence = mirror.fence.map(|fence| Fence(fence.0 + 1));
            mirror.manager.finish_stored(&mirror.run, &Terminal { fence, payload });
        }
    }
}
