//! What a store knows of a run besides its events.

use std::fmt;
use std::time::SystemTime;

use serde::de::IgnoredAny;

use crate::core::{Fence, Payload, RunId, Seq};

/// The error of a run whose process died.
pub const INTERRUPTED: &str = "Interrupted: the process that ran it ended";

/// One life of a run id, as recorded in a store. Times are milliseconds since 1970 (UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The run's id.
    pub run_id: RunId,
    /// Identifies this life of the id, uniquely in the store.
    pub fence: Fence,
    /// At most one run with this key is active.
    pub key: Option<String>,
    /// What people call the run.
    pub name: Option<String>,
    /// `running`, or how it ended.
    pub status: Status,
    /// The process that executes it.
    pub owner: String,
    /// When it was opened.
    pub started: u64,
    /// When it ended.
    pub finished: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// The kind of its result, if it has one. The result itself may be large; only [`Store::results`] reads it.
    ///
    /// [`Store::results`]: super::Store::results
    pub result_kind: Option<ResultKind>,
    /// The newest event stored; 0 if there is none.
    pub last: Seq,
    /// The fence in the id of its terminal event, if it is not the run's own.
    pub end_fence: Option<Fence>,
}

impl Record {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.status == Status::Running
    }

    /// A terminal event made from the record.
    pub fn as_event(&self) -> Vec<u8> {
        let mut event = serde_json::Map::new();
        event.insert("complete".to_owned(), true.into());
        event.insert("status".to_owned(), self.status.word().into());
        if let Some(error) = &self.error {
            event.insert("error".to_owned(), error.as_str().into());
        }
        let mut json = br#"{"run_id":"#.to_vec();
        self.run_id.write_json(&mut json);
        let rest = serde_json::Value::Object(event).to_string();
        json.push(b',');
        json.extend_from_slice(rest.strip_prefix('{').unwrap_or("}").as_bytes());
        json
    }
}

/// Whether a run is running, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It has not ended.
    Running,
    /// It has ended. The word is the application's: `completed`, `failed`, `cancelled`, or another.
    Ended(String),
}

impl Status {
    /// Parse the word in a store.
    pub fn of_word(word: String) -> Self {
        if word == "running" { Self::Running } else { Self::Ended(word) }
    }

    /// The word in a store.
    pub fn word(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Ended(word) => word,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A record, with its result as JSON if that was requested.
pub type Found = (Record, Option<String>);

/// How to display a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultKind {
    /// As text.
    Text,
    /// As a link: the text is the URL of a page.
    Link,
    /// As JSON: anything else.
    Json,
}

impl ResultKind {
    /// The kind of a text: a link if it begins with `http://` or `https://` and has no spaces.
    pub fn of_text(text: &str) -> Self {
        let rest = ["http://", "https://"].iter().find_map(|scheme| {
            let (head, rest) = text.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        let is_part = |letter: char| letter > ' ' && !letter.is_whitespace();
        if rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(is_part)) { Self::Link } else { Self::Text }
    }

    /// The kind of a result given as JSON; `None` for `null` and invalid JSON.
    pub fn of_json(json: &str) -> Option<Self> {
        match json.trim_start().as_bytes().first()? {
            b'"' => serde_json::from_str::<String>(json).ok().map(|text| Self::of_text(&text)),
            b'n' => None,
            _ => serde_json::from_str::<IgnoredAny>(json).ok().map(|_| Self::Json),
        }
    }

    /// Parse the word in a store.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Text, Self::Link, Self::Json].into_iter().find(|kind| kind.word() == word)
    }

    /// The word in a store.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Link => "link",
            Self::Json => "json",
        }
    }
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// Its kind.
    pub kind: ResultKind,
    /// The result as JSON.
    pub json: String,
}

impl RunResult {
    /// The result given as this JSON; `None` for `null` and invalid JSON.
    pub fn of_json(json: String) -> Option<Self> {
        Some(Self { kind: ResultKind::of_json(&json)?, json })
    }
}

/// How a run ended, for its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A word other than `running`.
    pub status: String,
    /// Why it failed.
    pub error: Option<String>,
    /// What it returned.
    pub result: Option<RunResult>,
    /// When, in milliseconds since 1970.
    pub finished: u64,
}

impl Outcome {
    /// The outcome described by a terminal event: its `status` or `db_status`, and its `error`.
    pub fn of_event(json: &[u8]) -> Self {
        let event: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let text = |name| event.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        let status = text("status").or_else(|| text("db_status")).filter(|word| !word.is_empty() && word != "running");
        Self {
            status: status.unwrap_or_else(|| "finished".to_owned()),
            error: text("error"),
            result: None,
            finished: now(),
        }
    }

    /// The outcome of a run whose process died.
    pub fn interrupted() -> Self {
        Self { status: "failed".to_owned(), error: Some(INTERRUPTED.to_owned()), result: None, finished: now() }
    }
}

/// The terminal event of a run whose process died.
pub fn interrupted_event(run_id: &RunId) -> Payload {
    let (head, tail) = interrupted_parts();
    let mut json = head.as_bytes().to_vec();
    run_id.write_json(&mut json);
    json.extend_from_slice(tail.as_bytes());
    Payload::new(None, &json)
}

/// The parts of that event before and after the run's id.
pub fn interrupted_parts() -> (&'static str, String) {
    (r#"{"run_id":"#, format!(r#","complete":true,"status":"failed","error":"{INTERRUPTED}"}}"#))
}

/// Milliseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
