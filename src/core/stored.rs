//! Runs of a store.
//!
//! A run that another process executes, or executed before a restart, has a mirror here: a log that an engine fills. It
//! is read, finished and retained like any other run.

use std::sync::Arc as StdArc;
use std::time::Instant;

use super::archive::{Archive, Life, Terminal};
use super::cancel::CancelEvent;
use super::error::Error;
use super::event::Payload;
use super::fork::release;
use super::id::{EventId, Fence, RunIdRef, Seq};
use super::manager::{RunManager, Start};
use super::registry::{Claim, Entry, Maps, evict_logs};
use super::run::{Finish, Run, State};
use super::subscription::Subscription;
use super::sync::Arc;

impl State {
    /// Whether it is this life. The fence alone does not tell: a run that is not stored may have the same by chance.
    fn is_life(&self, life: &Life) -> bool {
        self.fence == life.fence && self.archive.is_some()
    }

    /// Become this life, unless it is one already or something has been published. Returns whether it did.
    fn adopt_if_new(&mut self, life: &Life, archive: &StdArc<dyn Archive>) -> bool {
        let is_new = self.archive.is_none() && self.log.last() == Seq::ZERO;
        if is_new {
            self.adopt(life, archive);
        }
        is_new
    }

    /// Become this life. Nothing may have been published.
    fn adopt(&mut self, life: &Life, archive: &StdArc<dyn Archive>) {
        self.fence = life.fence;
        self.archive = Some(archive.clone());
        self.log.start_at(if life.terminal.is_some() { life.last } else { life.last.next() });
    }

    /// Where a reader of a stored run starts, and whether that is after an event that is not stored, or not yet. The
    /// mirror may lack events that the store has of this `life`.
    fn position(&self, start: Start, life: &Life) -> (Seq, bool) {
        let known = Some(life).filter(|life| self.is_life(life));
        let terminal = known.and_then(|life| life.terminal.as_ref());
        let last = known.map_or(Seq::ZERO, |life| life.last).max(self.log.last());
        let newest = if terminal.is_some() || self.log.is_finished() { last } else { last.next() };
        let end_fence = self.end_fence.or(terminal.and_then(|terminal| terminal.fence));
        let has_ended = terminal.is_some() || self.log.is_finished() || end_fence.is_some();
        let terminal_id = EventId { fence: end_fence.unwrap_or(self.fence), seq: newest };
        match start {
            Start::Newest => (newest, false),
            // The process that published the event died before storing it.
            Start::After(Some(id)) if id.fence == self.fence && end_fence.is_some() => {
                // At the terminal event at the latest, whether or not it has arrived here yet.
                (id.seq.next().min(newest), false)
            }
            Start::After(Some(id)) if id.fence == self.fence => (id.seq.next(), id.seq > last),
            Start::After(Some(id)) if has_ended && id == terminal_id => (id.seq.next(), false),
            Start::After(_) => (Seq::FIRST, false),
        }
    }
}

/// Runs of a store.
impl RunManager {
    /// Open a run that has begun this life in a store. Returns its cancel event and the run.
    ///
    /// # Errors
    ///
    /// [`Error::RunActive`] if it is open.
    pub fn open_stored(
        &self,
        run_id: RunIdRef<'_>,
        fence: Fence,
        archive: &StdArc<dyn Archive>,
    ) -> Result<(Arc<CancelEvent>, Arc<Run>), Error> {
        self.open_as(run_id, |entry| {
            let mut state = entry.run.lock();
            state.fence = fence;
            state.archive = Some(archive.clone());
        })
    }

    /// Turn a run that is open here and has no events into this life of a store. Returns the run on success.
    pub fn keep(&self, run_id: RunIdRef<'_>, life: &Life, archive: &StdArc<dyn Archive>) -> Option<Arc<Run>> {
        let maps = self.registry().lock();
        let entry = maps.live.get(&run_id).filter(|entry| entry.claim == Claim::Open)?;
        entry.run.lock().adopt_if_new(life, archive).then(|| entry.run.clone())
    }

    /// Create a reader of a stored run: of the run that is open here, if there is one, else of a mirror. Also returns
    /// the run if an engine has to fill it.
    pub fn subscribe_stored(
        &self,
        run_id: RunIdRef<'_>,
        life: &Life,
        archive: &StdArc<dyn Archive>,
        start: Start,
    ) -> (Subscription, Option<Arc<Run>>) {
        let registry = self.registry();
        let mut maps = registry.lock();
        let evicted = maps.retained.expire(Instant::now());
        let retained = maps.retained.get(run_id).filter(|run| run.lock().is_life(life)).cloned();
        let (run, fill) = match retained {
            Some(run) if !maps.live.contains_key(&run_id) => (run, false),
            _ => {
                let entry = maps.entry(run_id, registry.limits.log);
                entry.subscribers += 1;
                let mut state = entry.run.lock();
                if entry.claim == Claim::Open || state.is_life(life) {
                    drop(state);
                    (entry.run.clone(), false)
                } else if state.adopt_if_new(life, archive) {
                    drop(state);
                    (entry.run.clone(), true)
                } else {
                    // Readers of another life stay with it.
                    drop(state);
                    let run = Arc::new(Run::new(run_id.into(), life.fence, registry.limits.log));
                    run.lock().adopt(life, archive);
                    entry.run = run.clone();
                    entry.subscribers = 1;
                    (run, true)
                }
            }
        };
        let terminal = life.terminal.as_ref().filter(|_| fill);
        let end = terminal.and_then(|terminal| finish_mirror(&mut maps, &run, terminal, registry.keeps_orphans));
        let (next, ahead) = run.lock().position(start, life);
        drop(maps);
        let subscription = Subscription::of_stored(run.clone(), registry.clone(), next, ahead);
        if let Some(end) = end {
            end.settle(&run);
        }
        evict_logs(&evicted);
        (subscription, (fill && terminal.is_none()).then_some(run))
    }

    /// Turn a run that nobody has opened into a mirror of this life. Returns whether it became one.
    pub fn mirror(&self, run: &Arc<Run>, life: &Life, archive: &StdArc<dyn Archive>) -> bool {
        let maps = self.registry().lock();
        let waits = maps.live.get(&run.id.as_ref());
        let waits = waits.is_some_and(|entry| Arc::ptr_eq(&entry.run, run) && entry.claim != Claim::Open);
        let adopts = waits && run.lock().adopt_if_new(life, archive);
        drop(maps);
        if adopts {
            run.touch();
        }
        adopts
    }

    /// Finish a mirror with the store's terminal event, unless it is an orphan that is kept. In either case its engine
    /// is done with it.
    pub fn finish_stored(&self, run: &Arc<Run>, terminal: &Terminal) {
        let mut maps = self.registry().lock();
        let end = finish_mirror(&mut maps, run, terminal, self.registry().keeps_orphans);
        drop(maps);
        if let Some(end) = end {
            end.settle(run);
        }
    }

    /// Append an event to a run that is open here, and wake the readers.
    ///
    /// # Errors
    ///
    /// The run is not open here; returns the payload.
    pub fn publish_here(&self, run_id: RunIdRef<'_>, payload: Payload) -> Result<Option<EventId>, Payload> {
        let maps = self.registry().lock();
        let run = maps.live.get(&run_id).filter(|entry| entry.claim == Claim::Open).map(|entry| entry.run.clone());
        match run {
            Some(run) => Ok(self.publish_to(&run, maps, payload)),
            None => Err(payload),
        }
    }

    /// Append an event to this life of a run and wake the readers; `None` if it is no longer open here.
    pub fn publish_to_life(&self, run: &Arc<Run>, payload: Payload) -> Option<EventId> {
        let maps = self.registry().lock();
        maps.open_life(run)?;
        self.publish_to(run, maps, payload)
    }

    /// Finish this life of a run with its terminal event, if it is still open here. Returns whether this call finished it.
    /// Before anybody can see the end, `note` is called with the fence, under the lock of the maps: the locks that it
    /// takes must be leaves.
    pub fn finish_life(&self, run: &Arc<Run>, payload: Payload, note: impl FnOnce(Fence)) -> bool {
        self.finish_if(run.id.as_ref(), payload, |maps| {
            let is_open = maps.open_life(run).is_some();
            if is_open {
                let fence = run.lock().fence;
                note(fence);
            }
            is_open
        })
    }

    /// The cancel event of this life of a run; `None` if it is no longer open here.
    pub fn cancel_event_of_life(&self, run: &Arc<Run>) -> Option<Arc<CancelEvent>> {
        self.registry().lock().open_life(run).map(|entry| entry.cancel.clone())
    }

    /// The run with this id, if it is open here.
    pub fn open_run(&self, run_id: RunIdRef<'_>) -> Option<Arc<Run>> {
        let maps = self.registry().lock();
        maps.live.get(&run_id).filter(|entry| entry.claim == Claim::Open).map(|entry| entry.run.clone())
    }

    /// The unfinished run with this id, if it is open or subscribed to.
    pub fn live_run(&self, run_id: RunIdRef<'_>) -> Option<Arc<Run>> {
        self.registry().lock().live.get(&run_id).map(|entry| entry.run.clone())
    }
}

/// What remains to be done after a mirror has its terminal event, when no lock is held.
struct MirrorEnd {
    finish: Finish,
    evicted: Vec<Arc<Run>>,
    /// Its entry, whose cancel event may have callbacks to drop.
    entry: Option<Entry>,
}

impl MirrorEnd {
    fn settle(self, run: &Run) {
        let Finish { wakeup, chunk, .. } = self.finish;
        release(chunk);
        run.wake(wakeup);
        evict_logs(&self.evicted);
        release(self.entry.map(|entry| entry.cancel.take_callbacks()));
    }
}

/// Remove a mirror's entry, append the terminal event and retain the run, as one step. An orphan that is kept only
/// learns the fence of its terminal event.
fn finish_mirror(maps: &mut Maps, run: &Arc<Run>, terminal: &Terminal, keeps_orphans: bool) -> Option<MirrorEnd> {
    let mut state = run.lock();
    if !state.log.is_finished() {
        state.end_fence = terminal.fence;
    }
    drop(state);
    let is_newest = maps.live.get(&run.id.as_ref()).is_some_and(|entry| Arc::ptr_eq(&entry.run, run));
    if is_newest && keeps_orphans && terminal.fence.is_some() {
        return None;
    }
    let finish = run.finish(terminal.payload.clone());
    if !is_newest {
        return Some(MirrorEnd { finish, evicted: Vec::new(), entry: None });
    }
    let entry = maps.live.remove(&run.id.as_ref());
    maps.retained.remove(run.id.as_ref());
    let evicted = maps.retained.insert(run.clone(), finish.bytes, Instant::now());
    Some(MirrorEnd { finish, evicted, entry })
}

impl Run {
    /// Append events of the store to a mirror and wake its readers. `last` is the newest event published; events
    /// missing up to it no longer exist.
    pub fn fill(&self, events: impl IntoIterator<Item = (Seq, Payload)>, last: Seq) {
        let mut state = self.lock();
        if state.log.is_finished() {
            return;
        }
        for (seq, payload) in events {
            state.log.append_at(seq, payload);
        }
        state.log.skip_to(last);
        let wakeup = state.changed();
        drop(state);
        self.wake(wakeup);
    }
}
