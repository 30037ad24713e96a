//! A reader of one run: a cursor on its log.
//!
//! # Falling behind
//!
//! A reader whose next event has been evicted gets one gap, then continues with the oldest event held: every seq is
//! either delivered or inside exactly one gap. If the run has an archive, the reader first waits for a page of it; only
//! what the archive lacks as well becomes a gap.
//!
//! # Ending
//!
//! After the terminal event, or when closed, [`Subscription::try_next`] returns [`NotReady::Ended`]. Dropping a
//! subscription closes it.

use std::sync::{Arc as StdArc, OnceLock};
use std::time::Instant;

use super::archive::Wanted;
use super::cursor::{Cursor, NoEvent, PageRequest};
use super::error::Error;
use super::event::{Event, Payload};
use super::fork::release;
use super::frame::{Chunk, write_stall};
use super::id::{EventId, RunId, Seq};
use super::log::Lookup;
use super::registry::Registry;
use super::run::{Run, State};
use super::sync::{Arc, Mutex};
use super::wake::{Epoch, Key, Port, Waitable};

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// Nothing yet; the epoch is for [`Subscription::wait`] and [`Subscription::arm`].
    Pending(Epoch),
    /// Nothing ever again.
    Ended,
}

/// A reader of one run. It can be used from several threads; each event goes to one of them.
pub struct Subscription {
    run: Arc<Run>,
    registry: Arc<Registry>,
    cursor: Mutex<Cursor>,
    /// The event loop it belongs to.
    owner: OnceLock<Key>,
}

impl Subscription {
    /// A reader of `run` at `next`, which is already counted as its subscriber.
    pub fn new(run: Arc<Run>, registry: Arc<Registry>, next: Seq) -> Self {
        Self::of_stored(run, registry, next, false)
    }

    /// Like [`Subscription::new`]. `ahead` if it resumes after an event that the log does not have, or does not have
    /// yet.
    pub(super) fn of_stored(run: Arc<Run>, registry: Arc<Registry>, next: Seq, ahead: bool) -> Self {
        Self { run, registry, cursor: Mutex::new(Cursor::new(next, ahead)), owner: OnceLock::new() }
    }

    /// The id of its run.
    pub fn run_id(&self) -> &RunId {
        &self.run.id
    }

    /// Whether its run belongs to this registry.
    pub fn is_of(&self, registry: &Arc<Registry>) -> bool {
        Arc::ptr_eq(&self.registry, registry)
    }

    /// The run's key, as a [`Port`] reports it.
    pub fn key(&self) -> Key {
        self.run.key
    }

    /// Bind it to the event loop named `owner`. Returns false if it belongs to another.
    pub fn bind(&self, owner: Key) -> bool {
        *self.owner.get_or_init(|| owner) == owner
    }

    /// Whether its run was created before a fork. If so, it counts as closed, and its locks must not be taken.
    pub fn is_of_parent(&self) -> bool {
        self.run.is_of_parent()
    }

    /// The id of the event before its cursor.
    pub fn last_event_id(&self) -> EventId {
        let cursor = self.cursor.lock();
        let state = self.run.lock();
        let has_all = !cursor.ahead && state.log.is_finished() && cursor.next > state.log.last();
        if has_all { state.terminal_id() } else { EventId { fence: state.fence, seq: cursor.next.previous() } }
    }

    /// The name of the last event that [`Self::try_next`] returned, if it has one. In chunks, each frame has its name.
    pub fn last_event_name(&self) -> Option<Box<str>> {
        self.cursor.lock().name.clone()
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.cursor.lock().closed
    }

    /// Whether there is nothing more to read: it is closed, or the terminal event has been read.
    pub fn is_ended(&self) -> bool {
        let cursor = self.cursor.lock();
        let has_all = || !cursor.ahead && matches!(self.run.lock().log.at(cursor.next), Lookup::Ended);
        cursor.closed || (cursor.private_len() == 0 && cursor.backlog.is_none() && has_all())
    }

    /// Take the next event.
    ///
    /// # Errors
    ///
    /// [`NotReady`] if there is none.
    pub fn try_next(&self) -> Result<Event, NotReady> {
        let mut cursor = self.cursor.lock();
        let event = cursor.step(&self.run.lock(), &self.registry.missed);
        if let Ok(event) = &event {
            cursor.note_name(event.name());
        }
        drop(cursor);
        event.map_err(|nothing| self.not_ready(nothing))
    }

    /// Take all events that are ready, as server-sent events: at most `limit` bytes, unless a single event is longer.
    ///
    /// # Errors
    ///
    /// [`NotReady`] if there is none.
    pub fn try_next_chunk(&self, limit: usize) -> Result<StdArc<Chunk>, NotReady> {
        let mut cursor = self.cursor.lock();
        let mut state = self.run.lock();
        let start = cursor.next;
        let shareable = !cursor.closed
            && cursor.private_len() == 0
            && cursor.backlog.is_none()
            && matches!(state.log.at(start), Lookup::Event(..));
        if !shareable {
            let (frames, nothing) = self.fill(&mut cursor, &state, limit);
            let next = cursor.next;
            drop(state);
            drop(cursor);
            // Also requested if there are frames, so that the next page is ready when they have been read.
            let not_ready = nothing.map(|nothing| self.not_ready(nothing));
            return match not_ready {
                Some(not_ready) if frames.is_empty() => Err(not_ready),
                _ => Ok(Chunk::new(frames, next)),
            };
        }
        cursor.ahead = false;
        if let Some((first, chunk)) = &state.chunk
            && *first == start
            && (chunk.frames.len() <= limit || chunk.next == start.next())
        {
            cursor.next = chunk.next;
            return Ok(chunk.clone());
        }
        let (frames, _) = self.fill(&mut cursor, &state, limit);
        // Retention counts only a finished run's log, so it keeps no chunk over the limit.
        let keep = frames.len() <= limit || !state.log.is_finished();
        let chunk = Chunk::new(frames, cursor.next);
        let replaced = if keep { state.chunk.replace((start, chunk.clone())) } else { None };
        drop(state);
        drop(cursor);
        release(replaced);
        Ok(chunk)
    }

    /// The number of events and private messages a reader would get now. A gap before them does not count.
    pub fn unread(&self) -> usize {
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return 0;
        }
        let state = self.run.lock();
        let (events, nothing) = cursor.unread_events(&state);
        let unread = events + cursor.private_len();
        drop(state);
        drop(cursor);
        // A caller that polls this instead of reading must see new events, too.
        if let Some(nothing) = nothing {
            self.not_ready(nothing);
        }
        unread
    }

    /// Block until there may be more to read than [`NotReady::Pending`] reported, or until `deadline`. Call it without
    /// the GIL and without locks.
    pub fn wait(&self, epoch: Epoch, deadline: Option<Instant>) {
        if let Some(_waiting) = Waiting::new(self) {
            self.run.sleep(epoch, deadline);
        }
    }

    /// Register `port` for the next change after `epoch`, for as long as the returned guard lives. Returns `None` if
    /// there may be something to read already.
    pub fn arm<R: AsRef<Self>>(reader: R, epoch: Epoch, port: &StdArc<Port>) -> Option<Waiting<R>> {
        let waiting = Waiting::new(reader)?;
        waiting.reader.as_ref().run.arm(epoch, port).then_some(waiting)
    }

    /// The epoch for [`Subscription::arm_run`] if there is nothing to read now. Requests nothing from an archive.
    pub fn idle(&self) -> Option<Epoch> {
        let cursor = self.cursor.lock();
        let state = self.run.lock();
        let nothing = !cursor.closed
            && cursor.next_private().is_none()
            && cursor.backlog.is_none()
            && !cursor.misses_stall(&state)
            && matches!(state.log.at(cursor.next), Lookup::Pending);
        nothing.then(|| state.epoch())
    }

    /// Register `port` for the run's next change after `epoch`, on behalf of all readers with an
    /// [`attend`](Self::attend) guard. Returns false if there was one already.
    pub fn arm_run(&self, epoch: Epoch, port: &StdArc<Port>) -> bool {
        self.run.arm(epoch, port)
    }

    /// Make `close` and `put` wake the waiters of the run, for as long as the returned guard lives.
    pub fn attend<R: AsRef<Self>>(reader: R) -> Waiting<R> {
        reader.as_ref().cursor.lock().waiting += 1;
        Waiting { reader }
    }

    /// Close it and wake its waiters. May be called more than once.
    pub fn close(&self) {
        if self.is_of_parent() {
            return;
        }
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return;
        }
        cursor.closed = true;
        let private = cursor.private.take();
        let waiting = cursor.waiting > 0;
        drop(cursor);
        drop(private);
        self.registry.unsubscribe(&self.run);
        if waiting {
            self.run.touch();
        }
    }

    /// Frames of what is ready, and why there are no more; `None` if the limit was reached.
    fn fill(&self, cursor: &mut Cursor, state: &State, limit: usize) -> (Vec<u8>, Option<NoEvent>) {
        let mut frames = Vec::new();
        loop {
            if !frames.is_empty() && frames.len() + cursor.next_frame_bound(&self.run.id, state) > limit {
                return (frames, None);
            }
            match cursor.step(state, &self.registry.missed) {
                Ok(event) => event.write_frame(&self.run.id, &mut frames),
                // In a chunk of its own: one with events is shared by readers of which each may know the stall or not.
                Err(NoEvent::Pending(_)) if frames.is_empty() && cursor.note_stall(state) => {
                    write_stall(&self.run.id, &mut frames);
                    return (frames, None);
                }
                Err(nothing) => return (frames, Some(nothing)),
            }
        }
    }

    /// Request what a step found missing. Call it without locks.
    fn not_ready(&self, nothing: NoEvent) -> NotReady {
        match nothing {
            NoEvent::Pending(epoch) => NotReady::Pending(epoch),
            NoEvent::Archived(request, epoch) => {
                let PageRequest { archive, fence, gap, backlog } = *request;
                let run = self.run.clone();
                let wake = Box::new(move || run.touch());
                archive.request(Wanted { key: self.run.key, fence, gap, backlog, wake });
                NotReady::Pending(epoch)
            }
            NoEvent::Ended => NotReady::Ended,
        }
    }
}

/// Private messages, only for the GenGlossary application.
impl Subscription {
    /// Add a message for this reader alone, to be read after the events published so far. A closed reader ignores it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if `limit` of them are unread.
    pub fn put(&self, payload: Payload, limit: usize) -> Result<(), Error> {
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return Ok(());
        }
        if cursor.private_len() >= limit {
            return Err(Error::Full(limit));
        }
        let after = self.run.lock().log.last();
        cursor.private.get_or_insert_default().push_back((after, payload));
        let waiting = cursor.waiting > 0;
        drop(cursor);
        if waiting {
            self.run.touch();
        }
        Ok(())
    }
}

impl AsRef<Subscription> for Subscription {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close();
    }
}

/// A waiting reader. Until this is dropped, its own `close` and `put` wake it.
pub struct Waiting<R: AsRef<Subscription>> {
    reader: R,
}

impl<R: AsRef<Subscription>> Waiting<R> {
    /// Returns `None` if it is closed or has a private message to read.
    fn new(reader: R) -> Option<Self> {
        let mut cursor = reader.as_ref().cursor.lock();
        if cursor.closed || cursor.next_private().is_some() {
            return None;
        }
        cursor.waiting += 1;
        drop(cursor);
        Some(Self { reader })
    }
}

impl<R: AsRef<Subscription>> Drop for Waiting<R> {
    fn drop(&mut self) {
        let reader = self.reader.as_ref();
        if !reader.is_of_parent() {
            reader.cursor.lock().waiting -= 1;
        }
    }
}
