//! The owner of a project on this host: the process that holds a file lock, which the operating system releases when the
//! process ends.
//!
//! The owner holds the lock exclusively. A process that looks for an owner, or cleans up after a dead one, holds it
//! shared, so that nobody becomes the owner meanwhile. An owner that is done removes the file; the text of a dead owner
//! stays and tells which owner died.
//!
//! # Removal
//!
//! Only the owner removes the file. A lock counts only if the path still leads to the locked file: another process may
//! have opened the file before it was removed, and locked it afterwards.
//!
//! # Fork
//!
//! A forked child shares its parent's locks until it closes the files, so it closes them at once ([`close_in_child`]).
//! It can close only the files in `HELD`, so no thread may fork while another is between opening a file and adding it
//! there. Under Python, the GIL prevents that; without a GIL, CPython stops all threads for a fork. `exec` closes the
//! files, too. A child that is forked without Python and does not call `exec` keeps the lock until it ends.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::core::sync::Mutex;

/// How often the file may be removed between being opened and being locked.
const TRIES: u32 = 1000;

/// The locked files of this process, by the token of their [`OwnerLock`]. A child drops those of its parent.
static HELD: Mutex<Option<HashMap<u64, File>>> = Mutex::new(None);

/// A lock on a file, held until it is released or dropped.
#[derive(Debug)]
pub struct OwnerLock {
    path: PathBuf,
    token: u64,
    found: String,
}

impl OwnerLock {
    /// Become the owner. Returns `None` if there is one, or while another process cleans up after a dead one. Creates
    /// the file if there is none; read access is enough.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or its file system has no locks or does not tell files apart.
    pub fn acquire(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let file = match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path) {
                // Another user's file can be locked as well, and other processes find it locked.
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
        Err(io::Error::other("its path led to another file each time"))
    }

    /// Keep owners out while cleaning up after a dead one. Returns `None` if there is an owner or no file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or its file system has no locks.
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

    /// The text of the file when it was locked: what a dead owner wrote, or nothing.
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Write a description of the owner, for people and for the process that finds it dead. [`sync`](Self::sync) makes
    /// it survive a crash of the host.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or this is not the process that locked it.
    pub fn describe(&self, words: &str) -> io::Result<()> {
        let mut held = HELD.lock();
        let mut file = held.as_mut().and_then(|held| held.get(&self.token)).ok_or(io::ErrorKind::NotFound)?;
        // One write over the old text, padded with spaces, and only then a truncation: if this fails, or the process
        // ends, the file has one of the two texts.
        let mut line = words.as_bytes().to_vec();
        let old_len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        line.resize(old_len.max(words.len()), b' ');
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&line)?;
        file.set_len(words.len() as u64)
    }

    /// Wait until the text is on the disk.
    ///
    /// # Errors
    ///
    /// The file is gone, or the disk fails.
    pub fn sync(&self) -> io::Result<()> {
        // Opened again, without a lock: a process forked meanwhile inherits nothing that matters.
        File::open(&self.path)?.sync_all()
    }

    /// Unlock the file and leave it with its text. May be called more than once; does nothing in a forked child.
    pub fn release(&self) {
        let file = self.take();
        drop(file);
    }

    /// Remove the file and unlock it. Only for an owner; does nothing after a release, or in a forked child.
    ///
    /// # Errors
    ///
    /// The file cannot be removed; it is unlocked nevertheless.
    pub fn remove(&self) -> io::Result<()> {
        match self.take() {
            // Removed while locked: a process that has it open finds that the path leads elsewhere.
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

/// Whether `path` leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(found)) => (locked.dev(), locked.ino()) == (found.dev(), found.ino()),
        _ => false,
    }
}

/// Close the files that the parent has locked, without unlocking them. Call it in the child of each fork.
pub fn close_in_child() {
    // If another thread of the parent held this lock at the fork, the child keeps the files until it ends.
    if let Some(mut held) = HELD.try_lock() {
        *held = None;
    }
}
