//! Who owns a project on this host: a file lock that the operating system releases when its process ends.
//!
//! The owner holds the lock exclusively. Who only wants to know whether there is an owner, and to clear up after one that
//! has died, holds it shared, so that no owner can come meanwhile. An owner that is done removes the file; what a dead
//! owner wrote into it stays, and says whose death it was.
//!
//! # Removal
//!
//! The file is removed only by who holds it exclusively. A lock counts only if the path still leads to the locked file:
//! somebody may have opened the file before it was removed, and lock it after.
//!
//! # Fork
//!
//! A forked child shares its parent's locks until it closes the file, so it does that at once
//! ([`close_in_child`]). It can close only what it knows of: no thread may fork while another is between opening a file
//! and noting it in `HELD`. In Python the GIL sees to that, or without it the world that is stopped for a fork. `exec`
//! closes the files, too. A child made behind Python's back, by `fork` without `exec`, keeps the lock until it ends.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::sync::Mutex;

/// How often a file may be removed, by an owner that is done, between its opening and its locking.
const TRIES: u32 = 1000;

/// The locked files of this process, by the token of their [`OwnerLock`]; a child forgets those of its parent.
static HELD: Mutex<Option<HashMap<u64, File>>> = Mutex::new(None);

/// A lock on a file, held until it is released or dropped.
#[derive(Debug)]
pub struct OwnerLock {
    path: PathBuf,
    token: u64,
    found: String,
}

impl OwnerLock {
    /// Become the owner; `None` if there is one, or if somebody looks after one that has died. Makes the file if there is
    /// none, and takes one that it may only read.
    ///
    /// # Errors
    ///
    /// The file cannot be made, or its file system knows no locks, or does not tell one file from another.
    pub fn acquire(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let file = match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
                // Another user's can be locked all the same, and who only looks would find it locked.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(path).map_err(|_| error)?,
                file => file?,
            };
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => return Self::hold(path, file).map(Some),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("its path leads to another file each time"))
    }

    /// Keep owners out while looking after one that has died; `None` if there is an owner, or no file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or its file system knows no locks.
    pub fn look(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match file.try_lock_shared() {
            Ok(()) if is_at(&file, path) => Self::hold(path, file).map(Some),
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn hold(path: &Path, mut file: File) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        let token = NEXT.fetch_add(1, Ordering::Relaxed);
        HELD.lock().get_or_insert_default().insert(token, file);
        Ok(Self { path: path.to_owned(), token, found: String::from_utf8_lossy(&found).into_owned() })
    }

    /// What the file said when it was locked: the words of an owner that died, or nothing.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Write who owns it, for people and for who comes after; [`sync`](Self::sync) makes it outlive the host.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or this is not the process that locked it.
    pub fn describe(&self, words: &str) -> io::Result<()> {
        let mut held = HELD.lock();
        let mut file = held.as_mut().and_then(|held| held.get(&self.token)).ok_or(io::ErrorKind::NotFound)?;
        // One write over the old words, with spaces for what it does not cover, and only then a cut: if this fails, or
        // the process ends, the file still says the one or the other.
        let mut line = words.as_bytes().to_vec();
        let old_len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        line.resize(old_len.max(words.len()), b' ');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&line)?;
        file.set_len(words.len() as u64)
    }

    /// Wait until the words are on the disk.
    ///
    /// # Errors
    ///
    /// The file is gone, or the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        // Opened anew, without a lock: a process forked meanwhile inherits nothing that matters.
        File::open(&self.path)?.sync_all()
    }

    /// Let go and leave the file, with its words. May be repeated; does nothing in a forked child.
    pub fn release(&self) {
        let file = self.take();
        drop(file);
    }

    /// Remove the file and let go. Only for an owner; does nothing once released, or in a forked child.
    ///
    /// # Errors
    ///
    /// The file cannot be removed; it has been let go all the same.
    pub fn remove(&self) -> io::Result<()> {
        match self.take() {
            // Removed while it is locked: who has it open by now finds that the path leads elsewhere.
            Some(file) if is_at(&file, &self.path) => fs::remove_file(&self.path),
            _ => Ok(()),
        }
    }

    fn take(&self) -> Option<File> {
        HELD.lock().as_mut().and_then(|held| held.remove(&self.token))
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether `path` leads to this very file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(found)) => (locked.dev(), locked.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Close what the parent has locked, without unlocking it. To be called in the child of each fork.
pub fn close_in_child() {
    // Another thread of the parent may have held this lock at the fork; then the child keeps the files until it ends.
    if let Some(mut held) = HELD.try_lock() {
        *held = None;
    }
}
