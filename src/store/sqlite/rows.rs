//! The rows of a store: records and events as SQLite columns.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};
use serde::Serialize;

use crate::core::{EventName, Fence, Payload, RunId, RunIdRef, Seq};
use crate::store::record::{Record, ResultKind, Status, now};
use crate::store::store::{Append, Fate};

/// Adds an event, unless it exists.
pub const INSERT_EVENT: &str = "INSERT OR IGNORE INTO events (fence, seq, name, json) VALUES (?1, ?2, ?3, ?4)";
/// Selects records.
pub const RECORD: &str =
    "SELECT fence, run_id, key, name, status, owner, started, finished, error, result_kind, last, end_fence FROM runs ";

/// A fence larger than all before it: the time, or the last fence plus one if the clock has not advanced.
pub fn next_fence(tx: &Transaction<'_>) -> rusqlite::Result<u64> {
    tx.prepare_cached("UPDATE clock SET last_fence = max(last_fence + 1, ?1) RETURNING last_fence")?
        .query_row([now()], |row| row.get(0))
}

/// An event from its two columns.
pub fn payload(name: ValueRef<'_>, json: ValueRef<'_>) -> rusqlite::Result<Payload> {
    let name = name.as_str_or_null()?.and_then(|name| EventName::try_from(name).ok());
    Ok(Payload::new(name, json.as_bytes()?))
}

/// A run id in a column.
pub struct StoredId(pub RunId);

impl ToSql for StoredId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match &self.0 {
            RunId::Int(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            RunId::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl FromSql for StoredId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(number) => Ok(Self(RunId::Int(number))),
            ValueRef::Text(_) => value.as_str().map(|text| Self(RunId::from(RunIdRef::Text(text)))),
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

/// A number as a SQLite integer. A larger one, which no row can have, becomes the maximum.
pub fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// UTF-8 bytes, stored as text.
pub struct Text<'a>(pub &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// Values for `json_each`.
pub fn json_list<T: Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_else(|_| "[]".to_owned())
}

/// A record from the columns of [`RECORD`].
pub fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let StoredId(run_id) = row.get("run_id")?;
    Ok(Record {
        run_id,
        fence: Fence(row.get("fence")?),
        key: row.get("key")?,
        name: row.get("name")?,
        status: Status::of_word(row.get("status")?),
        owner: row.get("owner")?,
        started: row.get("started")?,
        finished: row.get("finished")?,
        error: row.get("error")?,
        result_kind: row.get_ref("result_kind")?.as_str_or_null()?.and_then(ResultKind::of_word),
        last: Seq(row.get("last")?),
        end_fence: row.get::<_, Option<u64>>("end_fence")?.map(Fence),
    })
}

/// The first record that satisfies a condition with one parameter.
pub fn find_record(
    connection: &Connection,
    condition: &str,
    parameter: impl ToSql,
) -> rusqlite::Result<Option<Record>> {
    connection.prepare_cached(&format!("{RECORD} WHERE {condition}"))?.query_row([parameter], record).optional()
}

/// Store the events of one run.
pub fn append_run(tx: &Transaction<'_>, owner: &str, run: &Append) -> rusqlite::Result<Fate> {
    let known = tx
        .prepare_cached("UPDATE runs SET last = max(last, ?2) WHERE fence = ?1 AND owner = ?3 AND status = 'running'")?
        .execute(params![run.fence.0, run.last.0, owner])?;
    if known == 0 {
        let found = find_record(tx, "fence = ?1", run.fence.0)?;
        return Ok(match found {
            None => Fate::Unknown,
            // A retry of a write whose answer was lost.
            Some(record) if record.owner == owner && record.end_fence.is_none() && run.end.is_some() => Fate::Stored,
            Some(_) => Fate::Refused,
        });
    }
    let mut insert = tx.prepare_cached(INSERT_EVENT)?;
    for event in &run.events {
        insert.execute(params![run.fence.0, event.seq.0, event.payload.name(), Text(event.payload.json())])?;
    }
    if let Some(end) = &run.end {
        let kind = end.result.as_ref().map(|result| result.kind.word());
        tx.prepare_cached("UPDATE runs SET status = ?2, error = ?3, result_kind = ?4, finished = ?5 WHERE fence = ?1")?
            .execute(params![run.fence.0, end.status, end.error, kind, end.finished])?;
        if let Some(result) = &end.result {
            tx.prepare_cached("INSERT OR REPLACE INTO results (fence, json) VALUES (?1, ?2)")?
                .execute(params![run.fence.0, result.json])?;
        }
    }
    Ok(Fate::Stored)
}

/// Add a record, unless it exists.
pub fn insert_record(tx: &Transaction<'_>, record: &Record) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT OR IGNORE INTO runs (fence, run_id, key, name, status, owner, started, last) \
         VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6, ?7)",
    )?
    .execute(params![
        record.fence.0,
        StoredId(record.run_id.clone()),
        record.key,
        record.name,
        record.owner,
        record.started,
        record.last.0
    ])?;
    Ok(())
}
