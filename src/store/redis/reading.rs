//! Reading events: those of one run, and what is new of many. It is no script, since the server would turn each event into a
//! value of Lua's and back, which takes longer than reading it.
//!
//! The server limits its answers by events, not by bytes. So how many events are asked for follows from the largest that was
//! read lately.

use super::codec;
use super::server::Server;
use crate::core::{Fence, Seq};
use crate::store::store::{Progress, Result, StoredEvent};

/// About as many bytes are in one answer, and in all answers to one question about many runs.
const ANSWER_BYTES: usize = 1 << 20;
/// So many events fit in an answer while it is not known how large they are.
const FIRST_STEP: usize = 16;
/// So many events of a run are in one answer at most.
const READ_STEP: usize = 128;

/// A run whose events are read: which one, the key of its stream, and from which event on.
type Unread<'a> = (usize, &'a String, Fence, Seq);

/// What is known of events that are read.
pub(super) struct Reading {
    /// Bytes of the largest, of which each event that was read since takes a little away.
    largest: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self { largest: ANSWER_BYTES / FIRST_STEP }
    }
}

impl Reading {
    /// The events of a run from `from` on: `events` and `bytes` at most, but one at least if there is one.
    pub fn read(
        &mut self,
        server: &mut Server,
        fence: Fence,
        mut from: Seq,
        events: usize,
        bytes: usize,
    ) -> Result<Vec<StoredEvent>> {
        let key = server.events_key(fence);
        let (mut found, mut size) = (Vec::new(), 0);
        while found.len() < events && size < bytes {
            let step = self.fitting(bytes - size).min(READ_STEP).min(events - found.len());
            let start = format!("{fence}-{from}");
            let mut range = redis::cmd("XRANGE");
            range.arg(&key).arg(start).arg("+").arg("COUNT").arg(step);
            let entries: Vec<codec::Entry> = server.query(|connection| range.query(connection))?;
            self.note(&entries);
            let is_all = entries.len() < step;
            for event in entries.into_iter().filter_map(codec::event) {
                if size >= bytes {
                    return Ok(found);
                }
                size += event.payload.encoded_len();
                from = event.seq.next();
                found.push(event);
            }
            if is_all {
                break;
            }
        }
        Ok(found)
    }

    /// How far runs are, with the next events of some.
    pub fn follow(&mut self, server: &mut Server, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        let keys: Vec<String> = runs.iter().map(|(fence, _)| server.events_key(*fence)).collect();
        let (states, streams) = self.ask(server, runs, &keys)?;
        let not_running = runs.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|((fence, _), _)| fence.0);
        let fences: Vec<u64> = not_running.collect();
        let mut records: Vec<codec::Fields> = Vec::new();
        if !fences.is_empty() {
            records = server.call(|scripts| &scripts.records, fences)?;
        }
        // Streams without anything new are left out.
        let (mut records, mut streams) = (records.into_iter(), streams.into_iter().peekable());
        let mut found = Vec::with_capacity(runs.len());
        for (((fence, _), state), key) in runs.iter().zip(&states).zip(&keys) {
            let entries = streams.next_if(|(name, _)| name == key).map(|(_, entries)| entries);
            let events: Vec<StoredEvent> = entries.into_iter().flatten().filter_map(codec::event).collect();
            found.push(match state {
                Some(last) => Progress::Running(*last, events),
                None => match records.next().and_then(|fields| codec::record(*fence, &fields)) {
                    Some(record) if record.is_running() => Progress::Running(record.last, events),
                    Some(record) => Progress::Ended(record, events),
                    None => Progress::Missing,
                },
            });
        }
        Ok(found)
    }

    /// The newest seqs of runs that are running, and what is new in the streams of some, which have these keys. The seqs are
    /// read first: of the events up to them, only those can be lacking that are more than are read at once.
    fn ask(
        &mut self,
        server: &mut Server,
        runs: &[(Fence, Seq)],
        keys: &[String],
    ) -> Result<(Vec<Option<Seq>>, Vec<codec::Stream>)> {
        let mut progress = redis::cmd("HMGET");
        progress.arg(server.key(&["progress"])).arg(runs.iter().map(|(fence, _)| fence.0).collect::<Vec<u64>>());
        let mut rest: Vec<Unread<'_>> = runs
            .iter()
            .zip(keys)
            .enumerate()
            .map(|(number, ((fence, from), key))| (number, key, *fence, *from))
            .collect();
        // Who asks for records alone asks for the largest seq, which no event has.
        rest.retain(|(.., from)| from.0 < u64::MAX);
        let mut room = ANSWER_BYTES;
        let (states, mut streams): (Vec<Option<String>>, _) = match self.next(&mut rest, room) {
            None => (server.query(|connection| progress.query(connection))?, Vec::new()),
            Some(read) => {
                let mut ask = redis::pipe();
                ask.add_command(progress).add_command(read);
                let (states, read): (_, Option<Vec<codec::Stream>>) =
                    server.query(|connection| ask.query(connection))?;
                (states, read.unwrap_or_default())
            }
        };
        let states: Vec<Option<Seq>> = states.iter().map(|state| codec::last(state.as_deref()?)).collect();
        let last = |number: usize| states.get(number).copied().flatten();
        rest.retain(|(number, .., from)| last(*number).is_none_or(|last| last >= *from));
        room = room.saturating_sub(self.note(streams.iter().flat_map(|(_, entries)| entries)));
        while room > 0
            && let Some(read) = self.next(&mut rest, room)
        {
            let found: Option<Vec<codec::Stream>> = server.query(|connection| read.query(connection))?;
            let found = found.unwrap_or_default();
            room = room.saturating_sub(self.note(found.iter().flat_map(|(_, entries)| entries)));
            streams.extend(found);
        }
        Ok((states, streams))
    }

    /// Read what is new in the first of these streams, of which as many are taken as `room` is for.
    fn next(&self, rest: &mut Vec<Unread<'_>>, room: usize) -> Option<redis::Cmd> {
        let fitting = self.fitting(room);
        let some: Vec<Unread<'_>> = rest.drain(..fitting.min(rest.len())).collect();
        let each = fitting.checked_div(some.len())?.min(READ_STEP);
        let keys: Vec<&String> = some.iter().map(|(_, key, ..)| *key).collect();
        let after: Vec<String> = some.iter().map(|(.., fence, from)| format!("{fence}-{}", from.previous())).collect();
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(each).arg("STREAMS").arg(keys).arg(after);
        Some(read)
    }

    /// About how many events have so many bytes; one at least.
    fn fitting(&self, bytes: usize) -> usize {
        (bytes / self.largest).max(1)
    }

    /// Note how large events are; returns the bytes of all.
    fn note<'a>(&mut self, entries: impl IntoIterator<Item = &'a codec::Entry>) -> usize {
        let (mut all, mut largest, mut count) = (0, 1, 0);
        for (_, fields) in entries {
            let bytes = fields.iter().map(Vec::len).sum();
            (all, largest, count) = (all + bytes, largest.max(bytes), count + 1);
        }
        // A few small events tell little of the next ones, and an answer of some sixteen halves it.
        self.largest = largest.max(self.largest - self.largest / 32 * count.min(16));
        all
    }
}
