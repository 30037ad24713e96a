//! Events, their ids, and their form on the wire.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::str::FromStr;

use super::sync::Arc;

/// What names a run.
pub type RunId = i64;

/// The JSON object of one event: UTF-8, one line. Shared by the log and every reader.
pub type Payload = Arc<[u8]>;

/// The name of an event: what the SSE field `id:` says and what `Last-Event-ID` brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Tells this life of the run id from any other: milliseconds since 1970, never reused or falling in a manager.
    pub fence: u64,
    /// 1, 2, 3 … without holes; 0 is the place before the first event.
    pub seq: u64,
}

impl EventId {
    /// The most bytes an id has as text.
    pub const MAX_LEN: usize = 41;

    /// The id as text, written to the beginning of `buffer`.
    pub fn encode(self, buffer: &mut [u8; Self::MAX_LEN]) -> &str {
        let (mut fence, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut rest = buffer.as_mut_slice();
        for part in [fence.format(self.fence), "-", seq.format(self.seq)] {
            // There is room for the longest.
            let _ = rest.write_all(part.as_bytes());
        }
        let len = Self::MAX_LEN - rest.len();
        buffer.get(..len).and_then(|text| str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; Self::MAX_LEN]))
    }
}

/// A text that is no event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let number = |digits: &str| {
            // `u64::from_str` takes a leading plus sign, which no id has.
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(NoEventId)
        };
        let (fence, seq) = text.split_once('-').ok_or(NoEventId)?;
        Ok(Self { fence: number(fence)?, seq: number(seq)? })
    }
}

/// The events a reader can no longer get: all from `from` to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first missed seq.
    pub from: u64,
    /// The last missed seq, at least `from`.
    pub to: u64,
}

impl Gap {
    /// How many events it names.
    pub fn missed(&self) -> u64 {
        self.to - self.from + 1
    }
}

/// What a reader gets.
#[derive(Debug, Clone)]
pub enum Event {
    /// An event of the run.
    Message(EventId, Payload),
    /// The last event of the run.
    Terminal(EventId, Payload),
    /// A message put to this reader alone; it has no id.
    Own(Payload),
    /// The reader fell behind.
    Gap(Gap),
}

impl Event {
    /// The event as a JSON object.
    pub fn json(&self, run_id: RunId) -> Cow<'_, [u8]> {
        match self {
            Self::Message(_, json) | Self::Terminal(_, json) | Self::Own(json) => Cow::Borrowed(json),
            Self::Gap(gap) => Cow::Owned(gap_json(run_id, gap).into_bytes()),
        }
    }

    /// Append the event as a server-sent event (WHATWG HTML, 9.2.5 and 9.2.6) to `out`.
    ///
    /// JSON escapes line ends, so the data is always one line. A gap has no id: a client that goes away after it
    /// resumes from the last event it really got.
    pub fn write_frame(&self, run_id: RunId, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        let _ = match self {
            Self::Message(id, _) => write!(out, "id: {id}\ndata: "),
            Self::Terminal(id, _) => write!(out, "id: {id}\nevent: complete\ndata: "),
            Self::Own(_) => out.write_all(b"data: "),
            Self::Gap(_) => out.write_all(b"event: gap\ndata: "),
        };
        out.extend_from_slice(&self.json(run_id));
        out.extend_from_slice(b"\n\n");
    }
}

fn gap_json(run_id: RunId, gap: &Gap) -> String {
    let missed = gap.missed();
    let plural = if missed == 1 { "message was" } else { "messages were" };
    format!(
        r#"{{"run_id":{run_id},"level":"warning","message":"{missed} log {plural} dropped","gap":{{"from":{},"to":{},"missed":{missed}}}}}"#,
        gap.from, gap.to
    )
}
