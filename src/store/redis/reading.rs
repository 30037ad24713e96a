//! Reading events: those of one run, or the new ones of many. It is not a script, because the server would convert each
//! event to a Lua value and back, which takes longer than reading it.
//!
//! The server limits answers by events, not by bytes. So the number of events to request is derived from the largest
//! event that was read recently.

use super::codec;
use super::server::Server;
use crate::core::{Fence, Seq};
use crate::store::store::{Progress, Result, StoredEvent};

/// About the maximum bytes of one answer, and of all answers to one request about many runs.
const ANSWER_BYTES: usize = 1 << 20;
/// How many events are assumed to fit into an answer while their size is unknown.
const FIRST_STEP: usize = 16;
/// Maximum number of events of one run per answer.
const READ_STEP: usize = 128;

/// A run whose events to read: its index, the key of its stream, its fence, and the first event.
type Unread<'a> = (usize, &'a String, Fence, Seq);

/// Reads events, and keeps track of their size.
pub(super) struct Reading {
    /// Bytes of the largest event, reduced a little by each event read since.
    largest: usize,
}

impl Default for Reading {
    fn default() -> Self {
        Self { largest: ANSWER_BYTES / FIRST_STEP }
    }
}

impl Reading {
    /// The events of a run from `from` on: at most `events` of them and about `bytes`, but at least one if there is one.
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

    /// How far runs have come, with the next events of some.
    pub fn follow(&mut self, server: &mut Server, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        let keys: Vec<String> = runs.iter().map(|(fence, _)| server.events_key(*fence)).collect();
        let (states, streams) = self.ask(server, runs, &keys)?;
        let not_running = runs.iter().zip(&states).filter(|(_, state)| state.is_none()).map(|((fence, _), _)| fence.0);
        let fences: Vec<u64> = not_running.collect();
        let mut records: Vec<codec::Fields> = Vec::new();
        if !fences.is_empty() {
            records = server.call(|scripts| &scripts.records, fences)?;
        }
        // Streams without new entries are left out.
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

    /// The newest seqs of the running runs, and the new entries of some streams, which have these keys. The seqs are
    /// read first, so that events up to them are missing only if they exceed the maximum of one request.
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
        // A request for records alone has the largest seq, which no event has.
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

    /// The command that reads the new entries of the first of these streams, taking as many as fit into `room`.
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

    /// About how many events fit into `bytes`, at least one.
    fn fitting(&self, bytes: usize) -> usize {
        (bytes / self.largest).max(1)
    }

    /// Record the size of events. Returns their bytes in total.
    fn note<'a>(&mut self, entries: impl IntoIterator<Item = &'a codec::Entry>) -> usize {
        let (mut all, mut largest, mut count) = (0, 1, 0);
        for (_, fields) in entries {
            let bytes = fields.iter().map(Vec::len).sum();
            (all, largest, count) = (all + bytes, largest.max(bytes), count + 1);
        }
        // A few small events say little about the next ones; an answer of sixteen roughly halves the estimate.
        self.largest = largest.max(self.largest - self.largest / 32 * count.min(16));
        all
    }
}
