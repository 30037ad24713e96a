//! A reader of one run: a cursor on its log.
//!
//! # Falling behind
//!
//! A reader whose next event has been evicted gets one gap, then continues with the oldest event held: every seq is either
//! delivered or inside exactly one gap. Where the run has an archive, the reader waits for a page of it first; what
//! that does not hold either is a gap.
//!
//! # Ending
//!
//! After the terminal event, or once closed, [`Subscription::try_next`] says [`NotReady::Ended`]. Dropping a
//! subscription closes it.

use std::sync::{Arc as StdArc, OnceLock};
use std::time::Instant;

use super::archive::Wanted;
use super::cursor::{Cursor, Held, Nothing};
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

/// A reader of one run. May be used from several threads; each event goes to one of them.
pub struct Subscription {
    run: Arc<Run>,
    registry: Arc<Registry>,
    cursor: Mutex<Cursor>,
    /// The event loop that it belongs to.
    owner: OnceLock<Key>,
}

impl Subscription {
    /// A reader of `run` at `next`, which is counted as its subscriber already.
    pub fn new(run: Arc<Run>, registry: Arc<Registry>, next: Seq) -> Self {
        Self::of_stored(run, registry, next, false)
    }

    /// A reader as [`Subscription::new`] makes it; `ahead` if it resumes after an event that the log does not have, or not
    /// yet.
    pub(super) fn of_stored(run: Arc<Run>, registry: Arc<Registry>, next: Seq, ahead: bool) -> Self {
        Self { run, registry, cursor: Mutex::new(Cursor::new(next, ahead)), owner: OnceLock::new() }
    }

    /// The run it reads.
    pub fn run_id(&self) -> &RunId {
        &self.run.id
    }

    /// Whether its run is of this registry.
    pub fn is_of(&self, registry: &Arc<Registry>) -> bool {
        Arc::ptr_eq(&self.registry, registry)
    }

    /// The run's name among the things a [`Port`] reports.
    pub fn key(&self) -> Key {
        self.run.key
    }

    /// Make it belong to the event loop named `owner`, unless it belongs to another. Returns whether it belongs to it.
    pub fn bind(&self, owner: Key) -> bool {
        *self.owner.get_or_init(|| owner) == owner
    }

    /// Whether its run was made before a fork: then it is closed, and its locks must not be taken.
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

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.cursor.lock().closed
    }

    /// Whether nothing more comes: it has been closed, or the terminal event has been read.
    pub fn is_ended(&self) -> bool {
        let cursor = self.cursor.lock();
        let has_all = || !cursor.ahead && matches!(self.run.lock().log.at(cursor.next), Lookup::Ended);
        cursor.closed || (cursor.private_len() == 0 && cursor.backlog.is_none() && has_all())
    }

    /// The next event.
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

    /// All events that are ready as server-sent events, of `limit` bytes at most unless a single one is longer.
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
            // Sent also if there are frames, so that the next page is there when they have been read.
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
        // What a finished run keeps counts against retention, which knows only the log; so it keeps no chunk over the limit.
        let keep = frames.len() <= limit || !state.log.is_finished();
        let chunk = Chunk::new(frames, cursor.next);
        let replaced = if keep { state.chunk.replace((start, chunk.clone())) } else { None };
        drop(state);
        drop(cursor);
        release(replaced);
        Ok(chunk)
    }

    /// How many events and private messages a reader would get now; a gap before them does not count.
    pub fn unread(&self) -> usize {
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return 0;
        }
        let state = self.run.lock();
        let (events, held) = cursor.unread_events(&state);
        let unread = events + cursor.private_len();
        drop(state);
        drop(cursor);
        // Whoever polls this rather than read is to see events, too.
        if let Some(held) = held {
            self.not_ready(held);
        }
        unread
    }

    /// Wait until there may be more to read than [`NotReady::Pending`] said, until `deadline` at most. Not to be called
    /// with the GIL or a lock held.
    pub fn wait(&self, epoch: Epoch, deadline: Option<Instant>) {
        if let Some(_waiting) = Waiting::new(self) {
            self.run.sleep(epoch, deadline);
        }
    }

    /// Register `port` for when there may be more to read than [`NotReady::Pending`] said. It is registered as long as
    /// what this returns is kept; `None` if there may be more already.
    pub fn arm<R: AsRef<Self>>(reader: R, epoch: Epoch, port: &StdArc<Port>) -> Option<Waiting<R>> {
        let waiting = Waiting::new(reader)?;
        waiting.reader.as_ref().run.arm(epoch, port).then_some(waiting)
    }

    /// The epoch for [`Subscription::arm_run`], if there is nothing to read now; what waits for an archive is not asked for.
    pub fn idle(&self) -> Option<Epoch> {
        let cursor = self.cursor.lock();
        let state = self.run.lock();
        let nothing = !cursor.closed
            && cursor.next_private().is_none()
            && cursor.backlog.is_none()
            && matches!(state.log.at(cursor.next), Lookup::Pending);
        nothing.then(|| state.epoch())
    }

    /// Register `port` for the run's next change after `epoch`, for all readers that [`Subscription::attend`] at once.
    /// Returns whether it is; if not, there was one already.
    pub fn arm_run(&self, epoch: Epoch, port: &StdArc<Port>) -> bool {
        self.run.arm(epoch, port)
    }

    /// Have `close` and `put` wake whoever waits for the run, as long as what this returns is kept.
    pub fn attend<R: AsRef<Self>>(reader: R) -> Waiting<R> {
        reader.as_ref().cursor.lock().waiting += 1;
        Waiting { reader }
    }

    /// Close: nothing more is received, and waiters are woken. May be repeated.
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

    /// Frames of what is ready, and why there are no more, unless the limit is why.
    fn fill(&self, cursor: &mut Cursor, state: &State, limit: usize) -> (Vec<u8>, Option<Nothing>) {
        let mut frames = Vec::new();
        loop {
            if !frames.is_empty() && frames.len() + cursor.next_frame_bound(&self.run.id, state) > limit {
                return (frames, None);
            }
            match cursor.step(state, &self.registry.missed) {
                Ok(event) => event.write_frame(&self.run.id, &mut frames),
                Err(Nothing::Yet(_)) if cursor.note_stall(state) => {
                    write_stall(&self.run.id, &mut frames);
                    return (frames, None);
                }
                Err(nothing) => return (frames, Some(nothing)),
            }
        }
    }

    /// Ask for what a step found missing. No lock must be held.
    fn not_ready(&self, nothing: Nothing) -> NotReady {
        match nothing {
            Nothing::Yet(epoch) => NotReady::Pending(epoch),
            Nothing::Held(held, epoch) => {
                let Held { archive, fence, gap, backlog } = *held;
                let run = self.run.clone();
                let wake = Box::new(move || run.touch());
                archive.request(Wanted { key: self.run.key, fence, gap, backlog, wake });
                NotReady::Pending(epoch)
            }
            Nothing::Ever => NotReady::Ended,
        }
    }
}

/// Private messages, which only the GenGlossary application has.
impl Subscription {
    /// Give this reader alone a message, read at its present position. A closed reader ignores it.
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

/// A reader that waits, and so is woken by its own `close` and `put`, until this is dropped.
pub struct Waiting<R: AsRef<Subscription>> {
    reader: R,
}

impl<R: AsRef<Subscription>> Waiting<R> {
    /// `None` if `close` or `put` came before.
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
