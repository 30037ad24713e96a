//! One port an event loop, through which any thread wakes the loop's readers without running its Python code.
//!
//! A loop watches the reading end of a pipe. A thread that makes a change writes one byte, which needs neither the GIL nor
//! a loop that is still open. The loop then resumes those of its waits that are for what has changed.
//!
//! The loop's own registration of the callback keeps a port alive; everything else refers to it weakly, so a port goes
//! when its loop is closed or dropped.

use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::waits::{Token, Waits, resolve};
use crate::core::sync::Mutex;
use crate::core::{Key, Port};
use crate::py::gate;
use crate::py::once::{Imported, intern};
use crate::py::reader::Armed;

/// The ports by the address of their loop. An entry whose port is gone, or orphaned, does not count: the address may
/// be another loop's.
static PORTS: Mutex<FxHashMap<usize, Weak<LoopPort>>> = Mutex::new(FxHashMap::with_hasher(FxBuildHasher));

/// The attribute of a loop without `add_reader` that keeps its port alive.
const ATTRIBUTE: &str = "_genglossary_runs_port";

/// Make the classes of what a loop calls; pyo3 would do it when the first is needed.
pub fn import(py: Python<'_>) {
    py.get_type::<OnReady>();
    py.get_type::<OnTimer>();
}

/// The port of one event loop.
pub struct LoopPort {
    /// What the core wakes.
    pub core: Arc<Port>,
    /// Tells it from the port of any other loop, also of one that has had the same address.
    pub key: Key,
    /// The end of the pipe that the loop watches.
    bell: Option<Arc<PipeReader>>,
    /// Whether the loop has dropped it. Another thread may still be using it.
    orphaned: AtomicBool,
    /// This lock is a leaf.
    waits: Mutex<Waits>,
}

/// One registered wait; taken back when dropped.
pub struct Wait {
    port: Weak<LoopPort>,
    key: Key,
    token: Token,
    /// What is armed for it.
    _armed: Option<Armed>,
}

impl LoopPort {
    /// The port of the loop that runs in this thread, and the loop.
    pub fn current(py: Python<'_>) -> PyResult<(Arc<Self>, Bound<'_, PyAny>)> {
        static GET_RUNNING_LOOP: Imported = Imported::new("asyncio", "get_running_loop");
        let running = GET_RUNNING_LOOP.get(py)?.call0()?;
        let address = running.as_ptr() as usize;
        let known = PORTS.lock().get(&address).and_then(Weak::upgrade);
        let port = match known {
            Some(port) if !port.orphaned.load(Ordering::Acquire) => port,
            _ => Self::install(&running)?,
        };
        Ok((port, running))
    }

    fn install(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let port = match Self::watch(running) {
            Err(error) if error.is_instance_of::<PyNotImplementedError>(running.py()) => Self::call_in(running)?,
            port => port?,
        };
        let mut ports = PORTS.lock();
        ports.retain(|_, port| port.strong_count() > 0);
        ports.insert(running.as_ptr() as usize, Arc::downgrade(&port));
        Ok(port)
    }

    fn new(core: Port, bell: Option<Arc<PipeReader>>) -> Arc<Self> {
        let (core, key) = (Arc::new(core), Key::new());
        Arc::new(Self { core, key, bell, orphaned: AtomicBool::new(false), waits: Mutex::default() })
    }

    /// A port whose pipe the loop watches.
    fn watch(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let (bell, sender) = pipe()?;
        let bell = Arc::new(bell);
        let fd = bell.as_raw_fd();
        // A loop that was left in the midst of a turn may find the bell readable and call for it a second time.
        running.py().import("os")?.call_method1("set_blocking", (fd, false))?;
        // A thread that wakes the loop holds the other end open, too: writing to a pipe without a reader raises SIGPIPE.
        let kept = bell.clone();
        // The core wakes a loop once between two calls of `take_ready`, so the pipe is never full; and a loop that has
        // gone has nobody to tell of an error.
        let core = Port::new(Box::new(move || {
            let _open = &kept;
            let _ = (&sender).write(&[1]);
        }));
        let port = Self::new(core, Some(bell));
        running.call_method1(intern!(running.py(), "add_reader"), (fd, OnReady(port.clone())))?;
        Ok(port)
    }

    /// A port of a loop that cannot watch a descriptor: it is called through `call_soon_threadsafe`.
    fn call_in(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = running.py();
        let running_ref = py.import("weakref")?.call_method1("ref", (running,))?.unbind();
        let wake = move || {
            // Neither a loop that has closed nor an interpreter that finalizes has anybody to tell.
            let _ = gate::try_attach(|py| -> PyResult<()> {
                let running = running_ref.bind(py).call0()?;
                let on_ready = running.getattr(ATTRIBUTE)?;
                running.call_method1("call_soon_threadsafe", (on_ready,)).map(drop)
            });
        };
        let port = Self::new(Port::new(Box::new(wake)), None);
        running.setattr(ATTRIBUTE, OnReady(port.clone()))?;
        Ok(port)
    }

    /// Have the loop resolve `future` when `key` is reported or at `deadline`. What is `armed` for it stays so as long as the wait.
    pub fn add(
        self: &Arc<Self>,
        running: &Bound<'_, PyAny>,
        key: Key,
        future: Py<PyAny>,
        deadline: Option<Instant>,
        armed: Option<Armed>,
    ) -> PyResult<Wait> {
        let mut waits = self.waits.lock();
        let token = waits.add(key, future, deadline);
        let sooner = deadline.filter(|at| waits.needs_timer(*at));
        drop(waits);
        let wait = Wait { port: Arc::downgrade(self), key, token, _armed: armed };
        if let Some(at) = sooner {
            self.schedule(running, at)?;
        }
        Ok(wait)
    }

    /// Have the loop look at `at` for waits that have timed out, in place of any other time.
    fn schedule(self: &Arc<Self>, running: &Bound<'_, PyAny>, at: Instant) -> PyResult<()> {
        let py = running.py();
        let delay = at.saturating_duration_since(Instant::now()).as_secs_f64();
        let timer = running.call_method1(intern!(py, "call_later"), (delay, OnTimer(Arc::downgrade(self))))?;
        let replaced = self.waits.lock().timer.replace((at, timer.unbind()));
        if let Some((_, timer)) = replaced {
            timer.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// Resolve the futures of the waits for what has changed.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let mut raised = Ok(());
        if let Some(mut bell) = self.bell.as_deref() {
            let _ = bell.read(&mut [0; 8]);
        }
        for key in self.core.take_ready() {
            let woken = self.waits.lock().take(key);
            for future in woken {
                raised = raised.and(resolve(&future, py));
            }
        }
        raised
    }

    /// Resolve the futures of the waits whose time is up, and set the timer for the next.
    fn tick(self: &Arc<Self>, running: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut waits = self.waits.lock();
        let late = waits.take_late(Instant::now());
        let gone_off = waits.timer.take();
        drop(waits);
        drop(gone_off);
        let mut raised = Ok(());
        for future in late {
            raised = raised.and(resolve(&future, running.py()));
        }
        // After they have run, since they may wait again; and one of them may have set a timer.
        let waits = self.waits.lock();
        let next = waits.next_deadline().filter(|at| waits.needs_timer(*at));
        drop(waits);
        raised.and(next.map_or(Ok(()), |at| self.schedule(running, at)))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Some(port) = self.port.upgrade() else { return };
        let removed = port.waits.lock().remove(self.key, self.token);
        drop(removed);
    }
}

/// What a loop calls when its port has woken it.
#[pyclass(frozen, module = "genglossary_runs")]
struct OnReady(Arc<LoopPort>);

impl Drop for OnReady {
    fn drop(&mut self) {
        self.0.orphaned.store(true, Ordering::Release);
    }
}

#[pymethods]
impl OnReady {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.ready(py)
    }

    // A loop that is dropped with waits is a cycle through its futures.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Anyone else who has the port right now is using it.
        match self.0.waits.try_lock().filter(|_| Arc::strong_count(&self.0) == 1) {
            Some(waits) => waits.traverse(&visit),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let waits = std::mem::take(&mut *self.0.waits.lock());
        drop(waits);
    }
}

/// What a loop calls when waits may have timed out.
#[pyclass(frozen, module = "genglossary_runs")]
struct OnTimer(Weak<LoopPort>);

#[pymethods]
impl OnTimer {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(port) = self.0.upgrade() {
            let (_, running) = LoopPort::current(py)?;
            port.tick(&running)?;
        }
        Ok(())
    }
}
