//! The log of one run: numbered and bounded; the oldest events are evicted first.

use std::collections::VecDeque;

use super::event::{Gap, Payload};
use super::id::{EventId, Fence, Seq};
use super::limits::LogLimits;

/// The events of one run. Seqs count from 1 without holes; `first..=last()` are held.
#[derive(Debug)]
pub struct RunLog {
    events: VecDeque<Payload>,
    /// The seq of the oldest event held, or of the next event if none is.
    first: Seq,
    /// Bytes of JSON held.
    bytes: usize,
    finished: bool,
    limits: LogLimits,
}

/// What a log has at a seq.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// Evicted; the reader continues after the gap.
    Gap(Gap),
    /// An event, and whether it is the terminal event.
    Event(&'a Payload, bool),
    /// Nothing yet.
    Pending,
    /// Nothing ever: the seq is after the terminal event.
    Ended,
}

impl RunLog {
    /// An empty log.
    pub fn new(limits: LogLimits) -> Self {
        Self { events: VecDeque::new(), first: Seq::FIRST, bytes: 0, finished: false, limits }
    }

    /// Make an empty log begin at `seq`.
    pub fn start_at(&mut self, seq: Seq) {
        self.first = seq;
    }

    /// Append the event `seq`, unless the log has it already. Events skipped before it count as evicted.
    pub fn append_at(&mut self, seq: Seq, payload: Payload) {
        self.skip_to(seq.previous());
        if seq > self.last() {
            self.append(payload);
        }
    }

    /// Evict everything and continue after `last`, unless the log reaches it already.
    pub fn skip_to(&mut self, last: Seq) {
        if last > self.last() {
            self.clear();
            self.first = last.next();
        }
    }

    /// Append an event and return its seq; `None` if the log has its terminal event.
    pub fn append(&mut self, payload: Payload) -> Option<Seq> {
        if self.finished {
            return None;
        }
        let mut bytes = self.bytes + payload.len();
        self.events.push_back(payload);
        while self.events.len() > 1 && (self.events.len() > self.limits.events || bytes > self.limits.bytes) {
            bytes -= self.pop_oldest();
        }
        self.bytes = bytes;
        Some(self.last())
    }

    /// Append the terminal event. Returns false if there is one already.
    pub fn finish(&mut self, payload: Payload) -> bool {
        let added = self.append(payload).is_some();
        self.finished = true;
        added
    }

    /// Evict all events but the newest, which in a finished log is the terminal event.
    pub fn evict_all_but_newest(&mut self) {
        while self.events.len() > 1 {
            self.evict_oldest();
        }
        self.events.shrink_to_fit();
    }

    /// Evict every event.
    pub fn clear(&mut self) {
        self.evict_all_but_newest();
        self.evict_oldest();
    }

    fn evict_oldest(&mut self) {
        self.bytes -= self.pop_oldest();
    }

    /// Remove the oldest event, and return its bytes of JSON.
    fn pop_oldest(&mut self) -> usize {
        let Some(payload) = self.events.pop_front() else { return 0 };
        self.first = self.first.next();
        payload.len()
    }

    /// What the log has at `seq`.
    pub fn at(&self, seq: Seq) -> Lookup<'_> {
        if seq < self.first {
            return Lookup::Gap(Gap { from: seq, to: self.first.previous() });
        }
        let index = usize::try_from(seq.since(self.first)).unwrap_or(usize::MAX);
        match self.events.get(index) {
            Some(payload) => Lookup::Event(payload, self.finished && seq == self.last()),
            None if self.finished => Lookup::Ended,
            None => Lookup::Pending,
        }
    }

    /// The seq where a reader starts that wants the events after `id`, in the life with this `fence`.
    ///
    /// Without an id, or with one of another life or one that this log has not assigned, a reader starts at the first
    /// event.
    pub fn after(&self, id: Option<EventId>, fence: Fence) -> Seq {
        match id {
            Some(id) if id.fence == fence && id.seq <= self.last() => id.seq.next(),
            _ => Seq::FIRST,
        }
    }

    /// The seq where a reader of new events starts: after the newest event, or at the terminal event.
    pub fn newest(&self) -> Seq {
        if self.finished { self.last() } else { self.last().next() }
    }

    /// The seq of the newest event; 0 if there has been none.
    pub fn last(&self) -> Seq {
        self.first.plus(self.events.len()).previous()
    }

    /// Whether it has its terminal event.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// The terminal event.
    pub fn terminal(&self) -> Option<&Payload> {
        self.events.back().filter(|_| self.finished)
    }

    /// The number of events that a reader at `seq` would get. A gap before them does not count.
    pub fn unread(&self, seq: Seq) -> usize {
        let events = self.last().next().since(seq.max(self.first));
        usize::try_from(events).unwrap_or(usize::MAX)
    }

    /// The number of events held.
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
