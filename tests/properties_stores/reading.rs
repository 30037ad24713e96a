//! Readers, and what each may get.

use genglossary_runs::core::{EventId, NotReady, RunId, Seq, Start, Subscription};

use crate::common::{self, stores::ask};
use crate::model::{End, Told};
use crate::world::{PROCESS_OF, World};

/// A reader, and what it has told.
pub struct Reader {
    pub real: Subscription,
    pub told: Told,
    pub site: usize,
    pub process: String,
    /// It reads the log that its owner writes.
    pub is_owners: bool,
}

impl World {
    pub fn subscribe(&mut self, site: usize, run: i64, start: Start, must_exist: bool) {
        let id = RunId::Int(run);
        let since = self.model.lives.len();
        let process = self.processes[PROCESS_OF[site]].name.clone();
        if let Some(life) = self.open_here(site, run) {
            let real = self.sites[site].manager.subscribe(id.as_ref(), start, must_exist).unwrap();
            let known = &self.model.lives[life];
            let next = match start {
                Start::Newest => known.last() + 1,
                Start::After(Some(id)) if id.fence == known.fence && id.seq.0 <= known.last() => id.seq.0 + 1,
                Start::After(_) => 1,
            };
            assert_eq!(real.last_event_id(), EventId { fence: known.fence, seq: Seq(next - 1) });
            let told = Told { run, life: Some(life), since, next, ended: false };
            return self.readers.push(Reader { real, told, site, process, is_owners: true });
        }
        if !self.works(site) {
            if self.refuses(site) {
                // It may be there: but what of it is known is not settled.
                drop(ask(&self.sites[site].engine.subscribe(id, start, must_exist)));
            }
            return;
        }
        self.settle_all();
        let start = if self.model.newest(run).is_none() && matches!(start, Start::After(_)) {
            Start::After(None)
        } else {
            start
        };
        let found = self.ask(site, |engine| engine.subscribe(id.clone(), start, must_exist));
        let Some(life) = self.model.newest(run) else {
            // One that waits for it makes it known here.
            let is_awaited = self
                .readers
                .iter()
                .any(|reader| reader.told.run == run && self.sites[site].manager.has_made(&reader.real));
            assert_eq!(found.is_some(), !must_exist || is_awaited);
            if let Some(real) = found {
                let told = Told { run, life: None, since, next: 1, ended: false };
                self.readers.push(Reader { real, told, site, process, is_owners: false });
            }
            return;
        };
        let real = found.expect("it is in the store");
        let known = &self.model.lives[life];
        let (last, stored) = (known.last(), known.stored);
        // What the store has is settled, whatever the mirror that it reads has been filled with.
        let (next, ended) = match (start, known.end) {
            (Start::Newest, _) if known.is_known_to_have_ended() => (last, false),
            (Start::Newest, _) => (stored + 1, false),
            (Start::After(Some(id)), Some(End::Interrupted(_))) if id.fence == known.fence => {
                (last.min(id.seq.0 + 1), false)
            }
            (Start::After(Some(id)), Some(End::Interrupted(Some(fence)))) if id.fence == fence => (last + 1, true),
            (Start::After(Some(id)), _) if id.fence == known.fence => {
                (id.seq.0 + 1, id.seq.0 == last && known.is_known_to_have_ended())
            }
            (Start::After(_), _) => (1, false),
        };
        assert_eq!(real.last_event_id().seq.0 + 1, next);
        assert!(ended || !real.is_ended());
        let told = Told { run, life: Some(life), since, next, ended };
        self.readers.push(Reader { real, told, site, process, is_owners: false });
    }

    /// Whether a reader gets something however long it takes, or the end; that it must get nothing; or that either may be.
    pub fn expected(&self, reader: &Reader) -> Option<bool> {
        let works = self.works(reader.site) && reader.process == self.processes[PROCESS_OF[reader.site]].name;
        let Some(life) = reader.told.life else {
            let mut may_be =
                self.model.lives.iter().skip(reader.told.since).filter(|life| life.run == reader.told.run).peekable();
            return if may_be.peek().is_none() {
                Some(false)
            } else {
                (works && may_be.all(|life| life.stored > 0)).then_some(true)
            };
        };
        let life = &self.model.lives[life];
        let last = life.last();
        if reader.told.ended {
            return Some(true);
        }
        if reader.told.next > last && life.is_running() {
            return Some(false);
        }
        let is_held = reader.is_owners && reader.told.next + self.limits.log.events as u64 > last;
        let is_stored = works && reader.told.next <= life.stored;
        let is_owners_gap = works && reader.is_owners;
        let is_told_end = works && life.is_known_to_have_ended();
        (is_held || is_stored || is_owners_gap || is_told_end).then_some(true)
    }

    /// Read one event; returns whether there was one.
    pub fn read(&mut self, index: usize) -> bool {
        if let Some(life) = self.readers[index].told.life {
            self.settle(life);
        } else {
            self.settle_all();
        }
        let expected = self.expected(&self.readers[index]);
        let Reader { real, told, .. } = &mut self.readers[index];
        let found = if expected == Some(true) { common::next(real) } else { real.try_next() };
        match found {
            Ok(event) => {
                assert_ne!(expected, Some(false), "{event:?} out of nothing");
                let fence = real.last_event_id().fence;
                let life = told.life.or_else(|| self.model.life_of(told, fence)).expect("it began after its reader");
                told.life = Some(life);
                told.note(&event, &mut self.model.lives[life]);
                true
            }
            Err(NotReady::Ended) => {
                assert!(told.ended, "it ended without the terminal event");
                false
            }
            Err(NotReady::Pending(_)) => {
                assert_ne!(expected, Some(true), "waited in vain for {} of {:?}", told.next, told.life);
                false
            }
        }
    }
}
