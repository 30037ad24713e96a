//! What runs on a store should be to every process that uses it, in plain vectors: nothing is ever thrown away.

use std::collections::BTreeSet;

use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{CancelEvent, Event, EventId, Fence, Gap, Seq};

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By its owner, with an id of its own.
    Finished,
    /// By whoever found that its owner had died, with an id of another fence.
    Interrupted(Option<Fence>),
}

/// One life of a run id.
pub struct Life {
    pub run: i64,
    pub key: Option<&'static str>,
    /// The site that executes it.
    pub owner: usize,
    pub fence: Fence,
    pub cancel: Arc<CancelEvent>,
    /// All that was ever published to it, the terminal event last. Of an owner that was killed: all that it stored.
    pub events: Vec<String>,
    /// Seqs that its log evicted before they could be stored.
    pub lost: BTreeSet<u64>,
    pub end: Option<End>,
    /// So much of it is stored beyond doubt.
    pub stored: u64,
}

impl Life {
    pub fn last(&self) -> u64 {
        self.events.len() as u64
    }

    pub fn is_running(&self) -> bool {
        self.end.is_none()
    }

    /// Whether the store may lack something of it.
    pub fn is_ahead(&self) -> bool {
        self.stored < self.last()
    }

    /// Whether the store knows how it ended.
    pub fn is_known_to_have_ended(&self) -> bool {
        !self.is_running() && !self.is_ahead()
    }

    /// Publish an event; its id. If it `can_store` nothing, its log, which holds so many, evicts what is not stored.
    pub fn publish(&mut self, event: String, can_store: bool, held: u64) -> EventId {
        self.events.push(event);
        let last = self.last();
        let evicted = last.saturating_sub(held);
        if evicted > self.stored {
            assert!(!can_store, "the model is to store it first");
            self.lost.insert(evicted);
        }
        EventId { fence: self.fence, seq: Seq(last) }
    }

    /// The owner died; the store has `stored` of its events, and the end once somebody has looked.
    pub fn interrupt(&mut self, stored: u64, terminal: String) {
        assert!((self.stored..=self.last()).contains(&stored), "{stored} of {} to {}", self.stored, self.last());
        self.events.truncate(stored as usize);
        self.lost.retain(|seq| *seq <= stored);
        self.events.push(terminal);
        self.end = Some(End::Interrupted(None));
        self.stored = stored;
    }
}

/// A reader, as its events have told so far.
pub struct Told {
    pub run: i64,
    /// The life it reads; `None` if it waits for one.
    pub life: Option<usize>,
    /// Lives before this one began before it did.
    pub since: usize,
    /// The seq it reads next.
    pub next: u64,
    pub ended: bool,
}

impl Told {
    /// Check what it got next, and note it: every seq comes once and in order, as the event that was published or in a gap
    /// if that was lost, and the terminal event once and last.
    pub fn note(&mut self, event: &Event, life: &mut Life) {
        assert!(!self.ended, "{event:?} after the terminal event");
        match event {
            Event::Message(id, payload) => {
                assert_eq!(*id, EventId { fence: life.fence, seq: Seq(self.next) });
                assert!(!life.lost.contains(&self.next), "{} was lost", self.next);
                assert!(life.is_running() || self.next < life.last(), "{} is the terminal event", self.next);
                assert_eq!(payload.json(), life.events[self.next as usize - 1].as_bytes());
                self.next += 1;
            }
            Event::Terminal(id, payload) => {
                let last = life.last();
                // Who resumed after what an owner that died had not stored is told the end, too.
                assert!(self.next == last || (self.next > last && life.end != Some(End::Finished)), "at {}", self.next);
                assert_eq!(id.seq.0, last);
                match &mut life.end {
                    None => panic!("it has not ended"),
                    Some(End::Finished) => assert_eq!(id.fence, life.fence),
                    Some(End::Interrupted(fence)) => {
                        assert!(id.fence > life.fence);
                        assert_eq!(*fence.get_or_insert(id.fence), id.fence);
                    }
                }
                assert_eq!(payload.json(), life.events[last as usize - 1].as_bytes());
                (self.next, self.ended) = (last + 1, true);
            }
            Event::Gap(Gap { from, to }) => {
                assert_eq!(from.0, self.next);
                assert!(to >= from);
                let told: BTreeSet<u64> = (from.0..=to.0).collect();
                assert!(told.is_subset(&life.lost), "{told:?} of which {:?} was lost", life.lost);
                self.next = to.0 + 1;
            }
            Event::Private(_) => panic!("nobody sent it"),
        }
    }
}

/// The lives there were, the oldest first.
#[derive(Default)]
pub struct StoredModel {
    pub lives: Vec<Life>,
}

impl StoredModel {
    /// The newest life of a run.
    pub fn newest(&self, run: i64) -> Option<usize> {
        self.lives.iter().rposition(|life| life.run == run)
    }

    /// What keeps a run from beginning as far as the store knows: a life of its id, or else of its key.
    pub fn active(&self, run: i64, key: Option<&str>) -> Option<usize> {
        let is_active = |life: &Life| !life.is_known_to_have_ended();
        let of_id = self.lives.iter().position(|life| is_active(life) && life.run == run);
        of_id.or_else(|| self.lives.iter().position(|life| is_active(life) && key.is_some() && life.key == key))
    }

    /// The life of a run that a reader's events, of which `fence` is the newest, are of: one that began after the reader.
    pub fn life_of(&self, told: &Told, fence: Fence) -> Option<usize> {
        let may_be = |life: &Life| match life.end {
            // The end of a life that was interrupted has a fence of its own.
            Some(End::Interrupted(_)) => life.fence <= fence,
            _ => life.fence == fence,
        };
        (told.since..self.lives.len()).rev().find(|index| {
            let life = &self.lives[*index];
            life.run == told.run && may_be(life)
        })
    }
}
