//! The log of one run: numbered, bounded, the oldest events go first.

use std::collections::VecDeque;

use super::event::{EventId, Gap, Payload};

/// How much a run's log holds. The newest event is held even if it alone is more.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// Events, at least 1.
    pub events: usize,
    /// Bytes of JSON, at least 1.
    pub bytes: usize,
}

/// The events of one run. Seqs count from 1 without holes; `first..=last()` are held.
#[derive(Debug)]
pub struct RunLog {
    events: VecDeque<Payload>,
    /// The seq of the oldest event held; of the next one if none is.
    first: u64,
    bytes: usize,
    finished: bool,
    limits: LogLimits,
}

/// What stands at one place of a log.
#[derive(Debug)]
pub enum Place<'a> {
    /// Shed: the reader goes on behind the gap.
    Gap(Gap),
    /// An event, and whether it is the terminal one.
    Event(&'a Payload, bool),
    /// Nothing yet.
    Pending,
    /// Nothing ever: the terminal event is before this place.
    Ended,
}

impl RunLog {
    /// An empty log.
    pub fn new(limits: LogLimits) -> Self {
        Self { events: VecDeque::new(), first: 1, bytes: 0, finished: false, limits }
    }

    /// Add an event and return its seq; `None` once the log has its terminal event.
    pub fn append(&mut self, json: Payload) -> Option<u64> {
        if self.finished {
            return None;
        }
        self.bytes += json.len();
        self.events.push_back(json);
        while self.events.len() > 1 && (self.events.len() > self.limits.events || self.bytes > self.limits.bytes) {
            self.shed_oldest();
        }
        Some(self.last())
    }

    /// Add the terminal event; `false` if there is one already.
    pub fn finish(&mut self, json: Payload) -> bool {
        let added = self.append(json).is_some();
        self.finished = true;
        added
    }

    /// Shed everything but the newest event, which in a finished log is the terminal one.
    pub fn shed(&mut self) {
        while self.events.len() > 1 {
            self.shed_oldest();
        }
        self.events.shrink_to_fit();
    }

    /// Shed every event: nobody can read them any more.
    pub fn clear(&mut self) {
        self.shed();
        self.shed_oldest();
    }

    fn shed_oldest(&mut self) {
        if let Some(json) = self.events.pop_front() {
            self.bytes -= json.len();
            self.first += 1;
        }
    }

    /// What stands at `seq`.
    pub fn at(&self, seq: u64) -> Place<'_> {
        if seq < self.first {
            return Place::Gap(Gap { from: seq, to: self.first - 1 });
        }
        let index = usize::try_from(seq - self.first).unwrap_or(usize::MAX);
        match self.events.get(index) {
            Some(json) => Place::Event(json, self.finished && seq == self.last()),
            None if self.finished => Place::Ended,
            None => Place::Pending,
        }
    }

    /// Where a reader starts that asks for what comes after `id`, of which `Some(fence)` is this log's.
    ///
    /// An id of another life, or one this log has not given out, is no place in it: such a reader starts at the
    /// beginning.
    pub fn after(&self, id: Option<EventId>, fence: u64) -> u64 {
        match id {
            Some(id) if id.fence == fence && id.seq <= self.last() => id.seq + 1,
            _ => 1,
        }
    }

    /// Where a reader starts that wants new events only: behind the newest, or at the terminal event.
    pub fn newest(&self) -> u64 {
        if self.finished { self.last() } else { self.last() + 1 }
    }

    /// The seq of the newest event; 0 if there has been none.
    pub fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }

    /// Whether it has its terminal event.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The terminal event.
    pub fn terminal(&self) -> Option<&Payload> {
        self.events.back().filter(|_| self.finished)
    }

    /// How many events a reader at `seq` would get. The notice of a gap is none; behind it there is an event.
    pub fn unread(&self, seq: u64) -> usize {
        let events = (self.last() + 1).saturating_sub(seq.max(self.first));
        usize::try_from(events).unwrap_or(usize::MAX)
    }

    /// Events held.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is held.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes of JSON held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
