//! The engine: the one thread of a process that talks to a store, as other threads see it.
//!
//! Only this thread waits for the store. Questions reach it through a bounded channel, and their [`Answer`]s come back.
//! It reads the events of the runs that are open here through its own cursors, when their logs wake it like any other
//! reader. So a publisher pays one wake-up per batch, however slow the store is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use super::answer::{Answer, Promise};
use super::connection;
use super::record::{Found, Outcome};
use super::shared::{Health, Opened, Question, Report, Shared};
use super::store::{Command, Error, NewRun, Query, Result, Source};
use super::worker::Worker;
use crate::core::archive::Archive;
use crate::core::fork;
use crate::core::run::Run;
use crate::core::sync::{Arc as CoreArc, Mutex};
use crate::core::{Payload, RunId, RunManager, Start, Subscription};

/// Maximum number of questions that wait for the engine.
pub(super) const QUESTIONS: usize = 1024;
/// How long a fork waits for the engine to close its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A manager's handle to an engine. Dropping it ends the manager's open runs as interrupted.
pub struct Engine {
    shared: Arc<Shared>,
    archive: Arc<dyn Archive>,
    questions: Sender<Question>,
    manager: RunManager,
}

/// The engines of this process, by the name of their store.
static ENGINES: Mutex<Vec<Running>> = Mutex::new(Vec::new());

struct Running {
    shared: Arc<Shared>,
    questions: Sender<Question>,
}

impl Engine {
    /// Use the engine of the store called `name`. If it is not running, it is started with `source`.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub fn of(
        name: &str,
        manager: RunManager,
        source: impl FnOnce() -> Box<dyn Source>,
        report: Report,
    ) -> Result<Self> {
        let mut engines = ENGINES.lock();
        // A child must not touch what threads of the parent may have locked, so it leaks that.
        let here = fork::generation();
        let (own, parents): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *engines).into_iter().partition(|running| running.shared.generation == here);
        std::mem::forget(parents);
        *engines = own;
        engines.retain(|running| !running.shared.is_closed());
        let predecessor =
            engines.iter().rfind(|running| running.shared.name == name).map(|running| running.shared.clone());
        for running in engines.iter().filter(|running| running.shared.name == name) {
            let mut users = running.shared.users.lock();
            if let Some(users) = users.as_mut() {
                *users += 1;
                let (shared, questions) = (running.shared.clone(), running.questions.clone());
                return Ok(Self { archive: shared.clone(), shared, questions, manager });
            }
        }
        let source = source();
        let (bell, woken) = bounded(1);
        let (questions, asked) = bounded(QUESTIONS);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            owner: source.owner(),
            health: Mutex::default(),
            wanted: Mutex::default(),
            delayed: Mutex::default(),
            outcomes: Mutex::default(),
            dropped_managers: Mutex::default(),
            users: Mutex::new(Some(1)),
            has_news: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell,
            survives_fork: source.survives_fork(),
            generation: fork::generation(),
        });
        let archive: Arc<dyn Archive> = shared.clone();
        let worker = Worker::new(source, shared.clone(), archive.clone(), asked, woken, report);
        let thread = std::thread::Builder::new().name("run-store".to_owned());
        let closing = Closing(shared.clone());
        let started = thread.spawn(move || {
            fork::detached(|| {
                // Dropped after the worker and its connection, however the worker ends.
                let _closing = closing;
                predecessor.iter().for_each(|engine| engine.wait_closed());
                drop(predecessor);
                worker.run();
            });
        });
        started.map_err(|error| Error::Failed(format!("cannot start the thread of {name}: {error}")))?;
        engines.push(Running { shared: shared.clone(), questions: questions.clone() });
        Ok(Self { shared, archive, questions, manager })
    }

    /// Has the events that a log has evicted.
    pub fn archive(&self) -> &Arc<dyn Archive> {
        &self.archive
    }

    /// The state of the engine and its store.
    pub fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// The store's name, for people.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The name of this process as an owner of runs.
    pub fn owner(&self) -> &str {
        &self.shared.owner
    }

    /// Finish a run that is open in the manager, with this outcome for its record. Returns whether this call finished it;
    /// an earlier finish by another process keeps its outcome.
    pub fn finish_here(&self, run: &CoreArc<Run>, payload: Payload, outcome: Outcome) -> bool {
        self.manager.finish_life(run, payload, |fence| {
            self.shared.outcomes.lock().insert(fence, outcome);
        })
    }

    /// Begin a run.
    pub fn begin(&self, run: NewRun) -> Arc<Answer<Opened>> {
        self.ask(|answer| Question::Begin(self.manager.clone(), run, answer))
    }

    /// Begin a run that is open already, before anything is published to it. The answer is whether the store keeps it:
    /// another process may have a run with this id.
    pub fn keep(&self, run_id: RunId) -> Arc<Answer<bool>> {
        self.ask(|answer| Question::Keep(self.manager.clone(), run_id, answer))
    }

    /// Create a reader.
    pub fn subscribe(&self, run_id: RunId, start: Start, must_exist: bool) -> Arc<Answer<Option<Subscription>>> {
        self.ask(|answer| Question::Subscribe(self.manager.clone(), run_id, start, must_exist, answer))
    }

    /// Ask the owner of a run to publish an event.
    pub fn publish(&self, run_id: RunId, payload: Payload) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Publish(payload), answer))
    }

    /// Ask the owner of a run to finish it. The answer is `None` if this did not finish it.
    pub fn finish(&self, run_id: RunId, payload: Payload) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Finish(payload), answer))
    }

    /// Ask the owner of a run to cancel it.
    pub fn cancel(&self, run_id: RunId) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Cancel, answer))
    }

    /// Ask whether this process still owns a run that is open in the manager.
    pub fn owns(&self, run_id: RunId) -> Arc<Answer<bool>> {
        self.ask(|answer| Question::Owns(self.manager.clone(), run_id, answer))
    }

    /// Look up a run.
    pub fn find(&self, run_id: RunId, with_result: bool) -> Arc<Answer<Option<Found>>> {
        self.ask(|answer| Question::Find(run_id, with_result, answer))
    }

    /// List runs.
    pub fn list(&self, query: Query, with_results: bool) -> Arc<Answer<Vec<Found>>> {
        self.ask(|answer| Question::List(query, with_results, answer))
    }

    fn ask<T>(&self, question: impl FnOnce(Promise<T>) -> Question) -> Arc<Answer<T>> {
        let answer = Answer::new();
        let refuse =
            |why| drop(answer.give(Err(Error::Failed(format!("{} does not answer: {why}", self.shared.name)))));
        if self.shared.is_alive() {
            let sent = self.questions.try_send(question(Promise::new(answer.clone())));
            if sent.is_err() {
                refuse("too many questions are pending");
            }
        }
        // Checked after sending: the question may have arrived too late for the thread itself to refuse it.
        if !self.shared.is_alive() {
            refuse("its thread has ended");
        }
        answer
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.shared.generation != fork::generation() {
            return;
        }
        self.shared.dropped_managers.lock().push(self.manager.clone());
        if let Some(users) = self.shared.users.lock().as_mut() {
            *users -= 1;
        }
        self.shared.ring();
    }
}

/// Marks an engine's connection as closed when dropped.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
    }
}

/// Whether this process has the store called `name` open: its engine runs, or is about to close its connection.
pub fn is_open(name: &str) -> bool {
    open().iter().any(|shared| shared.name == name)
}

/// Whether this process has any store open.
pub fn any_is_open() -> bool {
    !open().is_empty()
}

/// The engines whose connections are not closed.
fn open() -> Vec<Arc<Shared>> {
    let here = fork::generation();
    let engines = ENGINES.lock();
    let known = engines.iter().map(|running| running.shared.clone());
    known.filter(|shared| shared.generation == here && !shared.is_closed()).collect()
}

/// The engines whose threads have not ended. They do not end until these references are dropped.
fn running() -> Vec<(Arc<Shared>, Sender<Question>)> {
    let engines = ENGINES.lock();
    let known = engines.iter().map(|running| (running.shared.clone(), running.questions.clone()));
    known.filter(|(shared, _)| shared.is_alive()).collect()
}

/// Store all that has been published, in every store of the process, until `deadline` at most. Returns the names of the
/// stores that were not done by then. Call it without the GIL.
pub fn flush_all(deadline: Instant) -> Vec<String> {
    let asked: Vec<_> = running()
        .into_iter()
        .map(|(shared, questions)| {
            let answer = Answer::new();
            let _ = questions.send_deadline(Question::Flush(Promise::new(answer.clone())), deadline);
            (shared.name.clone(), answer)
        })
        .collect();
    let mut late = Vec::new();
    for (name, answer) in asked {
        answer.wait(Some(deadline));
        if !matches!(answer.take(), Ok(Ok(()))) {
            late.push(name);
        }
    }
    late
}

/// The engines that were closed for a fork, because a connection must not be copied.
pub struct Closed {
    resume: Vec<Sender<()>>,
    is_complete: bool,
}

/// Whether this process was forked while its parent had a store open. If so, no store can be opened safely.
static TAINTED: AtomicBool = AtomicBool::new(false);

/// Close every connection, and keep it closed. Call it without the GIL.
pub fn close_all() -> Closed {
    let deadline = Instant::now() + CLOSE_TIMEOUT;
    let mut closed = Closed { resume: Vec::new(), is_complete: true };
    let mut answers = Vec::new();
    for (shared, questions) in running() {
        let (resume, resumed) = bounded(1);
        let answer = Answer::new();
        if questions.send_deadline(Question::Close(Promise::new(answer.clone()), resumed), deadline).is_ok() {
            answers.push((answer, shared.survives_fork));
            closed.resume.push(resume);
        } else {
            // Its queue of questions is full.
            closed.is_complete &= shared.survives_fork;
        }
    }
    for (answer, survives) in answers {
        answer.wait(Some(deadline));
        closed.is_complete &= matches!(answer.take(), Ok(Ok(()))) || survives;
    }
    // Engines that were about to end. A store that is open nevertheless is noticed when the gate is closed.
    open().iter().filter(|shared| !shared.is_alive()).for_each(|shared| shared.wait_closed());
    closed
}

impl Closed {
    /// Note whether a store was opened after all had been closed, as by an engine that started meanwhile. Call it with
    /// the fork gate closed, so that no other can be opened.
    pub fn check(closed: Option<Self>) -> Option<Self> {
        if !connection::any_is_open() {
            return closed;
        }
        let resume = closed.map(|closed| closed.resume).unwrap_or_default();
        Some(Self { resume, is_complete: false })
    }

    /// Whether every store was closed.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Let the parent's engines connect again.
    pub fn reopen(self) {
        for resume in self.resume {
            let _ = resume.try_send(());
        }
    }

    /// Record in the child in what state the fork found the stores. The child has none of the parent's engines.
    pub fn enter_child(self) {
        if !self.is_complete {
            TAINTED.store(true, Ordering::Relaxed);
        }
        // Leaked: threads of the parent may have locked it.
        std::mem::forget(self);
    }
}

/// Fail if this process cannot open a store safely.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn check_process() -> Result<()> {
    if TAINTED.load(Ordering::Relaxed) {
        return Err(Error::Refused(
            "this process was forked while its parent waited for a store's disk, so it cannot open a store; \
             start it with multiprocessing's method 'spawn'"
                .to_owned(),
        ));
    }
    Ok(())
}
