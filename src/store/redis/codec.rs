//! The representation of records, events and commands in Redis.

use std::collections::HashMap;

use redis::{FromRedisValue, Value, from_redis_value};

use crate::core::{EventName, Fence, Payload, RunId, RunIdRef, Seq};
use crate::store::record::{Record, ResultKind, Status};
use crate::store::store::{Command, Error, Fate, Result, StoredEvent};

/// The fields of a record.
pub type Fields = HashMap<String, String>;
/// An entry of a stream: its id, and alternating field names and values.
pub type Entry = (String, Vec<Vec<u8>>);
/// New entries of a stream: its key, and the entries.
pub type Stream = (String, Vec<Entry>);

/// A run id as JSON, which distinguishes numbers from texts.
pub fn run_id(run_id: &RunId) -> Vec<u8> {
    let mut json = Vec::new();
    run_id.write_json(&mut json);
    json
}

fn parse_run_id(json: &str) -> Option<RunId> {
    match serde_json::from_str(json).ok()? {
        serde_json::Value::Number(number) => number.as_i64().map(RunId::from),
        serde_json::Value::String(text) => Some(RunId::from(RunIdRef::Text(&text))),
        _ => None,
    }
}

/// An optional value as two arguments: `1` and the value, or `0` and an empty text.
pub fn optional(value: Option<&str>) -> (u8, &str) {
    value.map_or((0, ""), |value| (1, value))
}

/// The record with these fields; `None` if they are incomplete.
pub fn record(fence: Fence, fields: &Fields) -> Option<Record> {
    let text = |name: &str| fields.get(name).cloned();
    let number = |name: &str| fields.get(name).and_then(|value| value.parse::<u64>().ok());
    Some(Record {
        run_id: parse_run_id(fields.get("run_id")?)?,
        fence,
        key: text("key"),
        name: text("name"),
        status: Status::of_word(text("status")?),
        owner: text("owner")?,
        started: number("started")?,
        finished: number("finished"),
        error: text("error"),
        result_kind: fields.get("result_kind").and_then(|word| ResultKind::of_word(word)),
        last: Seq(number("last")?),
        end_fence: number("end_fence").map(Fence),
    })
}

/// The error for a record that cannot be read.
pub fn damaged(fence: u64) -> Error {
    Error::Failed(format!("the record of run {fence} is damaged"))
}

fn parse<T: FromRedisValue>(value: Value) -> Result<T> {
    from_redis_value(value).map_err(|error| Error::Failed(error.to_string()))
}

/// The newest seq of a running run, from its entry in the server's hash of progress; `None` if that is unreadable.
pub fn last(state: &str) -> Option<Seq> {
    state.split(' ').next()?.parse().ok().map(Seq)
}

/// A page of records: the fence before which to continue, and the records.
pub fn page(values: Vec<Value>) -> Result<(String, Vec<Record>)> {
    let mut values = values.into_iter();
    let next = values.next().map(parse).transpose()?.unwrap_or_default();
    let mut records = Vec::new();
    while let (Some(fence), Some(fields)) = (values.next(), values.next()) {
        let (fence, fields): (u64, Fields) = (parse(fence)?, parse(fields)?);
        records.extend(record(Fence(fence), &fields));
    }
    Ok((next, records))
}

/// The fate of a run, from the word that append.lua returns.
pub fn fate(word: &str) -> Fate {
    match word {
        "stored" => Fate::Stored,
        "unknown" => Fate::Unknown,
        _ => Fate::Refused,
    }
}

/// An entry of a stream as an event.
pub fn event((id, fields): Entry) -> Option<StoredEvent> {
    let seq = id.split('-').nth(1)?.parse().ok()?;
    let (mut name, mut json) = (None, None);
    let mut fields = fields.iter();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        match field.as_slice() {
            b"name" => name = std::str::from_utf8(value).ok().and_then(|name| EventName::try_from(name).ok()),
            b"json" => json = Some(value),
            _ => {}
        }
    }
    Some(StoredEvent { seq: Seq(seq), payload: Payload::new(name, json?) })
}

/// A command as lines: its kind, the fence, a name, and JSON.
pub fn command(fence: Fence, command: &Command) -> Vec<u8> {
    let (what, payload) = match command {
        Command::Cancel => ("cancel", None),
        Command::Publish(payload) => ("publish", Some(payload)),
        Command::Finish(payload) => ("finish", Some(payload)),
    };
    let name = payload.and_then(Payload::name).unwrap_or("");
    let mut text = format!("{what}\n{fence}\n{name}\n").into_bytes();
    text.extend_from_slice(payload.map_or(&[], Payload::json));
    text
}

/// Parse what [`command`] wrote.
pub fn parse_command(text: &[u8]) -> Option<(Fence, Command)> {
    let mut parts = text.splitn(4, |byte| *byte == b'\n');
    let mut part = || parts.next().and_then(|part| std::str::from_utf8(part).ok());
    let (what, fence, name, json) = (part()?, part()?.parse().ok()?, part()?, part()?);
    let payload = || Payload::new(EventName::try_from(name).ok(), json.as_bytes());
    let command = match what {
        "publish" => Command::Publish(payload()),
        "finish" => Command::Finish(payload()),
        _ => Command::Cancel,
    };
    Some((Fence(fence), command))
}
