//! Fork hooks: a child ignores everything made before the fork and creates its own on demand.

use std::cell::Cell;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::gate;
use crate::core::fork::{close_gate, entered_child, generation, give_turn, open_gate, take_turn};
use crate::host::{owner, streams};
use crate::store::engine::{self, Closed};

/// Register the hooks with `os.register_at_fork`.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let kwargs = PyDict::new(py);
    kwargs.set_item("before", wrap_pyfunction!(before_fork, py)?)?;
    kwargs.set_item("after_in_parent", wrap_pyfunction!(after_fork_in_parent, py)?)?;
    kwargs.set_item("after_in_child", wrap_pyfunction!(after_fork_in_child, py)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&kwargs))?;
    Ok(())
}

/// How long a thread sleeps between attempts to take its turn.
const NEXT_TURN: Duration = Duration::from_millis(1);

thread_local! {
    /// The stores that this thread closed for the fork in progress.
    static CLOSED: Cell<Option<Closed>> = const { Cell::new(None) };
}

#[pyfunction]
fn before_fork(py: Python<'_>) {
    while !take_turn() {
        gate::detach(py, || thread::sleep(NEXT_TURN));
    }
    // The GIL is released because the engine may need it to log.
    let closed = gate::detach(py, || engine::any_is_open().then(engine::close_all));
    close_gate();
    CLOSED.set(Closed::check(closed));
}

#[pyfunction]
fn after_fork_in_parent(py: Python<'_>) {
    open_gate();
    if let Some(closed) = CLOSED.take() {
        gate::detach(py, || closed.reopen());
    }
    give_turn();
}

#[pyfunction]
fn after_fork_in_child() {
    open_gate();
    give_turn();
    entered_child();
    owner::close_in_child();
    streams::close_in_child();
    if let Some(closed) = CLOSED.take() {
        closed.enter_child();
    }
}

/// A value per process: the original in the process that created it, a new one in each forked child.
pub struct PerProcess<T> {
    generation: u32,
    value: T,
    child: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// Wrap the value of this process.
    pub fn new(value: T) -> Self {
        Self { generation: generation(), value, child: OnceLock::new() }
    }

    /// The value of the current process. In a child, `make` creates it on first use.
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
