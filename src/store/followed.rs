//! The mirrors that the engine fills, found by the runs that the store has news of: looking at one costs nothing of the others.

use std::collections::HashMap;
use std::time::Instant;

use super::store::News;
use crate::core::run::Run;
use crate::core::sync::Arc as CoreArc;
use crate::core::{Fence, RunManager, Seq};

/// A run that is read here and executed elsewhere, or yet to begin.
pub(super) struct Followed {
    pub manager: RunManager,
    pub run: CoreArc<Run>,
    /// Which life; `None` while it is yet to begin.
    pub fence: Option<Fence>,
    /// The first event that the mirror lacks.
    pub next: Seq,
    /// Since when the store has no record of it.
    pub missing_since: Option<Instant>,
}

impl Followed {
    /// Whether anybody reads it.
    pub fn is_read(&self) -> bool {
        CoreArc::strong_count(&self.run) > 1
    }
}

/// All mirrors of the engine.
#[derive(Default)]
pub(super) struct Mirrors {
    /// Of runs that the store has. Several managers may have a mirror of the same.
    begun: HashMap<Fence, Vec<Followed>>,
    /// Of runs that the store lost.
    missing: Vec<Followed>,
    /// Of runs that are yet to begin.
    waiting: Vec<Followed>,
}

impl Mirrors {
    /// Fill this one, too.
    pub fn add(&mut self, mirror: Followed) {
        match mirror.fence {
            None => self.waiting.push(mirror),
            Some(_) if mirror.missing_since.is_some() => self.missing.push(mirror),
            Some(fence) => self.begun.entry(fence).or_default().push(mirror),
        }
    }

    /// Take those of which there is news: of runs that have begun, and of runs that wait for that.
    pub fn take(&mut self, news: &News) -> (Vec<Followed>, Vec<Followed>) {
        let begun = match &news.runs {
            None => self.begun.drain().flat_map(|(_, mirrors)| mirrors).chain(self.missing.drain(..)).collect(),
            Some(runs) => {
                let known = runs.iter().filter_map(|fence| self.begun.remove(fence)).flatten();
                // The owner of a run that is missing may have begun it again.
                let is_back =
                    |mirror: &mut Followed| news.began || mirror.fence.is_some_and(|fence| runs.contains(&fence));
                known.chain(self.missing.extract_if(.., is_back)).collect()
            }
        };
        let waiting = if news.began { std::mem::take(&mut self.waiting) } else { Vec::new() };
        (begun, waiting)
    }

    /// Take those that are lost, by the time since when the store has no record of them.
    pub fn take_lost(&mut self, is_lost: impl Fn(Instant) -> bool) -> Vec<Followed> {
        self.missing.extract_if(.., |mirror| mirror.missing_since.is_some_and(&is_lost)).collect()
    }

    /// Drop all others.
    pub fn retain(&mut self, is_wanted: impl Fn(&Followed) -> bool) {
        self.begun.retain(|_, mirrors| {
            mirrors.retain(&is_wanted);
            !mirrors.is_empty()
        });
        self.missing.retain(&is_wanted);
        self.waiting.retain(&is_wanted);
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.begun.values().flatten().chain(&self.missing).chain(&self.waiting)
    }

    /// Whether a run is waited for that is yet to begin.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many runs they are of.
    pub fn runs(&self) -> usize {
        self.begun.len() + self.missing.len() + self.waiting.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.missing.is_empty() && self.waiting.is_empty()
    }
}
