//! A store for the processes of one host: a SQLite file.
//!
//! Only this module opens the file ([`file`]). Owners hold locks on files next to it ([`owners`]); [`rows`] maps
//! records and events to its tables.

mod file;
mod owners;
mod retention;
mod rows;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, named_params, params};

pub use self::file::refuse_if_open;
use self::owners::Owner;
use self::rows::{
    INSERT_EVENT, RECORD, StoredId, Text, append_run, find_record, insert_record, integer, json_list, next_fence,
    payload, record,
};
use super::Outcome;
use super::record::{Record, Status, interrupted_event, now};
use super::store::{
    Append, Begun, COUNTED_IDS, Command, Error, Fate, Limits, NewRun, News, PAGE, PAGE_BYTES, Progress, Query, Result,
    Source, Store, StoredEvent, Usage, Wake,
};
use crate::core::{Fence, RunId, Seq};

/// A poll takes about 10 µs, and other processes write every 4 ms at most.
const EAGER_POLL: Duration = Duration::from_millis(2);

/// A SQLite file that keeps runs.
pub struct SqliteStore {
    path: PathBuf,
    limits: Limits,
    connection: Connection,
    files: file::Files,
    owner: Arc<Owner>,
    data_version: i64,
}

/// The file of a store, for the engine.
pub struct SqliteFile {
    path: PathBuf,
    limits: Limits,
    owner: Arc<Owner>,
    is_alone: bool,
    /// The files as they were when the store was last open.
    last: Cell<Option<file::Files>>,
}

impl SqliteFile {
    /// The store at `path`.
    pub fn new(path: &Path, limits: Limits) -> Self {
        Self {
            path: path.to_owned(),
            limits,
            owner: Arc::new(Owner::new(path)),
            is_alone: false,
            last: Cell::new(None),
        }
    }

    /// The store at `path`. Opening it fails if anything in this process has it open ([`refuse_if_open`]).
    pub fn alone(path: &Path, limits: Limits) -> Self {
        Self { is_alone: true, ..Self::new(path, limits) }
    }

    /// Check that it can be opened.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteStore::open`].
    pub fn check(&self) -> Result<()> {
        self.open().map(drop)
    }

    fn open(&self) -> Result<SqliteStore> {
        if self.is_alone {
            refuse_if_open(&self.path)?;
        }
        let store = SqliteStore::open_as(&self.path, self.limits, self.owner.clone(), self.last.get())?;
        self.last.set(Some(store.files));
        Ok(store)
    }
}

impl Source for SqliteFile {
    fn connect(&self, _wake: &Wake) -> Result<Box<dyn Store>> {
        Ok(Box::new(self.open()?))
    }

    fn owner(&self) -> String {
        self.owner.name().to_owned()
    }
}

impl SqliteStore {
    /// Open the store at `path`, creating it if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a file that is not a store or has a newer version; [`Error::Failed`] for one that cannot
    /// be opened or written.
    ///
    /// Nothing but this module may have the file open in this process ([`refuse_if_open`]).
    pub fn open(path: &Path, limits: Limits) -> Result<Self> {
        Self::open_as(path, limits, Arc::new(Owner::new(path)), None)
    }

    fn open_as(path: &Path, limits: Limits, owner: Arc<Owner>, last: Option<file::Files>) -> Result<Self> {
        let file::Opened { connection, files } = file::open(path, last)?;
        Ok(Self { path: path.to_owned(), limits, connection, files, owner, data_version: 0 })
    }

    /// The name of this process as an owner of runs.
    pub fn owner(&self) -> &str {
        self.owner.name()
    }

    /// The record of this life of a run.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn record(&self, fence: Fence) -> Result<Option<Record>> {
        self.query(|db| find_record(db, "fence = ?1", fence.0))
    }

    fn check_identity(&self) -> Result<()> {
        if file::identity(&self.path) == Some(self.files.database) {
            return Ok(());
        }
        Err(Error::Lost(self.path.display().to_string()))
    }

    fn query<T>(&self, ask: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        ask(&self.connection).map_err(|error| file::failure(&self.path, &error))
    }

    fn change<T>(&mut self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let all = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        all().map_err(|error| file::failure(&self.path, &error))
    }

    /// End the runs that a dead owner has left running.
    fn end_runs(&mut self, owner: &str) -> Result<usize> {
        self.change(|tx| {
            let mut left = tx.prepare_cached("SELECT fence, run_id, last FROM runs WHERE owner = ?1 AND status = 'running'")?;
            let left: Vec<(u64, StoredId, u64)> =
                left.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<rusqlite::Result<_>>()?;
            for (fence, StoredId(run_id), last) in &left {
                // The dead owner may have assigned the next seq to an event that it never stored. A separate fence
                // keeps the two ids apart.
                let end_fence = next_fence(tx)?;
                let Outcome { status, error, finished, .. } = Outcome::interrupted();
                let event = interrupted_event(run_id);
                tx.prepare_cached(INSERT_EVENT)?.execute(params![fence, last + 1, None::<&str>, Text(event.json())])?;
                tx.prepare_cached(
                    "UPDATE runs SET status = ?2, error = ?3, finished = ?4, last = ?5, end_fence = ?6 WHERE fence = ?1",
                )?
                .execute(params![fence, status, error, finished, last + 1, end_fence])?;
            }
            Ok(left.len())
        })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let owner = self.owner.name();
        let running = "SELECT EXISTS (SELECT 1 FROM runs WHERE owner = ?1 AND status = 'running')";
        // While a record names the lock file, it stays, so that others find it unlocked.
        if Arc::strong_count(&self.owner) == 1
            && self.connection.query_row(running, [owner], |row| row.get(0)) == Ok(false)
        {
            self.owner.leave();
        }
    }
}

impl Store for SqliteStore {
    fn begin(&mut self, run: &NewRun) -> Result<Begun> {
        self.check_identity()?;
        let owner = self.owner.claim()?.to_owned();
        self.change(|tx| {
            let run_id = match &run.run_id {
                Some(run_id) => run_id.clone(),
                None => {
                    // An older version may have left an id from which counting must not continue.
                    let sql = "UPDATE clock SET last_run_id = max(iif(last_run_id < ?2, last_run_id + 1, 0), ?1) \
                               RETURNING last_run_id";
                    RunId::Int(tx.prepare_cached(sql)?.query_row(params![now(), COUNTED_IDS], |row| row.get(0))?)
                }
            };
            if let Some(active) = find_record(tx, "run_id = ?1 AND status = 'running'", StoredId(run_id.clone()))? {
                return Ok(Begun::RunActive(active));
            }
            if let Some(key) = &run.key
                && let Some(active) = find_record(tx, "key = ?1 AND status = 'running'", key)?
            {
                return Ok(Begun::KeyActive(active));
            }
            if let RunId::Int(number) = run_id
                && number < COUNTED_IDS
            {
                tx.prepare_cached("UPDATE clock SET last_run_id = ?1 WHERE last_run_id < ?1")?.execute([number])?;
            }
            tx.prepare_cached("UPDATE runs SET superseded = 1 WHERE run_id = ?1")?
                .execute([StoredId(run_id.clone())])?;
            let record = Record {
                run_id,
                fence: Fence(next_fence(tx)?),
                key: run.key.clone(),
                name: run.name.clone(),
                status: Status::Running,
                owner,
                started: now(),
                finished: None,
                error: None,
                result_kind: None,
                last: Seq::ZERO,
                end_fence: None,
            };
            insert_record(tx, &record)?;
            Ok(Begun::Started(record))
        })
    }

    fn restore(&mut self, record: &Record) -> Result<bool> {
        let owner = self.owner.claim()?.to_owned();
        self.change(|tx| {
            insert_record(tx, &Record { owner, ..record.clone() })?;
            tx.prepare_cached("UPDATE clock SET last_fence = ?1 WHERE last_fence < ?1")?.execute([record.fence.0])?;
            // Another running run may have its id or key.
            Ok(find_record(tx, "fence = ?1", record.fence.0)?.is_some())
        })
    }

    fn append(&mut self, runs: &[Append]) -> Result<Vec<Fate>> {
        let owner = self.owner.name().to_owned();
        let fates = self.change(|tx| runs.iter().map(|run| append_run(tx, &owner, run)).collect())?;
        // Checked afterwards: what was written to a deleted file must be written again.
        self.check_identity()?;
        Ok(fates)
    }

    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>> {
        self.query(|db| find_record(db, "run_id = ?1 ORDER BY fence DESC LIMIT 1", StoredId(run_id.clone())))
    }

    fn list(&mut self, query: &Query) -> Result<Vec<Record>> {
        let sql = format!(
            "{RECORD} WHERE superseded = 0 AND (:key IS NULL OR key = :key) \
             AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses))) \
             AND (:text IS NULL OR instr(lower(run_id), lower(:text)) OR instr(lower(key), lower(:text)) \
                  OR instr(lower(name), lower(:text)) OR instr(lower(error), lower(:text)) \
                  OR fence IN (SELECT value FROM json_each(:also))) \
             AND (:before IS NULL OR fence < :before) ORDER BY fence DESC LIMIT :limit"
        );
        let also: Vec<u64> = query.also.iter().map(|fence| fence.0).collect();
        self.query(|db| {
            let mut select = db.prepare_cached(&sql)?;
            let limit = integer(query.limit as u64);
            let wanted = named_params! {
                ":key": query.key, ":statuses": json_list(&query.statuses), ":text": query.text,
                ":also": json_list(&also), ":before": query.before.map(|fence| integer(fence.0)), ":limit": limit,
            };
            select.query_map(wanted, record)?.collect()
        })
    }

    fn results(&mut self, fences: &[Fence]) -> Result<Vec<Option<String>>> {
        self.query(|db| {
            let mut select = db.prepare_cached("SELECT json FROM results WHERE fence = ?1")?;
            fences.iter().map(|fence| select.query_row([fence.0], |row| row.get(0)).optional()).collect()
        })
    }

    fn read(&mut self, fence: Fence, from: Seq, events: usize, bytes: usize) -> Result<Vec<StoredEvent>> {
        self.query(|db| {
            let mut select = db.prepare_cached(
                "SELECT seq, name, json FROM events WHERE fence = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let limit = integer(events as u64);
            let mut rows = select.query(params![integer(fence.0), integer(from.0), limit])?;
            let (mut found, mut size) = (Vec::new(), 0);
            while size < bytes
                && let Some(row) = rows.next()?
            {
                let payload = payload(row.get_ref(1)?, row.get_ref(2)?)?;
                size += payload.encoded_len();
                found.push(StoredEvent { seq: Seq(row.get(0)?), payload });
            }
            Ok(found)
        })
    }

    fn news(&mut self) -> Result<News> {
        self.check_identity()?;
        let version: i64 =
            self.query(|db| db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0)))?;
        let has_changed = std::mem::replace(&mut self.data_version, version) != version;
        Ok(if has_changed { News::anything() } else { News::nothing() })
    }

    fn follow(&mut self, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        let mut found = Vec::with_capacity(runs.len());
        for (fence, from) in runs {
            let Some(record) = self.record(*fence)? else {
                found.push(Progress::Missing);
                continue;
            };
            let events = if record.last < *from { Vec::new() } else { self.read(*fence, *from, PAGE, PAGE_BYTES)? };
            found.push(match record.is_running() {
                true => Progress::Running(record.last, events),
                false => Progress::Ended(record, events),
            });
        }
        Ok(found)
    }

    fn eager_poll(&self) -> Option<Duration> {
        Some(EAGER_POLL)
    }

    fn send(&mut self, fence: Fence, command: &Command) -> Result<u64> {
        let (kind, name, json) = match command {
            Command::Cancel => ("cancel", None, None),
            Command::Publish(payload) => ("publish", payload.name(), Some(Text(payload.json()))),
            Command::Finish(payload) => ("finish", None, Some(Text(payload.json()))),
        };
        self.change(|tx| {
            tx.prepare_cached(
                "INSERT INTO commands (fence, sent, kind, name, json, replied) VALUES (?1, ?2, ?3, ?4, ?5, \
                 NOT EXISTS (SELECT 1 FROM runs WHERE fence = ?1 AND status = 'running')) RETURNING number",
            )?
            .query_row(params![fence.0, now(), kind, name, json], |row| row.get(0))
        })
    }

    fn commands(&mut self) -> Result<Vec<(u64, Fence, Command)>> {
        self.query(|db| {
            // Includes runs that their owner has just ended, so that the senders get a reply.
            let mut select = db.prepare_cached(
                "SELECT c.number, c.fence, c.kind, c.name, c.json FROM commands c JOIN runs r ON r.fence = c.fence \
                 WHERE r.owner = ?1 AND r.end_fence IS NULL AND NOT c.replied ORDER BY c.number",
            )?;
            let found = select.query_map([self.owner.name()], |row| {
                let event = || payload(row.get_ref(3)?, row.get_ref(4)?);
                let command = match row.get_ref(2)?.as_str()? {
                    "publish" => Command::Publish(event()?),
                    "finish" => Command::Finish(event()?),
                    _ => Command::Cancel,
                };
                Ok((row.get(0)?, Fence(row.get(1)?), command))
            })?;
            found.collect()
        })
    }

    fn reply(&mut self, number: u64, reply: Option<&str>) -> Result<()> {
        self.change(|tx| {
            match reply {
                Some(reply) => tx
                    .prepare_cached("UPDATE commands SET replied = 1, reply = ?2 WHERE number = ?1")?
                    .execute(params![number, reply])?,
                None => tx.prepare_cached("DELETE FROM commands WHERE number = ?1")?.execute([number])?,
            };
            Ok(())
        })
    }

    fn take_reply(&mut self, number: u64) -> Result<Option<String>> {
        let found: Option<Option<String>> = self.query(|db| {
            db.prepare_cached(
                "SELECT reply FROM commands c WHERE number = ?1 AND (replied OR NOT EXISTS \
                 (SELECT 1 FROM runs r WHERE r.fence = c.fence AND r.end_fence IS NULL))",
            )?
            .query_row([number], |row| row.get(0))
            .optional()
        })?;
        let Some(reply) = found else { return Ok(None) };
        self.reply(number, None)?;
        Ok(Some(reply.unwrap_or_default()))
    }

    fn reap(&mut self, fences: &[Fence], all: bool) -> Result<usize> {
        let owners: Vec<String> = self.query(|db| {
            let mut select =
                db.prepare_cached("SELECT DISTINCT owner, fence FROM runs WHERE status = 'running' AND owner <> ?1")?;
            let mut rows = select.query([self.owner.name()])?;
            let mut owners = Vec::new();
            while let Some(row) = rows.next()? {
                let (owner, fence): (String, u64) = (row.get(0)?, row.get(1)?);
                if (all || fences.contains(&Fence(fence))) && !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
            Ok(owners)
        })?;
        let mut ended = 0;
        for name in owners {
            if let Some(dead) = owners::find_dead(&self.path, &name) {
                ended += self.end_runs(&name)?;
                // If this fails, the next process that checks finds nothing to end.
                let _ = dead.remove();
            }
        }
        Ok(ended)
    }

    fn owns(&mut self, fence: Fence) -> Result<bool> {
        let owner = self.owner.name().to_owned();
        let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE fence = ?1 AND owner = ?2 AND status = 'running')";
        self.query(|db| db.prepare_cached(sql)?.query_row(params![fence.0, owner], |row| row.get(0)))
    }

    fn tidy(&mut self) -> Result<bool> {
        self.check_identity()?;
        self.owner.keep()?;
        let limits = self.limits;
        retention::evict(&mut self.connection, limits).map_err(|error| file::failure(&self.path, &error))
    }

    fn usage(&mut self) -> Result<Usage> {
        self.query(|db| {
            let runs =
                db.prepare_cached("SELECT count(*) FROM runs WHERE superseded = 0")?.query_row([], |row| row.get(0))?;
            Ok(Usage { runs, bytes: retention::used(db)? })
        })
    }
}
