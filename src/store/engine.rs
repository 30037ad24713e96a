//! The engine: the one thread of a process that talks to a store, and what others have of it.
//!
//! Nobody but this thread waits for the store. Questions reach it through a bounded channel, and their [`Answer`]s come
//! back; the events of the runs that are open here it reads by itself, through cursors of its own, when their logs wake it
//! like any other reader. So a publisher pays one wake-up a batch, however slow the store is.

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
use crate::core::sync::Mutex;
use crate::core::{Payload, RunId, RunManager, Start, Subscription};

/// How many questions may wait for the engine.
const QUESTIONS: usize = 1024;
/// How long a fork waits for the engine to close its connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The engine, as a manager has it. Dropping it ends the manager's runs that are still open, as interrupted.
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
    /// Use the engine of the store called `name`, which is started with `source` if it does not run.
    ///
    /// # Errors
    ///
    /// The system can start no thread.
    pub fn of(
        name: &str,
        manager: RunManager,
        source: impl FnOnce() -> Box<dyn Source>,
        report: Report,
    ) -> Result<Self> {
        let mut engines = ENGINES.lock();
        // What the parent's threads may have locked is left alone in a child.
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
        let (bell, rung) = bounded(1);
        let (questions, asked) = bounded(QUESTIONS);
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            health: Mutex::default(),
            wanted: Mutex::default(),
            delayed: Mutex::default(),
            outcomes: Mutex::default(),
            left: Mutex::default(),
            users: Mutex::new(Some(1)),
            has_news: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            bell,
            survives_fork: source.survives_fork(),
            generation: fork::generation(),
        });
        let archive: Arc<dyn Archive> = shared.clone();
        let worker = Worker::new(source, shared.clone(), archive.clone(), asked, rung, report);
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
        started.map_err(|error| Error::Failed(format!("the thread of {name} cannot be started: {error}")))?;
        engines.push(Running { shared: shared.clone(), questions: questions.clone() });
        Ok(Self { shared, archive, questions, manager })
    }

    /// Where the events are that a log has evicted.
    pub fn archive(&self) -> &Arc<dyn Archive> {
        &self.archive
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// The store's name, for people.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Note how a run ends, before its terminal event is published.
    pub fn note_outcome(&self, run_id: &RunId, outcome: Outcome) {
        if let Some(run) = self.manager.live_run(run_id.as_ref()) {
            let fence = run.lock().fence;
            self.shared.outcomes.lock().insert(fence, outcome);
        }
    }

    /// Begin a run.
    pub fn begin(&self, run: NewRun) -> Arc<Answer<Opened>> {
        self.ask(|answer| Question::Begin(self.manager.clone(), run, answer))
    }

    /// Begin a run that is open already, before anything is published to it. The answer is whether it is stored from now
    /// on: another process may have a run of this id.
    pub fn keep(&self, run_id: RunId) -> Arc<Answer<bool>> {
        self.ask(|answer| Question::Keep(self.manager.clone(), run_id, answer))
    }

    /// Make a reader.
    pub fn subscribe(&self, run_id: RunId, start: Start, must_exist: bool) -> Arc<Answer<Option<Subscription>>> {
        self.ask(|answer| Question::Subscribe(self.manager.clone(), run_id, start, must_exist, answer))
    }

    /// Have the owner of a run publish.
    pub fn publish(&self, run_id: RunId, payload: Payload) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Publish(payload), answer))
    }

    /// Have the owner of a run finish it; the answer is a text that says so.
    pub fn finish(&self, run_id: RunId, payload: Payload) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Finish(payload), answer))
    }

    /// Have the owner of a run cancel it.
    pub fn cancel(&self, run_id: RunId) -> Arc<Answer<Option<String>>> {
        self.ask(|answer| Question::Command(run_id, Command::Cancel, answer))
    }

    /// See whether this process is still the owner of a run that is open in the manager.
    pub fn owns(&self, run_id: RunId) -> Arc<Answer<bool>> {
        self.ask(|answer| Question::Owns(self.manager.clone(), run_id, answer))
    }

    /// Look for a run.
    pub fn find(&self, run_id: RunId, with_result: bool) -> Arc<Answer<Option<Found>>> {
        self.ask(|answer| Question::Find(run_id, with_result, answer))
    }

    /// Look for runs.
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
                refuse("too many questions wait for it");
            }
        }
        // After the question was sent: it may have come too late to be refused by the thread itself.
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
        self.shared.left.lock().push(self.manager.clone());
        if let Some(users) = self.shared.users.lock().as_mut() {
            *users -= 1;
        }
        self.shared.ring();
    }
}

/// Notes that an engine has closed its connection, when dropped.
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

/// The engines that have not closed their connections.
fn open() -> Vec<Arc<Shared>> {
    let here = fork::generation();
    let engines = ENGINES.lock();
    let known = engines.iter().map(|running| running.shared.clone());
    known.filter(|shared| shared.generation == here && !shared.is_closed()).collect()
}

/// The engines whose threads have not ended, and do not until these references are dropped.
fn running() -> Vec<(Arc<Shared>, Sender<Question>)> {
    let engines = ENGINES.lock();
    let known = engines.iter().map(|running| (running.shared.clone(), running.questions.clone()));
    known.filter(|(shared, _)| shared.is_alive()).collect()
}

/// Store all that has been published, in every store of the process, until `deadline` at most. Returns the names of the
/// stores that did not make it. Not to be called with the GIL held.
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

/// The engines of a process that is about to fork: closed, since a connection must not be carried over.
pub struct Closed {
    resume: Vec<Sender<()>>,
    is_complete: bool,
}

/// Whether this process was forked while its parent had a store open: then no store can be opened safely.
static TAINTED: AtomicBool = AtomicBool::new(false);

/// Close every connection, and keep them closed. Not to be called with the GIL held.
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
            // So many questions wait for it that it cannot even be asked.
            closed.is_complete &= shared.survives_fork;
        }
    }
    for (answer, survives) in answers {
        answer.wait(Some(deadline));
        closed.is_complete &= matches!(answer.take(), Ok(Ok(()))) || survives;
    }
    // Those that were about to end; whatever is open after all is noticed once the gate is closed.
    open().iter().filter(|shared| !shared.is_alive()).for_each(|shared| shared.wait_closed());
    closed
}

impl Closed {
    /// Note whether a store was opened after all had been closed, as by an engine that started then. Call it with the fork
    /// gate closed, which keeps any other from being opened.
    pub fn check(closed: Option<Self>) -> Option<Self> {
        if !connection::any_is_open() {
            return closed;
        }
        let resume = closed.map(|closed| closed.resume).unwrap_or_default();
        Some(Self { resume, is_complete: false })
    }

    /// Whether every store is closed.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Let the engines of the parent connect again.
    pub fn reopen(self) {
        for resume in self.resume {
            let _ = resume.try_send(());
        }
    }

    /// Note in the child how the fork found the stores. The parent's engines are not in it.
    pub fn enter_child(self) {
        if !self.is_complete {
            TAINTED.store(true, Ordering::Relaxed);
        }
        // What the parent's threads may have locked is left alone.
        std::mem::forget(self);
    }
}

/// Refuse to open a store in a process that cannot.
///
/// # Errors
///
/// [`Error::Refused`].
pub fn check_process() -> Result<()> {
    if TAINTED.load(Ordering::Relaxed) {
        return Err(Error::Refused(
            "this process was forked while its parent waited for a store's disk, so it can open none; \
             start it with multiprocessing's method 'spawn'"
                .to_owned(),
        ));
    }
    Ok(())
}
