//! Events: what a publisher passes in and a reader gets out.

use std::borrow::Cow;
use std::ops::Deref;

use super::id::{EventId, RunId, Seq};
use super::sync::{Arc, share};

/// Maximum length of an event's name in bytes of UTF-8.
pub const MAX_EVENT_NAME: usize = 255;

/// The names of events that the log itself creates.
const TAKEN_NAMES: [&str; 2] = ["gap", "complete"];

/// The name of an event: the SSE field `event:` (WHATWG HTML, 9.2.6), by which a page distinguishes kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventName<'a>(&'a str);

/// Why a text is not a valid event name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventName {
    /// It is empty or too long.
    #[error("an event's name must have 1 to {MAX_EVENT_NAME} bytes of UTF-8")]
    Length,
    /// It contains a line end or another control character.
    #[error("an event's name cannot contain line ends or control characters")]
    ControlCharacter,
    /// It is reserved for the log.
    #[error("the event names 'gap' and 'complete' are reserved; choose another name")]
    Taken,
}

impl<'a> TryFrom<&'a str> for EventName<'a> {
    type Error = InvalidEventName;

    fn try_from(name: &'a str) -> Result<Self, InvalidEventName> {
        if !(1..=MAX_EVENT_NAME).contains(&name.len()) {
            Err(InvalidEventName::Length)
        } else if name.chars().any(char::is_control) {
            Err(InvalidEventName::ControlCharacter)
        } else if TAKEN_NAMES.contains(&name) {
            Err(InvalidEventName::Taken)
        } else {
            Ok(Self(name))
        }
    }
}

/// A published event: its name, if any, and its JSON object as one line of UTF-8. Cheap to clone: the log and all
/// readers share one allocation.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The length of the name as one byte, the name, the JSON.
    bytes: Arc<[u8]>,
}

impl Payload {
    /// Encode an event.
    pub fn new(name: Option<EventName<'_>>, json: &[u8]) -> Self {
        let mut encoded = Vec::with_capacity(1 + json.len());
        Self::begin(name, &mut encoded);
        encoded.extend_from_slice(json);
        Self::share(&encoded)
    }

    /// Begin a payload in `encoded`, which must be empty. Append its JSON, then call [`Payload::share`].
    pub fn begin(name: Option<EventName<'_>>, encoded: &mut Vec<u8>) {
        let name = name.map_or("", |name| name.0);
        // The length of a valid name fits into a byte.
        encoded.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        encoded.extend_from_slice(name.as_bytes());
    }

    /// Finish a payload begun with [`Payload::begin`].
    pub fn share(encoded: &[u8]) -> Self {
        Self { bytes: share(encoded) }
    }

    /// The event's name.
    pub fn name(&self) -> Option<&str> {
        let (length, rest) = self.bytes.split_first()?;
        let name = rest.get(..usize::from(*length)).filter(|name| !name.is_empty())?;
        str::from_utf8(name).ok()
    }

    /// Bytes of the name and the JSON, plus one.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// The event's JSON object.
    pub fn json(&self) -> &[u8] {
        let skipped = self.bytes.first().map_or(0, |length| 1 + usize::from(*length));
        self.bytes.get(skipped..).unwrap_or_default()
    }
}

/// Dereferences to the JSON.
impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.json()
    }
}

/// Events that a reader can no longer get: `from` to `to`, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first event missed.
    pub from: Seq,
    /// The last event missed, at least `from`.
    pub to: Seq,
}

impl Gap {
    /// The number of events in the gap.
    pub fn missed(&self) -> u64 {
        self.to.since(self.from) + 1
    }

    /// The gap as a JSON object that a log view can show as a line.
    fn json(&self, run_id: &RunId) -> Vec<u8> {
        let Self { from, to } = self;
        let missed = self.missed();
        let plural = if missed == 1 { "message was" } else { "messages were" };
        let mut json = b"{\"run_id\":".to_vec();
        run_id.write_json(&mut json);
        let rest = format!(
            r#","level":"warning","message":"{missed} log {plural} dropped","gap":{{"from":{from},"to":{to},"missed":{missed}}}}}"#
        );
        json.extend_from_slice(rest.as_bytes());
        json
    }
}

/// What a reader gets.
#[derive(Debug, Clone)]
pub enum Event {
    /// An event of the run.
    Message(EventId, Payload),
    /// The last event of the run.
    Terminal(EventId, Payload),
    /// A private message for this reader; it has no id.
    Private(Payload),
    /// The reader fell behind.
    Gap(Gap),
}

impl Event {
    /// The event as a JSON object.
    pub fn json(&self, run_id: &RunId) -> Cow<'_, [u8]> {
        match self {
            Self::Message(_, payload) | Self::Terminal(_, payload) | Self::Private(payload) => {
                Cow::Borrowed(payload.json())
            }
            Self::Gap(gap) => Cow::Owned(gap.json(run_id)),
        }
    }

    /// Its name in a stream: what its publisher gave it, or one that no publisher can give.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Message(_, payload) => payload.name(),
            Self::Terminal(..) => Some("complete"),
            Self::Gap(_) => Some("gap"),
            Self::Private(_) => None,
        }
    }
}
