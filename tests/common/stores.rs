//! Stores of SQLite's for tests, and their engines' answers.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use genglossary_runs::store::{Answer, Error};

use super::PATIENCE;

/// A folder for a store, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stores-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        Self(folder)
    }

    /// The path of the store.
    pub fn file(&self) -> PathBuf {
        self.0.join("runs.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The answer, however long it takes.
pub fn ask<T>(answer: &Arc<Answer<T>>) -> Result<T, Error> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(answer) = answer.take() {
            return answer;
        }
        assert!(Instant::now() < deadline, "no answer");
        answer.wait(Some(deadline));
    }
}
