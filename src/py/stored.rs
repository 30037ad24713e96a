//! The implementation of those `RunManager` methods that may need the store.

use std::sync::Arc;

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::arguments::Label;
use super::awaitable::{Awaitable, Operation};
use super::cancel::CancelEvent;
use super::errors::UnknownRunError;
use super::manager::{RunManager, State};
use super::pending_answer::PendingAnswer;
use super::run_id::{self, AnyRun, NewRun};
use super::store::{ask, ask_to_open, awaited, block, record};
use super::subscription::Subscription;
use super::{TARGET, json};
use crate::core::{self, EventId, Payload, RunId, Start};
use crate::store::{self, Engine};

/// A method's return value: available now, or when the store has answered.
pub enum Outcome {
    Ready(Py<PyAny>),
    Pending(Box<dyn PendingAnswer>),
}

impl Outcome {
    fn ready<'py>(py: Python<'py>, value: impl IntoPyObjectExt<'py>) -> PyResult<Self> {
        value.into_py_any(py).map(Self::Ready)
    }

    /// Block until the value is available.
    pub fn wait(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Ready(value) => Ok(value),
            Self::Pending(asked) => block(py, asked),
        }
    }

    /// An object to await the value with.
    pub fn awaited(self) -> Awaitable {
        match self {
            Self::Ready(value) => Awaitable::new(Operation::Value(value), None),
            Self::Pending(asked) => awaited(asked),
        }
    }
}

fn new_run(run_id: Option<RunId>, key: Option<String>, name: Option<Label>) -> store::NewRun {
    store::NewRun { run_id, key, name: name.map(|Label(name)| name) }
}

impl RunManager {
    /// The name of this process as an owner of runs; `None` without a store.
    pub fn owner_name(&self) -> PyResult<Option<String>> {
        Ok(self.engine()?.map(|engine| engine.owner().to_owned()))
    }

    /// The engine of the store; `None` without a store.
    fn engine(&self) -> PyResult<Option<Arc<Engine>>> {
        let State { core, link } = self.state();
        link.as_ref().map(|link| link.engine(core)).transpose()
    }

    /// The engine of the store; raises `ValueError` without a store.
    fn need_engine(&self) -> PyResult<Arc<Engine>> {
        self.engine()?.ok_or_else(|| PyValueError::new_err("this needs a manager with a store: RunManager(store=...)"))
    }

    pub fn opening(
        &self,
        py: Python<'_>,
        run_id: &NewRun<'_>,
        key: Option<String>,
        name: Option<Label>,
    ) -> PyResult<Outcome> {
        let run_id = run_id.get();
        let Some(engine) = self.engine()? else {
            if key.is_some() {
                return Err(PyValueError::new_err("a key needs a manager with a store; without a store, use a Runner"));
            }
            let cancel = self.core().open(run_id)?;
            log::debug!(target: TARGET, "run {run_id} opened");
            return Outcome::ready(py, CancelEvent::from(cancel));
        };
        let answer = engine.begin(new_run(Some(run_id.into()), key, name));
        Ok(Outcome::Pending(ask_to_open(self.core(), answer, |py, _, cancel| {
            CancelEvent::from(cancel).into_py_any(py)
        })))
    }

    pub fn keeping(&self, py: Python<'_>, run_id: &AnyRun<'_>) -> PyResult<Outcome> {
        let engine = self.need_engine()?;
        let Some(run_id) = run_id.get() else { return Outcome::ready(py, false) };
        Ok(Outcome::Pending(ask(engine.keep(run_id.into()), |py, kept| kept.into_py_any(py))))
    }

    pub fn opening_new(&self, key: Option<String>, name: Option<Label>) -> PyResult<Outcome> {
        let answer = self.need_engine()?.begin(new_run(None, key, name));
        Ok(Outcome::Pending(ask_to_open(self.core(), answer, |py, id, cancel| {
            (run_id::to_python(py, &id)?, CancelEvent::from(cancel)).into_py_any(py)
        })))
    }

    /// Publish without the store, or give the payload back if the store is needed. Inlined, because nearly every
    /// publish ends here.
    #[inline]
    pub fn publish_here(&self, run_id: &AnyRun<'_>, payload: Payload) -> Result<Option<EventId>, Payload> {
        let Some(run_id) = run_id.get() else { return Ok(None) };
        let State { core, link } = self.state();
        if link.is_some() { core.publish_here(run_id, payload) } else { Ok(core.publish(run_id, payload)) }
    }

    pub fn publishing_elsewhere(&self, py: Python<'_>, run_id: &AnyRun<'_>, payload: Payload) -> PyResult<Outcome> {
        let Some(run_id) = run_id.get() else { return Outcome::ready(py, py.None()) };
        let answer = self.need_engine()?.publish(run_id.into(), payload);
        Ok(Outcome::Pending(ask(answer, |py, id| id.into_py_any(py))))
    }

    pub fn cancelling(&self, py: Python<'_>, run_id: &AnyRun<'_>) -> PyResult<Outcome> {
        let Some(run_id) = run_id.get() else { return Outcome::ready(py, false) };
        let found = self.core().cancel(run_id);
        if found {
            log::debug!(target: TARGET, "run {run_id} cancelled");
            return Outcome::ready(py, true);
        }
        let Some(engine) = self.engine()? else { return Outcome::ready(py, false) };
        Ok(Outcome::Pending(ask(engine.cancel(run_id.into()), |py, sent| sent.is_some().into_py_any(py))))
    }

    pub fn finishing(
        &self,
        run_id: &NewRun<'_>,
        event: &Bound<'_, PyAny>,
        unless_active: bool,
        result: Option<String>,
    ) -> PyResult<Outcome> {
        let py = event.py();
        let (run_id, payload) = (run_id.get(), self.encode(None, event)?);
        let finished = match self.engine()? {
            None => self.core().finish(run_id, payload, unless_active),
            // Only the store knows whether it is active elsewhere; if it is not, there is nothing to finish.
            Some(_) if unless_active => false,
            Some(engine) => {
                let Some(run) = self.core().open_run(run_id) else {
                    let answer = engine.finish(run_id.into(), payload);
                    return Ok(Outcome::Pending(ask(answer, |py, finished| finished.is_some().into_py_any(py))));
                };
                let result = result.and_then(store::RunResult::of_json);
                let outcome = store::Outcome { result, ..store::Outcome::of_event(payload.json()) };
                engine.finish_here(&run, payload, outcome)
            }
        };
        if finished {
            log::debug!(target: TARGET, "run {run_id} finished");
        }
        Outcome::ready(py, finished)
    }

    pub fn subscribing(
        &self,
        run_id: &Bound<'_, PyAny>,
        after: Option<&Bound<'_, PyString>>,
        must_exist: bool,
    ) -> PyResult<Outcome> {
        let py = run_id.py();
        let core = self.core();
        // Text that is not valid UTF-8 is not an event id either.
        let start = Start::parse(after.map(|after| after.to_str().unwrap_or_default()));
        let wanted: AnyRun<'_> = run_id.extract()?;
        let Some(id) = wanted.get().and_then(|id| id.check().ok()) else {
            let shown = json::short_repr(run_id);
            return Err(UnknownRunError::new_err(format!("run {shown} is unknown: no run can have this id")));
        };
        let capacity = core.limits().log.events;
        let Some(engine) = self.engine()?.filter(|_| !core.is_open(id)) else {
            let subscription = Subscription::new(core.subscribe(id, start, must_exist)?, capacity);
            return Outcome::ready(py, subscription);
        };
        let id = RunId::from(id);
        let unknown = core::Error::UnknownRun(id.clone());
        let answer = engine.subscribe(id, start, must_exist);
        Ok(Outcome::Pending(ask(answer, move |py, found| match found {
            Some(found) => Subscription::new(found, capacity).into_py_any(py),
            None => Err(unknown.clone().into()),
        })))
    }

    pub fn looking_up(&self, py: Python<'_>, run_id: &AnyRun<'_>, with_result: bool) -> PyResult<Outcome> {
        let engine = self.need_engine()?;
        let Some(run_id) = run_id.get() else { return Outcome::ready(py, py.None()) };
        Ok(Outcome::Pending(ask(engine.find(run_id.into(), with_result), |py, found: Option<store::Found>| {
            found.map(|found| record(py, &found)).transpose()?.into_py_any(py)
        })))
    }

    pub fn claiming(&self, py: Python<'_>, run_id: &AnyRun<'_>) -> PyResult<Outcome> {
        let Some(run_id) = run_id.get() else { return Outcome::ready(py, false) };
        if !self.core().is_open(run_id) {
            return Outcome::ready(py, false);
        }
        let Some(engine) = self.engine()? else { return Outcome::ready(py, true) };
        Ok(Outcome::Pending(ask(engine.owns(run_id.into()), |py, owns: bool| owns.into_py_any(py))))
    }

    pub fn listing(&self, wanted: store::Query, with_results: bool) -> PyResult<Outcome> {
        Ok(Outcome::Pending(ask(self.need_engine()?.list(wanted, with_results), |py, found: Vec<store::Found>| {
            let found: Vec<_> = found.iter().map(|found| record(py, found)).collect::<PyResult<_>>()?;
            found.into_py_any(py)
        })))
    }
}
