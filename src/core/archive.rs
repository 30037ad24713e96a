//! What a store holds of a run beyond its log.
//!
//! A stored run has an [`Archive`]. A reader whose next event was evicted requests a page of events ([`Backlog`])
//! instead of reporting a gap, and continues in the log after the last page.

use std::collections::VecDeque;
use std::sync::Arc as StdArc;

use super::event::{Gap, Payload};
use super::id::{Fence, Seq};
use super::sync::Mutex;
use super::wake::Key;

/// Reads events that a log has evicted.
pub trait Archive: Send + Sync {
    /// Have a backlog filled and its reader woken. Must not block. Called without locks.
    fn request(&self, wanted: Wanted);
}

/// A reader's request to an archive.
pub struct Wanted {
    /// The key of its run, as a port reports it.
    pub key: Key,
    /// The life of the run.
    pub fence: Fence,
    /// The events that its log has evicted.
    pub gap: Gap,
    /// The backlog to fill.
    pub backlog: StdArc<Backlog>,
    /// Wakes the reader.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

impl Wanted {
    /// Fill the backlog, and wake the reader.
    pub fn give(self, page: Page) {
        self.backlog.fill(page);
        (self.wake)();
    }

    /// Tell the reader that none of the events exist any more.
    pub fn refuse(self) {
        let to = self.gap.to;
        self.give(Page { events: VecDeque::new(), to });
    }
}

/// One page of events, for one reader. Its lock is a leaf.
pub struct Backlog {
    page: Mutex<Option<Page>>,
}

/// Events up to a seq. Those that are missing no longer exist.
pub struct Page {
    /// In ascending order, none after `to`.
    pub events: VecDeque<(Seq, Payload)>,
    /// The last seq that the page covers.
    pub to: Seq,
}

/// What a backlog has at a seq.
pub enum Paged {
    /// It has not been filled.
    Pending,
    /// An event.
    Event(Payload),
    /// Events that no longer exist.
    Gap(Gap),
    /// The seq is after the page.
    Done,
}

impl Backlog {
    /// A backlog that has not been filled.
    pub fn new() -> StdArc<Self> {
        StdArc::new(Self { page: Mutex::new(None) })
    }

    /// Fill it.
    pub fn fill(&self, page: Page) {
        *self.page.lock() = Some(page);
    }

    /// Take what it has at `seq`, which must follow what was taken last.
    pub(super) fn take(&self, seq: Seq) -> Paged {
        let mut page = self.page.lock();
        let Some(page) = page.as_mut() else { return Paged::Pending };
        match page.events.front() {
            Some((first, _)) if *first <= seq => {
                page.events.pop_front().map_or(Paged::Done, |(_, payload)| Paged::Event(payload))
            }
            Some((first, _)) => Paged::Gap(Gap { from: seq, to: first.previous() }),
            None if seq <= page.to => Paged::Gap(Gap { from: seq, to: page.to }),
            None => Paged::Done,
        }
    }

    /// The next event, if there is one, without taking it.
    pub(super) fn front(&self) -> Option<Payload> {
        let page = self.page.lock();
        page.as_ref()?.events.front().map(|(_, payload)| payload.clone())
    }

    /// The number of events that are ready, and the last seq covered; `None` if it has not been filled.
    pub(super) fn ready(&self) -> Option<(usize, Seq)> {
        self.page.lock().as_ref().map(|page| (page.events.len(), page.to))
    }
}

/// A life of a run as recorded in a store.
#[derive(Clone)]
pub struct Life {
    /// Identifies the life.
    pub fence: Fence,
    /// The newest event stored.
    pub last: Seq,
    /// Its terminal event, which is the newest.
    pub terminal: Option<Terminal>,
}

/// The end of a run as recorded in a store.
#[derive(Clone)]
pub struct Terminal {
    /// The fence in its id if it is not the run's: the run was not ended by its owner.
    pub fence: Option<Fence>,
    /// The event.
    pub payload: Payload,
}
