//! A reader's cursor, and how it takes its next event.

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

/// The position of a reader, and what it waits for. Guarded by `Subscription.cursor`.
pub struct Cursor {
    /// The seq to read next.
    pub next: Seq,
    /// Its reader is closed.
    pub closed: bool,
    /// It resumed after an event that the log does not have, or does not have yet.
    pub ahead: bool,
    /// The page of the archive that it is reading or waiting for.
    pub backlog: Option<StdArc<Backlog>>,
    /// The number of waits to wake when this reader is closed or gets a private message.
    pub waiting: u32,
    /// The number of the last stall that it reported.
    pub stall: u32,
    /// The name of the last event that `try_next` returned.
    pub name: Option<Box<str>>,
    /// Private messages, each with the seq of the event after which it is read. Boxed, because few readers have any and
    /// every reader pays for the field.
    pub private: Option<Box<VecDeque<(Seq, Payload)>>>,
}

impl Cursor {
    /// A cursor at `next`; see the field `ahead`.
    pub fn new(next: Seq, ahead: bool) -> Self {
        Self { next, closed: false, ahead, backlog: None, waiting: 0, stall: 0, name: None, private: None }
    }

    /// The private message to read before the next event.
    pub fn next_private(&self) -> Option<&Payload> {
        let (after, payload) = self.private.as_ref()?.front()?;
        (*after < self.next).then_some(payload)
    }

    /// The number of unread private messages.
    pub fn private_len(&self) -> usize {
        self.private.as_ref().map_or(0, |private| private.len())
    }

    /// Upper bound of the length of the next frame.
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

    /// Whether there is a stall that the reader has not been told of.
    pub fn misses_stall(&self, state: &State) -> bool {
        state.stall > 0 && self.stall != state.stall
    }

    /// Whether to report a stall to the reader, which is done once for each.
    pub fn note_stall(&mut self, state: &State) -> bool {
        let is_new = self.misses_stall(state);
        self.stall = state.stall;
        is_new
    }

    /// Remember the name of the event just read.
    pub fn note_name(&mut self, name: Option<&str>) {
        if self.name.as_deref() != name {
            self.name = name.map(Box::from);
        }
    }

    /// The number of events that a reader would get now, and what to request if it is not known yet.
    pub fn unread_events(&mut self, state: &State) -> (usize, Option<NoEvent>) {
        match self.backlog.as_ref().map(|backlog| backlog.ready()) {
            Some(None) => return (0, None),
            Some(Some((events, to))) if events > 0 => return (events + state.log.unread(to.next()), None),
            // A gap is not an event but is read like one, and an event follows it.
            Some(Some((_, to))) if to >= self.next => return (state.log.unread(to.next()).max(1), None),
            Some(Some(_)) | None => {}
        }
        match (state.log.at(self.next), &state.archive) {
            (Lookup::Gap(gap), Some(archive)) => (0, Some(self.request_page(state, gap, archive))),
            _ => (state.log.unread(self.next), None),
        }
    }

    /// Start to wait for a page of the archive.
    fn request_page(&mut self, state: &State, gap: Gap, archive: &StdArc<dyn Archive>) -> NoEvent {
        let backlog = self.backlog.insert(Backlog::new()).clone();
        let request = Box::new(PageRequest { archive: archive.clone(), fence: state.fence, gap, backlog });
        NoEvent::Archived(request, state.epoch())
    }

    /// Take the next event. Events that are no longer available are added to `missed`.
    pub fn step(&mut self, state: &State, missed: &AtomicU64) -> Result<Event, NoEvent> {
        if self.closed {
            return Err(NoEvent::Ended);
        }
        if self.next_private().is_some()
            && let Some((_, payload)) = self.private.as_mut().and_then(|private| private.pop_front())
        {
            return Ok(Event::Private(payload));
        }
        if let Some(backlog) = &self.backlog {
            match backlog.take(self.next) {
                Paged::Pending => return Err(NoEvent::Pending(state.epoch())),
                Paged::Event(payload) => return Ok(self.message(state, payload)),
                Paged::Gap(gap) => return Ok(self.gap(gap, missed)),
                Paged::Done => self.backlog = None,
            }
        }
        match (state.log.at(self.next), &state.archive) {
            (Lookup::Gap(gap), Some(archive)) => Err(self.request_page(state, gap, archive)),
            (Lookup::Gap(gap), None) => Ok(self.gap(gap, missed)),
            (Lookup::Event(payload, true), _) => {
                self.ahead = false;
                self.next = self.next.next();
                Ok(Event::Terminal(state.terminal_id(), payload.clone()))
            }
            (Lookup::Event(payload, false), _) => Ok(self.message(state, payload.clone())),
            (Lookup::Pending, _) => Err(NoEvent::Pending(state.epoch())),
            // What the reader has already seen was never stored; it must still learn how the run ended.
            (Lookup::Ended, _) if self.ahead => {
                self.next = state.log.last();
                self.step(state, missed)
            }
            (Lookup::Ended, _) => Err(NoEvent::Ended),
        }
    }

    fn gap(&mut self, gap: Gap, missed: &AtomicU64) -> Event {
        self.next = gap.to.next();
        missed.fetch_add(gap.missed(), Ordering::Relaxed);
        Event::Gap(gap)
    }
}

/// Why a step finds nothing.
pub enum NoEvent {
    /// Nothing yet.
    Pending(Epoch),
    /// The archive has it; request it when no lock is held.
    Archived(Box<PageRequest>, Epoch),
    /// Nothing ever again.
    Ended,
}

/// A request to an archive.
pub struct PageRequest {
    /// The archive.
    pub archive: StdArc<dyn Archive>,
    /// The life of the run.
    pub fence: Fence,
    /// The events to read.
    pub gap: Gap,
    /// Where to put them.
    pub backlog: StdArc<Backlog>,
}
