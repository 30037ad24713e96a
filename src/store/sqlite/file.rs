//! The file of a store: how it is found, recognised, opened and migrated.
//!
//! # Traps
//!
//! - Closing any descriptor of a file drops all POSIX locks of the process on it (sqlite.org/howtocorrupt.html, 2.2).
//!   So only SQLite opens the file here, and a file that something else in the process has open is refused: two
//!   libraries on one file would drop each other's locks, and corrupt it.
//! - If the file is deleted but its `-wal` and `-shm` remain, processes that still use these share them with the
//!   process that creates a new file. So they are removed before a new file is created, by one process at a time. If
//!   another file is renamed over the store, they would be taken for that file's, and corrupt it: a process that had
//!   the old file open recognises them, and removes them.
//! - The last connection to close would delete `-wal` by name, which may belong to another file by then. So closing
//!   leaves it alone, which also makes closing cheap.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::host::owner::OwnerLock;
use crate::store::record::ResultKind;
use crate::store::store::{Error, Result};

/// How long SQLite waits for another process's write before the engine retries.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);
/// How long opening waits for another process that is opening the same file.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// `application_id` of a store: "ggrs".
const APPLICATION_ID: i32 = 0x6767_7273;
/// Each migrates the schema to the next version.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
/// Bytes of `-wal` that remain after a checkpoint.
const WAL_KEPT: i64 = 16 << 20;

/// An open store and its files.
pub struct Opened {
    /// The connection.
    pub connection: Connection,
    /// Its files.
    pub files: Files,
}

/// Identifies the files of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// The database, by device and inode.
    pub database: (u64, u64),
    /// The files next to it, in the order of [`BESIDE`].
    beside: [Option<Beside>; 2],
}

/// A file by device, inode and time of creation, because the inode of a deleted file may be reused.
type Beside = (u64, u64, Option<SystemTime>);

/// Suffixes of the files that SQLite keeps next to a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// A path next to the store.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Device and inode of the file at a path.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn identity_beside(path: &Path, suffix: &str) -> Option<Beside> {
    fs::metadata(beside(path, suffix)).ok().map(|found| (found.dev(), found.ino(), found.created().ok()))
}

/// Convert an error of SQLite to one of a store.
pub fn failure(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy,
        _ => Error::Failed(format!("{}: {error}", path.display())),
    }
}

/// Open a store, creating it if there is none. `last` are its files as they were when it was last open.
///
/// # Errors
///
/// [`Error::Refused`] for a file that is not a store or has a newer version; [`Error::Failed`] for one that cannot be
/// opened or written.
pub fn open(path: &Path, last: Option<Files>) -> Result<Opened> {
    if path.is_dir() {
        return Err(Error::Refused(format!("{} is a folder; a store is a file", path.display())));
    }
    let _lock = lock(path)?;
    let found = identity(path);
    for (number, suffix) in BESIDE.iter().enumerate() {
        let is_of_another = last.is_some_and(|last| {
            let old = last.beside.get(number).copied().flatten();
            Some(last.database) != found && old == identity_beside(path, suffix)
        });
        if found.is_none() || is_of_another {
            // If this fails, SQLite will complain.
            let _ = fs::remove_file(beside(path, suffix));
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let deadline = Instant::now() + OPEN_TIMEOUT;
    loop {
        let connection = Connection::open_with_flags(path, flags).map_err(|error| failure(path, &error))?;
        match prepare(path, connection) {
            Err(Error::Busy) if Instant::now() < deadline => {}
            connection => {
                let database = identity(path).ok_or_else(|| Error::Lost(path.display().to_string()))?;
                let files = Files { database, beside: BESIDE.map(|suffix| identity_beside(path, suffix)) };
                return Ok(Opened { connection: connection?, files });
            }
        }
    }
}

/// Keep other processes from opening the store for as long as the guard lives.
fn lock(path: &Path) -> Result<impl Drop> {
    struct Held(OwnerLock);
    impl Drop for Held {
        fn drop(&mut self) {
            // If the file remains, the next process takes it over.
            let _ = self.0.remove();
        }
    }
    let deadline = Instant::now() + OPEN_TIMEOUT;
    let file = beside(path, "-open.lock");
    loop {
        match OwnerLock::acquire(&file) {
            Ok(Some(lock)) => return Ok(Held(lock)),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => return Err(Error::Failed(format!("{} is being opened by another process", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Refused(format!(
                    "the folder of {} does not exist; create it first",
                    path.display()
                )));
            }
            Err(error) => {
                return Err(Error::Failed(format!("{} cannot be opened: {}: {error}", path.display(), file.display())));
            }
        }
    }
}

/// Refuse a file that this process already has open, as far as the system can tell.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn refuse_if_open(path: &Path) -> Result<()> {
    let folder = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let (Some(file), Ok(descriptors)) = (identity(path), fs::read_dir(folder)) else { return Ok(()) };
    if descriptors.flatten().any(|descriptor| identity(&descriptor.path()) == Some(file)) {
        return Err(Error::Refused(format!(
            "{} is open elsewhere in this process, perhaps in Python's sqlite3, and the two would corrupt it; \
             give the store a file of its own",
            path.display()
        )));
    }
    Ok(())
}

fn prepare(path: &Path, mut connection: Connection) -> Result<Connection> {
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            Error::Refused(format!("{} is not a database; a store needs a file of its own", path.display()))
        }
        _ => failure(path, &error),
    };
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Before anything else, so that closing another program's file leaves it as it was.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    let is_new = recognise(path, &connection, failed)?;
    if connection.is_readonly("main").map_err(failed)? {
        return Err(Error::Failed(format!("{} cannot be written; make it writable for this process", path.display())));
    }
    if is_new {
        // Takes effect only before the first table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(failed)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(Error::Refused(format!(
            "the file system of {} does not support shared memory, which the store needs; use a local one",
            path.display()
        )));
    }
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT).map_err(failed)?;
    migrate(&mut connection).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Check that the file is a store of a known version. Returns whether it is a new file.
fn recognise(path: &Path, connection: &Connection, failed: impl Fn(rusqlite::Error) -> Error) -> Result<bool> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = number("user_version").map_err(&failed)?;
    let application = number("application_id").map_err(&failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&failed)?;
    let is_new = application == 0 && version == 0 && tables == 0;
    if application != APPLICATION_ID && !is_new {
        return Err(Error::Refused(format!(
            "{} is another program's database; give the store a file of its own",
            path.display()
        )));
    }
    if usize::try_from(version).is_ok_and(|version| version > MIGRATIONS.len()) {
        return Err(Error::Refused(format!(
            "{} was written by a newer version of genglossary-runs (schema {version}; this one knows {}); \
             install that version, or give the store another file",
            path.display(),
            MIGRATIONS.len()
        )));
    }
    Ok(is_new)
}

fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let version =
        |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
    if usize::try_from(version(connection)?).is_ok_and(|version| version == MIGRATIONS.len()) {
        return Ok(());
    }
    connection.create_scalar_function("result_kind", 1, FunctionFlags::SQLITE_DETERMINISTIC, |context| {
        Ok(context.get_raw(0).as_str().ok().and_then(ResultKind::of_json).map(ResultKind::word))
    })?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    let done = usize::try_from(version(&change)?).unwrap_or(0);
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        change.execute_batch(sql)?;
        change.pragma_update(None, "user_version", i32::try_from(step + 1).unwrap_or(i32::MAX))?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.commit()
}
