//! The mirrors that the engine fills, by the runs that the store reports news of: news of one run costs nothing for the
//! others.

use std::collections::HashMap;
use std::time::Instant;

use super::store::News;
use crate::core::run::Run;
use crate::core::sync::Arc as CoreArc;
use crate::core::{Fence, RunManager, Seq};

/// A mirror: a run that is read here and executed elsewhere, or that has not begun.
pub(super) struct Followed {
    pub manager: RunManager,
    pub run: CoreArc<Run>,
    /// Identifies the life; `None` if it has not begun.
    pub fence: Option<Fence>,
    /// The first event that the mirror lacks.
    pub next: Seq,
    /// Since when the store has had no record of it.
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
    /// Of runs in the store. Several managers may have mirrors of the same run.
    begun: HashMap<Fence, Vec<Followed>>,
    /// Of runs that the store has lost.
    missing: Vec<Followed>,
    /// Of runs that have not begun.
    waiting: Vec<Followed>,
}

impl Mirrors {
    /// Add a mirror to fill.
    pub fn add(&mut self, mirror: Followed) {
        match mirror.fence {
            None => self.waiting.push(mirror),
            Some(_) if mirror.missing_since.is_some() => self.missing.push(mirror),
            Some(fence) => self.begun.entry(fence).or_default().push(mirror),
        }
    }

    /// Remove and return the mirrors for which there is news: those of runs that have begun, and those that wait for
    /// one.
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

    /// Remove and return the missing mirrors that are lost, judged by when they went missing.
    pub fn take_lost(&mut self, is_lost: impl Fn(Instant) -> bool) -> Vec<Followed> {
        self.missing.extract_if(.., |mirror| mirror.missing_since.is_some_and(&is_lost)).collect()
    }

    /// Drop the mirrors that are not wanted.
    pub fn retain(&mut self, is_wanted: impl Fn(&Followed) -> bool) {
        self.begun.retain(|_, mirrors| {
            mirrors.retain(&is_wanted);
            !mirrors.is_empty()
        });
        self.missing.retain(&is_wanted);
        self.waiting.retain(&is_wanted);
    }

    /// All mirrors.
    pub fn iter(&self) -> impl Iterator<Item = &Followed> {
        self.begun.values().flatten().chain(&self.missing).chain(&self.waiting)
    }

    /// Whether a reader waits for a run to begin.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The number of runs that are mirrored.
    pub fn runs(&self) -> usize {
        self.begun.len() + self.missing.len() + self.waiting.len()
    }

    /// Whether there are no mirrors.
    pub fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.missing.is_empty() && self.waiting.is_empty()
    }
}
