//! Following runs: one question about many of them. It is no script, since the server would turn each event into a value of
//! Lua's and back, which takes longer than reading it.

use super::codec;
use super::server::Server;
use crate::core::{Fence, Seq};
use crate::store::store::{Progress, Result, StoredEvent};

/// What an event is taken to have before one was read.
const EVENT_BYTES: usize = 1024;
/// About as many bytes are read at once.
const ANSWER_BYTES: usize = 1 << 20;
/// So many events of a run are read at once at most.
pub(super) const READ_STEP: usize = 128;

/// What is known of the events of runs that are followed.
pub(super) struct Following {
    /// How large an event was on average, of those that were last read.
    event_bytes: usize,
}

impl Default for Following {
    fn default() -> Self {
        Self { event_bytes: EVENT_BYTES }
    }
}

impl Following {
    /// How far runs are, with the next events of each.
    pub fn read(&mut self, server: &mut Server, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        let keys: Vec<String> = runs.iter().map(|(fence, _)| server.events_key(*fence)).collect();
        let (states, streams) = self.ask(server, runs, &keys)?;
        let states: Vec<Option<Seq>> = states.iter().map(|state| codec::last(state.as_deref()?)).collect();
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

    /// The progress of runs that are running, and what is new in the streams of all, which have these keys. The progress is
    /// read first: of the events up to it, only those can be lacking that are more than are read at once.
    fn ask(
        &mut self,
        server: &mut Server,
        runs: &[(Fence, Seq)],
        keys: &[String],
    ) -> Result<(Vec<Option<String>>, Vec<codec::Stream>)> {
        let fences: Vec<u64> = runs.iter().map(|(fence, _)| fence.0).collect();
        let after: Vec<String> = runs.iter().map(|(fence, from)| format!("{fence}-{}", from.previous())).collect();
        let most = (ANSWER_BYTES / (self.event_bytes.max(1) * runs.len().max(1))).clamp(1, READ_STEP);
        let mut ask = redis::pipe();
        ask.cmd("HMGET").arg(server.key(&["progress"])).arg(fences);
        ask.cmd("XREAD").arg("COUNT").arg(most).arg("STREAMS").arg(keys).arg(after);
        let (states, read): (_, Option<Vec<codec::Stream>>) = server.query(|connection| ask.query(connection))?;
        let read = read.unwrap_or_default();
        let entries = || read.iter().flat_map(|(_, entries)| entries);
        let bytes: usize = entries().flat_map(|(_, fields)| fields).map(Vec::len).sum();
        self.event_bytes = bytes.checked_div(entries().count()).unwrap_or(self.event_bytes);
        Ok((states, read))
    }
}
