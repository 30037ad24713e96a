//! `OwnerLock`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::host::owner;

/// A lock on a file, which the operating system releases when the process ends, however it ends.
///
/// A forked child does not hold it. Dropping it releases it.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct OwnerLock {
    core: owner::OwnerLock,
}

#[pymethods]
impl OwnerLock {
    /// Become the owner of a file, which is created if it does not exist.
    ///
    /// Returns:
    ///     The lock; None if the file has an owner, or while another process cleans up after a dead one.
    ///
    /// Raises:
    ///     OSError: the file cannot be created, or its file system does not support locks.
    #[staticmethod]
    fn acquire(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::acquire(&path)?.map(|core| Self { core }))
    }

    /// Keep owners out while cleaning up after a dead one.
    ///
    /// Returns:
    ///     The lock; None if there is an owner or no file.
    ///
    /// Raises:
    ///     OSError: the file cannot be opened, or its file system does not support locks.
    #[staticmethod]
    fn look(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::look(&path)?.map(|core| Self { core }))
    }

    /// The text of the file when it was locked: what a dead owner wrote, or nothing.
    #[getter]
    fn found(&self) -> &str {
        self.core.found()
    }

    /// Write a description of the owner into the file.
    ///
    /// Raises:
    ///     OSError: the file cannot be written, or the lock is not held, as in a forked child.
    #[pyo3(signature = (words, /))]
    fn describe(&self, py: Python<'_>, words: &str) -> PyResult<()> {
        self.core.describe(words)?;
        Ok(py.detach(|| self.core.sync())?)
    }

    /// Unlock the file and leave it with its text. May be called more than once.
    fn release(&self) {
        self.core.release();
    }

    /// Remove the file and unlock it; only for an owner.
    ///
    /// Raises:
    ///     OSError: the file cannot be removed.
    fn remove(&self) -> PyResult<()> {
        Ok(self.core.remove()?)
    }
}
