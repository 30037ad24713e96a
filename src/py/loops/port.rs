//! One port per event loop, through which any thread wakes the loop without running Python code.
//!
//! The loop watches the read end of a pipe. A thread that makes a change writes one byte, which needs neither the GIL
//! nor an open loop. The loop then resolves the waits for whatever has changed.
//!
//! Only the callback that is registered with the loop owns the port; all other references are weak, so a port is
//! dropped when its loop is closed or dropped.

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

/// Ports by the address of their loop. An entry is stale if its port is gone or orphaned: the address may have been
/// reused by another loop.
static PORTS: Mutex<FxHashMap<usize, Weak<LoopPort>>> = Mutex::new(FxHashMap::with_hasher(FxBuildHasher));

/// The attribute that keeps the port of a loop without `add_reader` alive.
const ATTRIBUTE: &str = "_genglossary_runs_port";

/// Create the callback classes now; pyo3 would create each on first use.
pub fn import(py: Python<'_>) {
    py.get_type::<OnReady>();
    py.get_type::<OnTimer>();
}

/// The port of one event loop.
pub struct LoopPort {
    /// The part that the core wakes.
    pub core: Arc<Port>,
    /// Distinguishes this port from that of any other loop, including one that had the same address.
    pub key: Key,
    /// The read end of the pipe that the loop watches; `None` if the loop cannot watch one.
    bell: Option<Arc<PipeReader>>,
    /// Whether the loop has dropped it. Another thread may still be using it.
    orphaned: AtomicBool,
    /// This lock is a leaf.
    waits: Mutex<Waits>,
}

/// A registered wait. Dropping it unregisters it.
pub struct Wait {
    port: Weak<LoopPort>,
    key: Key,
    token: Token,
    /// Keeps the reader armed until this wait is dropped.
    _armed: Option<Armed>,
}

impl LoopPort {
    /// The port of the loop running in this thread, and the loop.
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

    /// Create a port whose pipe the loop watches.
    fn watch(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let (bell, sender) = pipe()?;
        let bell = Arc::new(bell);
        let fd = bell.as_raw_fd();
        // Non-blocking: a loop interrupted in the middle of an iteration may call back twice for the same byte.
        running.py().import("os")?.call_method1("set_blocking", (fd, false))?;
        // Waking threads hold the read end open, too: writing to a pipe without a reader raises SIGPIPE.
        let kept = bell.clone();
        // The core wakes a loop once between two calls of `take_ready`, so the pipe never fills up. Errors are ignored:
        // a loop that is gone needs no wake-up.
        let core = Port::new(Box::new(move || {
            let _open = &kept;
            let _ = (&sender).write(&[1]);
        }));
        let port = Self::new(core, Some(bell));
        running.call_method1(intern!(running.py(), "add_reader"), (fd, OnReady(port.clone())))?;
        Ok(port)
    }

    /// Create a port for a loop that cannot watch a descriptor; it is woken through `call_soon_threadsafe`.
    fn call_in(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = running.py();
        let running_ref = py.import("weakref")?.call_method1("ref", (running,))?.unbind();
        let wake = move || {
            // Errors are ignored: a closed loop or a finalizing interpreter needs no wake-up.
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

    /// Have the loop resolve `future` when `key` is reported or `deadline` passes. Keeps `armed` until the wait is
    /// dropped.
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

    /// Set the loop's timer to `at`, replacing the previous one.
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

    /// Resolve the futures that wait for what has changed.
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

    /// Resolve the futures whose deadline has passed, and set the timer for the next deadline.
    fn tick(self: &Arc<Self>, running: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut waits = self.waits.lock();
        let due = waits.take_due(Instant::now());
        let fired = waits.timer.take();
        drop(waits);
        drop(fired);
        let mut raised = Ok(());
        for future in due {
            raised = raised.and(resolve(&future, running.py()));
        }
        // Checked only now: waits may have been added meanwhile, and one of them may have set a timer.
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

/// The callback that a loop runs when its port wakes it.
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

    // A loop dropped with pending waits is a reference cycle through their futures.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // With more references, another thread is using the port.
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

/// The callback that a loop runs when a deadline may have passed.
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
