//! `OwnerLock`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::core::owner;

/// A lock on a file that ends with its process.
#[pyclass(frozen, module = "genglossary_runs")]
pub struct OwnerLock {
    core: owner::OwnerLock,
}

#[pymethods]
impl OwnerLock {
    #[staticmethod]
    fn acquire(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::acquire(&path)?.map(|core| Self { core }))
    }

    #[staticmethod]
    fn look(path: PathBuf) -> PyResult<Option<Self>> {
        Ok(owner::OwnerLock::look(&path)?.map(|core| Self { core }))
    }

    #[getter]
    fn found(&self) -> &str {
        self.core.found()
    }

    #[pyo3(signature = (words, /))]
    fn describe(&self, py: Python<'_>, words: &str) -> PyResult<()> {
        self.core.describe(words)?;
        Ok(py.detach(|| self.core.sync())?)
    }

    fn release(&self) {
        self.core.release();
    }

    fn remove(&self) -> PyResult<()> {
        Ok(self.core.remove()?)
    }
}
