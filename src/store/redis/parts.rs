//! Splitting writes into calls of a script.

use redis::{RedisWrite, ToRedisArgs};

use crate::core::{Fence, Seq};
use crate::store::Outcome;
use crate::store::store::{Append, StoredEvent};

/// Maximum events and bytes per call, during which the server does nothing else.
const CALL_EVENTS: usize = 1000;
const CALL_BYTES: usize = 1 << 20;

/// A part of an [`Append`].
pub(super) struct Part<'a> {
    /// The index of the [`Append`] in the batch.
    pub number: usize,
    pub fence: Fence,
    last: Seq,
    end: Option<&'a Outcome>,
    events: &'a [StoredEvent],
}

impl ToRedisArgs for Part<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        self.last.0.write_redis_args(out);
        match self.end {
            Some(end) => {
                let (error, result) = (end.error.as_deref().unwrap_or(""), end.result.as_ref());
                let (json, kind) = result.map_or(("", ""), |result| (&result.json, result.kind.word()));
                (1, &end.status, error, json, kind).write_redis_args(out);
            }
            None => 0.write_redis_args(out),
        }
        self.events.len().write_redis_args(out);
        for event in self.events {
            (event.seq.0, event.payload.name().unwrap_or(""), event.payload.json()).write_redis_args(out);
        }
    }
}

/// Split the runs into parts, grouped by the call that stores them.
pub(super) fn calls(runs: &[Append]) -> Vec<Vec<Part<'_>>> {
    let (mut calls, mut call) = (Vec::new(), Vec::new());
    let (mut events, mut bytes) = (0, 0);
    for (number, run) in runs.iter().enumerate() {
        let mut rest = run.events.as_slice();
        loop {
            let room = rest.iter().take(CALL_EVENTS.saturating_sub(events));
            let fitting = room.take_while(|event| {
                let fits = bytes < CALL_BYTES;
                bytes += if fits { event.payload.encoded_len() } else { 0 };
                fits
            });
            let (part, after) = rest.split_at(fitting.count());
            events += part.len();
            rest = after;
            let is_last = rest.is_empty();
            let last = if is_last { run.last } else { part.last().map_or(Seq::ZERO, |event| event.seq) };
            let end = run.end.as_ref().filter(|_| is_last);
            call.push(Part { number, fence: run.fence, last, end, events: part });
            if is_last {
                break;
            }
            calls.push(std::mem::take(&mut call));
            (events, bytes) = (0, 0);
        }
    }
    calls.push(call);
    calls
}
