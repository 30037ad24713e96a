//! A reader of one run: a cursor on its log.
//!
//! # Falling behind
//!
//! A reader whose next event has been shed gets one gap, then goes on with the oldest event held: every seq is either
//! delivered or inside exactly one gap.
//!
//! # Ending
//!
//! After the terminal event, or once closed, [`Subscription::try_next`] says [`NotReady::Ended`]. Dropping a
//! subscription closes it.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc as StdArc, OnceLock};
use std::time::Instant;

use super::error::Error;
use super::event::{Event, EventId, Payload, RunId};
use super::log::Place;
use super::manager::Shared;
use super::run::{Run, State};
use super::sync::{Arc, Mutex};
use super::wake::Port;

/// No less than the length of a frame without its data: its fields' names, and an id of two 20-digit numbers.
const FRAME_BOUND: usize = 80;
/// No less than the length of a gap's data.
const GAP_BOUND: usize = 224;

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// Nothing yet; what to give to [`Subscription::wait`] or [`Subscription::arm`].
    Pending(u64),
    /// Nothing ever again.
    Ended,
}

/// A reader of one run. May be used from several threads; each event goes to one of them.
pub struct Subscription {
    run: Arc<Run>,
    manager: Arc<Shared>,
    cursor: Mutex<Cursor>,
}

/// Guarded by `Subscription.cursor`.
struct Cursor {
    /// The seq to read next.
    next: u64,
    closed: bool,
    /// Those who wait, to be woken when this reader is closed or put to.
    waiting: u32,
    /// Messages put to this reader alone, each with the seq of the event behind which it is read.
    #[expect(clippy::box_collection, reason = "hardly any reader has such messages, and each pays for the place")]
    own: Option<Box<VecDeque<(u64, Payload)>>>,
}

impl Cursor {
    fn own_is_next(&self) -> bool {
        self.own.as_ref().and_then(|own| own.front()).is_some_and(|(place, _)| *place < self.next)
    }

    fn own_len(&self) -> usize {
        self.own.as_ref().map_or(0, |own| own.len())
    }

    /// No less than the length of the next frame.
    fn next_frame_bound(&self, state: &State) -> usize {
        let json = match self.own.as_ref().and_then(|own| own.front()).filter(|_| self.own_is_next()) {
            Some((_, json)) => json.len(),
            None => match state.log.at(self.next) {
                Place::Event(json, _) => json.len(),
                Place::Gap(_) => GAP_BOUND,
                Place::Pending | Place::Ended => 0,
            },
        };
        json + FRAME_BOUND
    }
}

/// Consecutive events of a run as server-sent events, built once for all readers that stand at the same place.
pub struct Chunk {
    /// The frames.
    pub frames: Vec<u8>,
    /// The seq behind them.
    next: u64,
    /// Whatever form of the frames a reader wants to share with the others.
    pub attachment: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The chunk that a run keeps for its readers, and the seq it begins with; guarded by `Run.state`.
pub type SharedChunk = Option<(u64, StdArc<Chunk>)>;

impl Chunk {
    fn new(frames: Vec<u8>, next: u64) -> StdArc<Self> {
        StdArc::new(Self { frames, next, attachment: OnceLock::new() })
    }
}

impl Subscription {
    pub(super) fn new(run: Arc<Run>, manager: Arc<Shared>, next: u64) -> Self {
        let cursor = Mutex::new(Cursor { next, closed: false, waiting: 0, own: None });
        Self { run, manager, cursor }
    }

    /// The run it reads.
    pub fn run_id(&self) -> RunId {
        self.run.id
    }

    pub(super) fn is_of(&self, manager: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.manager, manager)
    }

    /// The run's name among the things a [`Port`] reports.
    pub fn key(&self) -> u64 {
        self.run.key
    }

    /// Whether its run was made before a fork: then it is closed, and its locks must not be taken.
    pub fn is_of_parent(&self) -> bool {
        self.run.is_of_parent()
    }

    /// The id behind which it goes on.
    pub fn last_event_id(&self) -> EventId {
        EventId { fence: self.run.fence, seq: self.cursor.lock().next - 1 }
    }

    /// Whether it has been closed.
    pub fn is_closed(&self) -> bool {
        self.cursor.lock().closed
    }

    /// Whether nothing more comes: it has been closed, or the terminal event has been read.
    pub fn is_ended(&self) -> bool {
        let cursor = self.cursor.lock();
        cursor.closed || (cursor.own_len() == 0 && matches!(self.run.lock().log.at(cursor.next), Place::Ended))
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// [`NotReady`] if there is none.
    pub fn try_next(&self) -> Result<Event, NotReady> {
        let mut cursor = self.cursor.lock();
        self.step(&mut cursor, &self.run.lock())
    }

    /// Everything that waits, as server-sent events of `limit` bytes at most, unless a single one is longer.
    ///
    /// # Errors
    ///
    /// [`NotReady`] if nothing waits.
    pub fn try_next_chunk(&self, limit: usize) -> Result<StdArc<Chunk>, NotReady> {
        let mut cursor = self.cursor.lock();
        let mut state = self.run.lock();
        let start = cursor.next;
        let shareable = !cursor.closed && cursor.own_len() == 0 && matches!(state.log.at(start), Place::Event(..));
        if !shareable {
            let frames = self.fill(&mut cursor, &state, limit)?;
            return Ok(Chunk::new(frames, cursor.next));
        }
        if let Some((place, chunk)) = &state.chunk
            && *place == start
            && (chunk.frames.len() <= limit || chunk.next == start + 1)
        {
            cursor.next = chunk.next;
            return Ok(chunk.clone());
        }
        let frames = self.fill(&mut cursor, &state, limit)?;
        // What is kept with a finished run is bounded with the others, this only by the limit.
        let keep = frames.len() <= limit || !state.log.is_finished();
        let chunk = Chunk::new(frames, cursor.next);
        let replaced = if keep { state.chunk.replace((start, chunk.clone())) } else { None };
        drop(state);
        drop(cursor);
        drop(replaced);
        Ok(chunk)
    }

    /// How many events and own messages a reader would get now; the notice of a gap before them is not counted.
    pub fn unread(&self) -> usize {
        let cursor = self.cursor.lock();
        if cursor.closed {
            return 0;
        }
        let events = self.run.lock().log.unread(cursor.next);
        events + cursor.own_len()
    }

    /// Give this reader alone a message, read in the place where it is put. A closed reader ignores it.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if `limit` of them are unread.
    pub fn put(&self, json: Payload, limit: usize) -> Result<(), Error> {
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return Ok(());
        }
        if cursor.own_len() >= limit {
            return Err(Error::Full(limit));
        }
        let place = self.run.lock().log.last();
        cursor.own.get_or_insert_default().push_back((place, json));
        let waiting = cursor.waiting > 0;
        drop(cursor);
        if waiting {
            self.run.touch();
        }
        Ok(())
    }

    /// Wait until there may be more to read than [`NotReady::Pending`] said, until `deadline` at most.
    pub fn wait(&self, epoch: u64, deadline: Option<Instant>) {
        if self.begin_wait() {
            self.run.wait(epoch, deadline);
            self.end_wait();
        }
    }

    /// Have `port` rung when there may be more to read than [`NotReady::Pending`] said; `false` if there may be
    /// already. Each `true` is to be followed by one [`Subscription::end_wait`].
    pub fn arm(&self, epoch: u64, port: &StdArc<Port>) -> bool {
        if !self.begin_wait() {
            return false;
        }
        let armed = self.run.arm(epoch, port);
        if !armed {
            self.end_wait();
        }
        armed
    }

    /// Count one who waits, so that `close` and `put` wake it; `false` if they came before.
    fn begin_wait(&self) -> bool {
        let mut cursor = self.cursor.lock();
        if cursor.closed || cursor.own_is_next() {
            return false;
        }
        cursor.waiting += 1;
        true
    }

    /// One who waited does not any more.
    pub fn end_wait(&self) {
        self.cursor.lock().waiting -= 1;
    }

    /// Unregister: nothing more is received, and whoever waits is woken. May be repeated.
    pub fn close(&self) {
        if self.is_of_parent() {
            return;
        }
        let mut cursor = self.cursor.lock();
        if cursor.closed {
            return;
        }
        cursor.closed = true;
        let own = cursor.own.take();
        let waiting = cursor.waiting > 0;
        drop(cursor);
        drop(own);
        self.manager.unregister(&self.run);
        if waiting {
            self.run.touch();
        }
    }

    fn fill(&self, cursor: &mut Cursor, state: &State, limit: usize) -> Result<Vec<u8>, NotReady> {
        let mut frames = Vec::new();
        loop {
            if !frames.is_empty() && frames.len() + cursor.next_frame_bound(state) > limit {
                return Ok(frames);
            }
            match self.step(cursor, state) {
                Ok(event) => event.write_frame(self.run.id, &mut frames),
                Err(none) if frames.is_empty() => return Err(none),
                Err(_) => return Ok(frames),
            }
        }
    }

    fn step(&self, cursor: &mut Cursor, state: &State) -> Result<Event, NotReady> {
        if cursor.closed {
            return Err(NotReady::Ended);
        }
        if cursor.own_is_next()
            && let Some((_, json)) = cursor.own.as_mut().and_then(|own| own.pop_front())
        {
            return Ok(Event::Own(json));
        }
        let id = EventId { fence: self.run.fence, seq: cursor.next };
        match state.log.at(cursor.next) {
            Place::Gap(gap) => {
                cursor.next = gap.to + 1;
                self.manager.count_missed(gap.missed());
                Ok(Event::Gap(gap))
            }
            Place::Event(json, terminal) => {
                cursor.next += 1;
                let json = json.clone();
                Ok(if terminal { Event::Terminal(id, json) } else { Event::Message(id, json) })
            }
            Place::Pending => Err(NotReady::Pending(state.epoch())),
            Place::Ended => Err(NotReady::Ended),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.close();
    }
}
