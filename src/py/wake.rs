//! Event loops: one port each, through which any thread wakes the loop's readers without running its Python code.
//!
//! A loop watches the reading end of a pipe. Whoever makes a change writes one byte, which needs neither the GIL nor a
//! loop that is still open. The loop then finds here who of its own waits for what has changed.
//!
//! The loop's own registration of the callback keeps a port alive; everything else refers to it weakly, so a port goes
//! when its loop is closed or dropped.

use std::collections::BTreeMap;
use std::io::{PipeReader, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyException, PyNotImplementedError};
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use rustc_hash::{FxBuildHasher, FxHashMap};

use super::subscription::Subscription;
use crate::core::Port;
use crate::core::run::new_key;
use crate::core::sync::Mutex;

/// The ports by the address of their loop. An entry whose port is gone, or orphaned, says nothing: the address may be
/// another loop's.
static PORTS: Mutex<FxHashMap<usize, Weak<LoopPort>>> = Mutex::new(FxHashMap::with_hasher(FxBuildHasher));

/// The attribute of a loop without `add_reader` that keeps its port alive.
const ATTRIBUTE: &str = "_genglossary_runs_port";

/// What one event loop waits for.
pub struct LoopPort {
    /// What is rung.
    pub core: Arc<Port>,
    /// Tells it from the port of any other loop, also of one that has had the same address.
    pub key: u64,
    /// The end of the pipe that the loop watches.
    bell: Option<Arc<PipeReader>>,
    /// Whether the loop has let go of it. Somebody else may still be at work with it.
    orphaned: AtomicBool,
    waits: Mutex<Waits>,
}

/// Guarded by `LoopPort.waits`, which is a leaf.
#[derive(Default)]
struct Waits {
    /// By what they wait for, then in the order they came.
    by_key: FxHashMap<u64, BTreeMap<u64, Waiter>>,
    next_token: u64,
    /// The one timer of the loop: when it goes off, and its `TimerHandle`.
    timer: Option<(Instant, Py<PyAny>)>,
}

struct Waiter {
    resume: Resume,
    deadline: Option<Instant>,
}

/// What the loop does when the wait is over.
pub enum Resume {
    /// Resolve a future, unless it was cancelled meanwhile.
    Future(Py<PyAny>),
    /// Call it.
    Call(Py<PyAny>),
}

impl Resume {
    /// What is no `Exception`, such as a Ctrl-C that came meanwhile, is the loop's to raise.
    fn run(self, py: Python<'_>) -> PyResult<()> {
        let (ran, callable) = match self {
            Self::Future(future) => (future.call_method1(py, intern!(py, "set_result"), (py.None(),)), None),
            Self::Call(callable) => (callable.call0(py), Some(callable)),
        };
        match ran {
            Err(error) if !error.is_instance_of::<PyException>(py) => return Err(error),
            Err(error) => {
                if let Some(callable) = callable {
                    error.write_unraisable(py, Some(callable.bind(py)));
                }
            }
            Ok(_) => {}
        }
        Ok(())
    }
}

/// One registered wait; forgotten when dropped.
pub struct Wait {
    port: Weak<LoopPort>,
    key: u64,
    token: u64,
    /// The subscription that was armed for it.
    armed: Option<Py<Subscription>>,
}

impl LoopPort {
    /// The port of the loop that runs in this thread, and the loop.
    pub fn current(py: Python<'_>) -> PyResult<(Arc<Self>, Bound<'_, PyAny>)> {
        static GET_RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let running = GET_RUNNING_LOOP.import(py, "asyncio", "get_running_loop")?.call0()?;
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
        let (core, key) = (Arc::new(core), new_key());
        Arc::new(Self { core, key, bell, orphaned: AtomicBool::new(false), waits: Mutex::default() })
    }

    /// A port whose pipe the loop watches.
    fn watch(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let (bell, rope) = pipe()?;
        let bell = Arc::new(bell);
        let fd = bell.as_raw_fd();
        // A loop that was left in the midst of a turn may find the bell readable and call for it a second time.
        running.py().import("os")?.call_method1("set_blocking", (fd, false))?;
        // Whoever rings holds the other end open, too: a pipe that nobody can read would raise SIGPIPE.
        let kept = bell.clone();
        // The core rings once between two looks at what has changed, so the pipe is never full; and a loop that is gone
        // has nobody to tell of an error.
        let core = Port::new(Box::new(move || {
            let _open = &kept;
            let _ = (&rope).write(&[1]);
        }));
        let port = Self::new(core, Some(bell));
        running.call_method1(intern!(running.py(), "add_reader"), (fd, OnReady(port.clone())))?;
        Ok(port)
    }

    /// A port of a loop that cannot watch a descriptor: it is called through `call_soon_threadsafe`.
    fn call_in(running: &Bound<'_, PyAny>) -> PyResult<Arc<Self>> {
        let py = running.py();
        let running_ref = py.import("weakref")?.call_method1("ref", (running,))?.unbind();
        let ring = move || {
            // Neither a loop that has closed nor an interpreter that is going has anybody to tell.
            let _ = Python::try_attach(|py| -> PyResult<()> {
                let running = running_ref.bind(py).call0()?;
                let on_ready = running.getattr(ATTRIBUTE)?;
                running.call_method1("call_soon_threadsafe", (on_ready,)).map(drop)
            });
        };
        let port = Self::new(Port::new(Box::new(ring)), None);
        running.setattr(ATTRIBUTE, OnReady(port.clone()))?;
        Ok(port)
    }

    /// Have the loop `resume` when `key` is reported or at `deadline`. A subscription that was `armed` for it waits as
    /// long.
    pub fn add(
        self: &Arc<Self>,
        running: &Bound<'_, PyAny>,
        key: u64,
        resume: Resume,
        deadline: Option<Instant>,
        armed: Option<Py<Subscription>>,
    ) -> PyResult<Wait> {
        let mut waits = self.waits.lock();
        let token = waits.next_token;
        waits.next_token += 1;
        waits.by_key.entry(key).or_default().insert(token, Waiter { resume, deadline });
        let sooner = deadline.filter(|at| waits.timer.as_ref().is_none_or(|(timer, _)| at < timer));
        drop(waits);
        let wait = Wait { port: Arc::downgrade(self), key, token, armed };
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

    /// Resume who waits for what has changed.
    fn ready(&self, py: Python<'_>) -> PyResult<()> {
        let mut raised = Ok(());
        if let Some(mut bell) = self.bell.as_deref() {
            let _ = bell.read(&mut [0; 8]);
        }
        for key in self.core.take_ready() {
            let woken = self.waits.lock().by_key.remove(&key);
            for waiter in woken.into_iter().flat_map(BTreeMap::into_values) {
                raised = raised.and(waiter.resume.run(py));
            }
        }
        raised
    }

    /// Resume those whose time is up, and set the timer for the next.
    fn tick(self: &Arc<Self>, running: &Bound<'_, PyAny>) -> PyResult<()> {
        let now = Instant::now();
        let mut late = Vec::new();
        let mut waits = self.waits.lock();
        for waiters in waits.by_key.values_mut() {
            let is_late = |waiter: &Waiter| waiter.deadline.is_some_and(|at| at <= now);
            let tokens: Vec<u64> =
                waiters.iter().filter(|(_, waiter)| is_late(waiter)).map(|(token, _)| *token).collect();
            late.extend(tokens.iter().filter_map(|token| waiters.remove(token)));
        }
        waits.by_key.retain(|_, waiters| !waiters.is_empty());
        let gone_off = waits.timer.take();
        drop(waits);
        drop(gone_off);
        late.sort_by_key(|waiter| waiter.deadline);
        let mut raised = Ok(());
        for waiter in late {
            raised = raised.and(waiter.resume.run(running.py()));
        }
        // After they have run: they may wait again.
        let waits = self.waits.lock();
        let next = waits.by_key.values().flat_map(BTreeMap::values).filter_map(|waiter| waiter.deadline).min();
        drop(waits);
        raised.and(next.map_or(Ok(()), |at| self.schedule(running, at)))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(open) = self.armed.as_ref().and_then(|armed| armed.get().open()) {
            open.end_wait();
        }
        let Some(port) = self.port.upgrade() else { return };
        let mut waits = port.waits.lock();
        let Some(waiters) = waits.by_key.get_mut(&self.key) else { return };
        let forgotten = waiters.remove(&self.token);
        if waiters.is_empty() {
            waits.by_key.remove(&self.key);
        }
        drop(waits);
        drop(forgotten);
    }
}

/// What a loop calls when its port has been rung.
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

    // A loop that is dropped with somebody waiting is a cycle through its futures.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever else has the port right now is at work with it.
        let Some(waits) = self.0.waits.try_lock().filter(|_| Arc::strong_count(&self.0) == 1) else { return Ok(()) };
        for waiter in waits.by_key.values().flat_map(BTreeMap::values) {
            let (Resume::Future(object) | Resume::Call(object)) = &waiter.resume;
            visit.call(object)?;
        }
        waits.timer.iter().try_for_each(|(_, timer)| visit.call(timer))
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
