//! Identifiers of runs, of lives of a run id, and of events.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use arrayvec::ArrayString;
use hashbrown::Equivalent;

/// Maximum number of characters (Unicode code points) of a text run id.
pub const MAX_RUN_ID: usize = 200;

/// The name of a run. Cheap to clone and to hash.
///
/// Text that is the decimal form of a 64-bit integer becomes that integer, so that an id finds its run whether it
/// arrived as a number or as part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunId {
    /// An integer.
    Int(i64),
    /// Any other text of 1 to [`MAX_RUN_ID`] characters, none of them a control character.
    Text(Arc<str>),
}

/// A borrowed [`RunId`], for look-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunIdRef<'a> {
    /// An integer.
    Int(i64),
    /// A text that is not the decimal form of an integer of 64 bits.
    Text(&'a str),
}

impl<'a> RunIdRef<'a> {
    /// The id that `text` denotes, unchecked: in a look-up, an invalid id matches no run.
    pub fn of_text(text: &'a str) -> Self {
        match decimal(text) {
            Some(number) => Self::Int(number),
            None => Self::Text(text),
        }
    }

    /// Check that the id is valid.
    ///
    /// # Errors
    ///
    /// [`InvalidRunId`] says why it is not.
    pub fn check(self) -> Result<Self, InvalidRunId> {
        match self {
            Self::Text("") => Err(InvalidRunId::Empty),
            // A character has at least one byte, so only long texts need counting.
            Self::Text(text) if text.len() > MAX_RUN_ID && text.chars().count() > MAX_RUN_ID => {
                Err(InvalidRunId::TooLong)
            }
            Self::Text(text) if text.chars().any(char::is_control) => Err(InvalidRunId::ControlCharacter),
            valid => Ok(valid),
        }
    }
}

/// Why a text is not a valid run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRunId {
    /// It is empty.
    #[error("a run id cannot be empty")]
    Empty,
    /// It has more than [`MAX_RUN_ID`] characters.
    #[error("a run id has at most {MAX_RUN_ID} characters")]
    TooLong,
    /// It has a line end, a tab, or another control character.
    #[error("a run id cannot contain control characters")]
    ControlCharacter,
}

/// Parse an integer in its canonical decimal form: without plus sign, leading zeros or spaces.
fn decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [first, ..] => first.is_ascii_digit() && *first != b'0',
        [] => false,
    };
    if canonical { text.parse().ok() } else { None }
}

impl RunId {
    /// Borrow the id.
    pub fn as_ref(&self) -> RunIdRef<'_> {
        match self {
            Self::Int(number) => RunIdRef::Int(*number),
            Self::Text(text) => RunIdRef::Text(text),
        }
    }

    /// Append the id as JSON: a number or a string.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        // Neither writing to a `Vec` nor serializing these types can fail.
        let _ = match self {
            Self::Int(number) => serde_json::to_writer(out, number),
            Self::Text(text) => serde_json::to_writer(out, &**text),
        };
    }
}

impl From<RunIdRef<'_>> for RunId {
    fn from(id: RunIdRef<'_>) -> Self {
        match id {
            RunIdRef::Int(number) => Self::Int(number),
            RunIdRef::Text(text) => Self::Text(Arc::from(text)),
        }
    }
}

impl From<i64> for RunId {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i64> for RunIdRef<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

// An id and its borrowed form must have the same hash; a number and a text may collide.
impl Hash for RunIdRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Int(number) => number.hash(state),
            Self::Text(text) => text.hash(state),
        }
    }
}

impl Hash for RunId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl Equivalent<RunId> for RunIdRef<'_> {
    fn equivalent(&self, id: &RunId) -> bool {
        *self == id.as_ref()
    }
}

impl fmt::Display for RunIdRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

/// The number of an event in its run: 1, 2, 3 … without holes; 0 is the position before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first event.
    pub const ZERO: Self = Self(0);
    /// The first event.
    pub const FIRST: Self = Self(1);

    /// The seq after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The seq before this one; 0 for the first.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// The seq `count` after this one.
    #[must_use]
    pub fn plus(self, count: usize) -> Self {
        Self(self.0.saturating_add(count as u64))
    }

    /// The number of seqs by which this one is after `earlier`; 0 if it is not.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies one life of a run id: when it began, in milliseconds since 1970, adjusted to be unique and increasing
/// within a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of an event: the SSE field `id:`, which clients send back as `Last-Event-ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The life of the run.
    pub fence: Fence,
    /// The event's number in it.
    pub seq: Seq,
}

impl EventId {
    /// Maximum length of an event id as text, in bytes.
    pub const MAX_LEN: usize = 41;

    /// Write the id to `buffer`, which must be empty, and return the text.
    #[inline]
    pub fn encode(self, buffer: &mut ArrayString<{ Self::MAX_LEN }>) -> &str {
        // The buffer has room for the longest id.
        let _ = buffer.try_push_str(itoa::Buffer::new().format(self.fence.0));
        let _ = buffer.try_push('-');
        let _ = buffer.try_push_str(itoa::Buffer::new().format(self.seq.0));
        buffer
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut ArrayString::new()))
    }
}

/// The text is not an event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let number = |digits: &str| {
            // `u64::from_str` accepts a leading plus sign, which no id has.
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain).ok_or(NotAnEventId)
        };
        let (fence, seq) = text.split_once('-').ok_or(NotAnEventId)?;
        Ok(Self { fence: Fence(number(fence)?), seq: Seq(number(seq)?) })
    }
}
