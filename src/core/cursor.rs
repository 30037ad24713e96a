//! The cursor of a reader: what it reads next, and what it finds there.

use std::collections::VecDeque;
use std::sync::Arc as StdArc;

use super::archive::{Archive, Backlog, Paged};
use super::event::{Event, Gap, Payload};
use super::frame::{event_bound, gap_bound};
use super::id::{EventId, Fence, RunId, Seq};
use super::log::Lookup;
use super::run::State;
use super::sync::{AtomicU64, Ordering};
use super::wake::Epoch;

/// What a reader has read, and what it waits for. Guarded by `Subscription.cursor`.
pub struct Cursor {
    /// The seq to read next.
    pub next: Seq,
    /// Its reader gets nothing more.
    pub closed: bool,
    /// It resumed after an event that the log does not have, or not yet.
    pub ahead: bool,
    /// The page of the archive that it reads, or waits for.
    pub backlog: Option<StdArc<Backlog>>,
    /// How many wait, to be woken when this reader is closed or gets a private message.
    pub waiting: u32,
    /// The number of the last stall that it told of.
    pub stall: u32,
    /// The name of the last event that `try_next` returned.
    pub name: Option<Box<str>>,
    /// Private messages, each with the seq of the event after which it is read. In a box, since hardly any reader has such
    /// messages, and each pays for the field.
    pub private: Option<Box<VecDeque<(Seq, Payload)>>>,
}

impl Cursor {
    /// A cursor at `next`; `ahead` as the field says.
    pub fn new(next: Seq, ahead: bool) -> Self {
        Self { next, closed: false, ahead, backlog: None, waiting: 0, stall: 0, name: None, private: None }
    }

    /// The private message that is to be read before the next event.
    pub fn next_private(&self) -> Option<&Payload> {
        let (after, payload) = self.private.as_ref()?.front()?;
        (*after < self.next).then_some(payload)
    }

    /// How many private messages are unread.
    pub fn private_len(&self) -> usize {
        self.private.as_ref().map_or(0, |private| private.len())
    }

    /// At least the length of the next frame.
    pub fn next_frame_bound(&self, run_id: &RunId, state: &State) -> usize {
        if let Some(payload) = self.next_private() {
            return event_bound(payload);
        }
        if let Some(payload) = self.backlog.as_ref().and_then(|backlog| backlog.front()) {
            return event_bound(&payload);
        }
        match state.log.at(self.next) {
            Lookup::Event(payload, _) => event_bound(payload),
            Lookup::Gap(_) => gap_bound(run_id),
            Lookup::Pending | Lookup::Ended => 0,
        }
    }

    fn message(&mut self, state: &State, payload: Payload) -> Event {
        let id = EventId { fence: state.fence, seq: self.next };
        self.ahead = false;
        self.next = self.next.next();
        Event::Message(id, payload)
    }

    /// Whether to tell its reader of a stall, which is done once.
    pub fn note_stall(&mut self, state: &State) -> bool {
        let is_new = state.stall > 0 && self.stall != state.stall;
        self.stall = state.stall;
        is_new
    }

    /// Remember the name of the event that was read.
    pub fn note_name(&mut self, name: Option<&str>) {
        if self.name.as_deref() != name {
            self.name = name.map(Box::from);
        }
    }

    /// How many events a reader would get now, and what is to be asked for if that is not known yet.
    pub fn unread_events(&mut self, state: &State) -> (usize, Option<Nothing>) {
        match self.backlog.as_ref().map(|backlog| backlog.ready()) {
            Some(None) => return (0, None),
            Some(Some((events, to))) if events > 0 => return (events + state.log.unread(to.next()), None),
            // A gap is no event, but is read like one; there is an event after it.
            Some(Some((_, to))) if to >= self.next => return (state.log.unread(to.next()).max(1), None),
            Some(Some(_)) | None => {}
        }
        match (state.log.at(self.next), &state.archive) {
            (Lookup::Gap(gap), Some(archive)) => (0, Some(self.hold(state, gap, archive))),
            _ => (state.log.unread(self.next), None),
        }
    }

    /// Begin to wait for a page of the archive.
    fn hold(&mut self, state: &State, gap: Gap, archive: &StdArc<dyn Archive>) -> Nothing {
        let backlog = self.backlog.insert(Backlog::new()).clone();
        let held = Box::new(Held { archive: archive.clone(), fence: state.fence, gap, backlog });
        Nothing::Held(held, state.epoch())
    }

    /// The next event; events that it can no longer get are added to `missed`.
    pub fn step(&mut self, state: &State, missed: &AtomicU64) -> Result<Event, Nothing> {
        if self.closed {
            return Err(Nothing::Ever);
        }
        if self.next_private().is_some()
            && let Some((_, payload)) = self.private.as_mut().and_then(|private| private.pop_front())
        {
            return Ok(Event::Private(payload));
        }
        if let Some(backlog) = &self.backlog {
            match backlog.take(self.next) {
                Paged::Pending => return Err(Nothing::Yet(state.epoch())),
                Paged::Event(payload) => return Ok(self.message(state, payload)),
                Paged::Gap(gap) => return Ok(self.gap(gap, missed)),
                Paged::Done => self.backlog = None,
            }
        }
        match (state.log.at(self.next), &state.archive) {
            (Lookup::Gap(gap), Some(archive)) => Err(self.hold(state, gap, archive)),
            (Lookup::Gap(gap), None) => Ok(self.gap(gap, missed)),
            (Lookup::Event(payload, true), _) => {
                self.ahead = false;
                self.next = self.next.next();
                Ok(Event::Terminal(state.terminal_id(), payload.clone()))
            }
            (Lookup::Event(payload, false), _) => Ok(self.message(state, payload.clone())),
            (Lookup::Pending, _) => Err(Nothing::Yet(state.epoch())),
            // What the reader had already was never stored; it is still to learn how the run ended.
            (Lookup::Ended, _) if self.ahead => {
                self.next = state.log.last();
                self.step(state, missed)
            }
            (Lookup::Ended, _) => Err(Nothing::Ever),
        }
    }

    fn gap(&mut self, gap: Gap, missed: &AtomicU64) -> Event {
        self.next = gap.to.next();
        missed.fetch_add(gap.missed(), Ordering::Relaxed);
        Event::Gap(gap)
    }
}

/// Why a step finds nothing.
pub enum Nothing {
    /// Nothing yet.
    Yet(Epoch),
    /// The archive holds it, and is to be asked once no lock is held.
    Held(Box<Held>, Epoch),
    /// Nothing ever again.
    Ever,
}

/// What the archive is asked for.
pub struct Held {
    /// The archive.
    pub archive: StdArc<dyn Archive>,
    /// The life of the run.
    pub fence: Fence,
    /// The events.
    pub gap: Gap,
    /// Where they are put.
    pub backlog: StdArc<Backlog>,
}
