//! What a forked child finds: everything made before the fork is left alone, and made anew when it is needed.

use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::gate;
use crate::core::fork::{close_gate, entered_child, generation, open_gate};
use crate::host::{owner, streams};
use crate::store::engine::{self, Closed};

/// Have Python report each fork.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
    kwargs.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, py)?)?;
    kwargs.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&kwargs))?;
    Ok(())
}

/// The forks that are under way, and the stores that were closed for the first of them. A lock of std, which has no state
/// outside of itself that a fork could copy.
static FORKS: Mutex<(u32, Option<Closed>)> = Mutex::new((0, None));

#[pyfunction]
fn before_fork(py: Python<'_>) {
    // Without the GIL, which the engine may need to write a log record.
    gate::detach(py, || {
        let mut forks = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
        forks.0 += 1;
        if forks.0 == 1 && engine::any_is_running() {
            forks.1 = Some(engine::close_all());
        }
    });
    close_gate();
}

#[pyfunction]
fn after_fork_in_parent(py: Python<'_>) {
    open_gate();
    gate::detach(py, || {
        let mut forks = FORKS.lock().unwrap_or_else(PoisonError::into_inner);
        forks.0 = forks.0.saturating_sub(1);
        let closed = if forks.0 == 0 { forks.1.take() } else { None };
        drop(forks);
        if let Some(closed) = closed {
            closed.reopen();
        }
    });
}

#[pyfunction]
fn after_fork_in_child() {
    open_gate();
    entered_child();
    owner::close_in_child();
    streams::close_in_child();
    // Another thread of the parent may have been in `before_fork`, which has nothing open then.
    if let Ok(mut forks) = FORKS.try_lock() {
        forks.0 = 0;
        if let Some(closed) = forks.1.take() {
            closed.enter_child();
        }
    }
}

/// A value for each process: the first for the one that made it, a new one for a child that asks.
pub struct PerProcess<T> {
    generation: u32,
    value: T,
    child: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// The value of this process.
    pub fn new(value: T) -> Self {
        Self { generation: generation(), value, child: OnceLock::new() }
    }

    /// The value of the process that asks; `make` makes it in a child.
    pub fn get(&self, make: impl FnOnce(&T) -> T) -> &T {
        if self.generation == generation() {
            return &self.value;
        }
        match self.child.get() {
            Some(child) => child.get(make),
            None => &self.child.get_or_init(|| Box::new(Self::new(make(&self.value)))).value,
        }
    }
}
