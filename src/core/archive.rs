//! What a store holds of a run besides what its log does.
//!
//! A run of a store has an [`Archive`]. A reader whose next event its log has evicted asks the archive for a page of events
//! in place of a gap ([`Backlog`]), and reads on in the log after the last page.

use std::collections::VecDeque;
use std::sync::Arc as StdArc;

use super::event::{Gap, Payload};
use super::id::{Fence, Seq};
use super::sync::Mutex;
use super::wake::Key;

/// Reads events that a log has evicted.
pub trait Archive: Send + Sync {
    /// Have a backlog filled and its reader woken. Must not wait. Called with no lock held.
    fn request(&self, wanted: Wanted);
}

/// What a reader wants of an archive.
pub struct Wanted {
    /// Its run's name among the things a port reports.
    pub key: Key,
    /// The life of the run.
    pub fence: Fence,
    /// What its log has evicted.
    pub gap: Gap,
    /// What is to be filled.
    pub backlog: StdArc<Backlog>,
    /// Wakes it.
    pub wake: Box<dyn Fn() + Send + Sync>,
}

impl Wanted {
    /// Fill the backlog, and wake the reader.
    pub fn give(self, page: Page) {
        self.backlog.fill(page);
        (self.wake)();
    }

    /// Tell the reader that nothing of it exists any more.
    pub fn refuse(self) {
        let to = self.gap.to;
        self.give(Page { events: VecDeque::new(), to });
    }
}

/// One page of events, for one reader. Its lock is a leaf.
pub struct Backlog {
    page: Mutex<Option<Page>>,
}

/// Events up to a seq; what is not among them exists no more.
pub struct Page {
    /// In rising order, none after `to`.
    pub events: VecDeque<(Seq, Payload)>,
    /// The last seq that the page tells of.
    pub to: Seq,
}

/// What a backlog has at a seq.
pub enum Paged {
    /// It has not been filled.
    Pending,
    /// An event.
    Event(Payload),
    /// Events that exist no more.
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

    /// Take what it has at `seq`, which is the one after what was taken last.
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

    /// The next event, if there is one, as it is.
    pub(super) fn front(&self) -> Option<Payload> {
        let page = self.page.lock();
        page.as_ref()?.events.front().map(|(_, payload)| payload.clone())
    }

    /// How many events are ready, and up to which seq it tells; `None` if it has not been filled.
    pub(super) fn ready(&self) -> Option<(usize, Seq)> {
        self.page.lock().as_ref().map(|page| (page.events.len(), page.to))
    }
}

/// A life of a run as a store knows it.
#[derive(Clone)]
pub struct Life {
    /// Which life.
    pub fence: Fence,
    /// The newest event stored.
    pub last: Seq,
    /// Its terminal event, which is the newest.
    pub terminal: Option<Terminal>,
}

/// The end of a run as a store knows it.
#[derive(Clone)]
pub struct Terminal {
    /// The fence in its id, if that is not the run's: who ended the run was not who executed it.
    pub fence: Option<Fence>,
    /// The event.
    pub payload: Payload,
}
