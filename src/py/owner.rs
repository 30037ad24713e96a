//! `OwnerLock`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::host::owner;

/// A lock on a file that the operating system releases when the process ends, however it ends.
///
/// In a forked child it is not held. Dropping it releases it.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct OwnerLock {
    core: owner::OwnerLock,
}

#[pymethods]
impl OwnerLock {
    /// Become the owner of a file, which is made if it is not there.
    ///
    /// Returns:
    ///     The lock; None if the file has an owner, or for a moment while another process clears up after a dead one.
    ///
    /// Raises:
    ///     OSError: the file cannot be made, or its file system has no locks.
    #[staticmethod]
    fn acquire(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::acquire(&path)?.map(|core| Self { core }))
    }

    /// Keep owners out while clearing up after a dead one; None if there is an owner, or no file.
    ///
    /// Raises:
    ///     OSError: the file cannot be opened, or its file system has no locks.
    #[staticmethod]
    fn look(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::look(&path)?.map(|core| Self { core }))
    }

    /// The text of the file when it was locked: what a dead owner wrote, or nothing.
    #[getter]
    fn found(&self) -> &str {
        self.core.found()
    }

    /// Write a description of the owner into the file. OSError if that fails, or in a forked child.
    #[pyo3(signature = (words, /))]
    fn describe(&self, py: Python<'_>, words: &str) -> PyResult<()> {
        self.core.describe(words)?;
        Ok(py.detach(|| self.core.sync())?)
    }

    /// Unlock and leave the file, with its text. May be repeated.
    fn release(&self) {
        self.core.release();
    }

    /// Remove the file and unlock it; only for an owner. OSError if the file cannot be removed.
    fn remove(&self) -> PyResult<()> {
        Ok(self.core.remove()?)
    }
}
