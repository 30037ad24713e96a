//! The engine's thread: its state, and the order in which it does things.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select_biased};

use super::answer::Promise;
use super::connection::Connection;
use super::followed::Mirrors;
use super::owned::{Ended, OwnedRuns};
use super::record::{Outcome, interrupted_event};
use super::shared::{Question, Report, Shared, port, wake};
use super::store::{News, Source, Wake};
use crate::core::archive::Archive;
use crate::core::{Fence, Port};

/// Minimum time between the beginnings of two writes, unless much is waiting.
pub(super) const WRITE_INTERVAL: Duration = Duration::from_millis(4);
/// Between two polls while something is read or asked for.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long after some news more are expected, so that a store with cheap polls is polled more often.
const EAGER_FOR: Duration = Duration::from_millis(50);
/// Between two polls when there has been no news for `QUIET_AFTER`; also the maximum delay of a command.
const QUIET_POLL: Duration = Duration::from_millis(40);
const QUIET_AFTER: Duration = Duration::from_secs(2);
/// Between two polls of a store that wakes the engine when there is news.
const WOKEN_POLL: Duration = Duration::from_millis(250);
/// Between two checks for mirrors that nobody reads, which are checked one by one.
const UNREAD_INTERVAL: Duration = QUIET_POLL;
/// Between two checks whether the owners of what is read are dead.
const REAP_INTERVAL: Duration = Duration::from_millis(250);
/// Between two checks of all owners.
const REAP_ALL_INTERVAL: Duration = Duration::from_secs(10);
/// Between two clean-ups while runs are open or read, and when none are.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// The same while an end may have to be stored again: others soon take a run whose end was lost for interrupted.
const ENDED_TIDY_INTERVAL: Duration = Duration::from_secs(5);
/// How long an unused thread stays to store what is left.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long an owner may take to reply to a command.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many questions are answered before anything else is done.
const QUESTIONS_A_TURN: usize = 64;

/// The engine's own references to what is shared: two of the worker, two of its end, one of the list of engines. Any
/// other belongs to a manager, or to a run that somebody reads.
const OWN_REFERENCES: usize = 5;

/// A command that waits for its reply.
pub(super) struct Sent {
    pub number: u64,
    pub fence: Fence,
    pub answer: Promise<Option<String>>,
    pub deadline: Instant,
}

/// A command that was executed.
pub(super) struct Executed {
    pub at: Instant,
    pub reply: Option<String>,
    /// The reply is in the store.
    pub is_answered: bool,
}

/// The engine's thread.
pub(super) struct Worker {
    pub source: Box<dyn Source>,
    pub store: Option<Connection>,
    pub shared: Arc<Shared>,
    pub archive: Arc<dyn Archive>,
    pub owned: OwnedRuns,
    /// Runs whose end was stored recently, newest last.
    pub ended: Vec<Ended>,
    /// When the end of a run was last stored.
    pub last_owned: Option<Instant>,
    pub followed: Mirrors,
    pub sent: Vec<Sent>,
    /// Commands that were executed, by their numbers.
    pub executed: HashMap<u64, Executed>,
    pub port: Arc<Port>,
    /// Check everything, whatever the store reports.
    pub check_all: bool,
    /// Runs that this process wrote. The store reports no news of them, but mirrors of other managers need it.
    pub wrote: HashSet<Fence>,
    /// The store has been compared with the runs of this process since it may last have lost data.
    pub is_reconciled: bool,
    pub wake: Wake,
    pub next_write: Instant,
    questions: Receiver<Question>,
    /// Questions that wait until another process releases its lock, with the time they were asked.
    pub postponed: Vec<(Instant, Question)>,
    bell: Receiver<()>,
    pub report: Report,
    last_news: Instant,
    next_poll: Instant,
    next_reap: Instant,
    next_reap_all: Instant,
    next_tidy: Instant,
    next_unread_check: Instant,
    pub retry_at: Option<Instant>,
    pub locked_since: Option<Instant>,
    /// It can be read but has failed to be written.
    pub refuses_writes: bool,
    /// An error may have kept news from being handled.
    pub missed: bool,
    /// How often the store has begun to fail.
    pub stalls: u32,
    /// The last warning about the store's settings.
    pub warned: Option<String>,
}

impl Worker {
    pub fn new(
        source: Box<dyn Source>,
        shared: Arc<Shared>,
        archive: Arc<dyn Archive>,
        questions: Receiver<Question>,
        bell: Receiver<()>,
        report: Report,
    ) -> Self {
        let now = Instant::now();
        let (port, wake) = (port(&shared), wake(&shared));
        Self {
            source,
            store: None,
            archive,
            owned: OwnedRuns::default(),
            ended: Vec::new(),
            last_owned: None,
            followed: Mirrors::default(),
            sent: Vec::new(),
            executed: HashMap::new(),
            port,
            shared,
            check_all: false,
            wrote: HashSet::new(),
            is_reconciled: true,
            wake,
            next_write: now,
            questions,
            postponed: Vec::new(),
            bell,
            report,
            last_news: now,
            next_poll: now,
            next_reap: now,
            next_reap_all: now,
            next_tidy: now,
            next_unread_check: now,
            retry_at: None,
            locked_since: None,
            refuses_writes: false,
            missed: false,
            stalls: 0,
            warned: None,
        }
    }

    pub fn run(mut self) {
        // Announces the end of the thread, however it ends.
        struct Ended(Arc<Shared>, Receiver<Question>);
        impl Drop for Ended {
            fn drop(&mut self) {
                *self.0.users.lock() = None;
                self.0.refuse_wanted();
                // Drops the questions that nobody will answer, so that nobody waits for them.
                self.1.try_iter().for_each(drop);
                if std::thread::panicking() {
                    self.0.health.lock().error = Some("its thread ended unexpectedly".to_owned());
                }
            }
        }
        let ended = Ended(self.shared.clone(), self.questions.clone());
        let mut unused_since = None;
        loop {
            self.wait();
            self.finish_runs_of_dropped_managers();
            self.work(Instant::now());
            // Whoever has a question holds a reference until it is sent: under this lock, one of the two is seen.
            let mut users = self.shared.users.lock();
            if *users != Some(0) {
                unused_since = None;
                continue;
            }
            let since = *unused_since.get_or_insert_with(Instant::now);
            let is_asked = !self.questions.is_empty() || !self.postponed.is_empty();
            let is_unused = Arc::strong_count(&self.shared) <= OWN_REFERENCES && !is_asked;
            let is_done = self.owned.is_empty() && is_unused;
            // A run whose mirror is read has not ended.
            let is_late = !self.owned.is_empty() && self.followed.is_empty() && since.elapsed() > LAST_WRITE;
            if is_done || is_late {
                *users = None;
                break;
            }
        }
        drop(ended);
        let Self { source, store, .. } = self;
        // The source is dropped first, so that the store holds the last reference to this process as an owner.
        drop(source);
        drop(store);
    }

    /// Wait until there is something to do, answering questions.
    fn wait(&mut self) {
        let due = self.due();
        let timeout = due.saturating_duration_since(Instant::now());
        let question = select_biased! {
            recv(self.questions) -> question => question.ok(),
            recv(self.bell) -> _ => None,
            default(timeout) => None,
        };
        self.answer_postponed();
        if let Some(question) = question {
            self.answer(question);
            for _ in 1..QUESTIONS_A_TURN {
                let Ok(question) = self.questions.try_recv() else { break };
                self.answer(question);
            }
        }
    }

    /// When there is something to do, apart from questions.
    fn due(&self) -> Instant {
        let now = Instant::now();
        if !self.shared.wanted.lock().is_empty() {
            return now;
        }
        // A store that fails is not called before the next retry.
        let allowed = |at: Instant| self.retry_at.map_or(at, |retry| at.max(retry));
        let mut due = allowed(self.next_tidy);
        if !self.shared.delayed.lock().is_empty() {
            due = due.min(allowed(now + WRITE_INTERVAL));
        }
        if *self.shared.users.lock() == Some(0) {
            due = now + if self.owned.is_empty() { QUIET_POLL } else { WRITE_INTERVAL };
        }
        if self.refuses_writes && !self.owned.is_empty() {
            due = due.min(now + WOKEN_POLL);
        }
        if self.store.is_none() {
            due = due.min(allowed(now));
        }
        if !self.postponed.is_empty() {
            due = due.min(now + WRITE_INTERVAL);
        }
        if self.has_unstored() {
            due = due.min(allowed(self.next_write));
        }
        if self.polls() {
            due = due.min(allowed(self.next_poll));
        }
        due
    }

    /// Whether a run of this process may have something that is not stored, or no longer stored.
    pub fn has_unstored(&self) -> bool {
        !self.is_reconciled || self.owned.has_ready()
    }

    /// Whether news of other processes matters.
    fn polls(&self) -> bool {
        self.accepts_commands() || !self.followed.is_empty() || !self.sent.is_empty()
    }

    /// Whether there may be commands for this process. A run that has just ended counts: its commands still get
    /// replies.
    pub fn accepts_commands(&self) -> bool {
        !self.owned.is_empty() || self.last_owned.is_some_and(|at| at.elapsed() < REPLY_TIMEOUT)
    }

    fn work(&mut self, now: Instant) {
        if now >= self.next_unread_check {
            self.drop_unread_mirrors();
            self.next_unread_check = now + UNREAD_INTERVAL;
        }
        if self.retry_at.is_some_and(|at| now < at) {
            // A store that refuses events may still accept a sign of life. The outcome does not matter here.
            let is_alive = self.store.as_mut().filter(|_| !self.owned.is_empty()).map(|store| store.keep_alive());
            if matches!(is_alive, Some(Ok(false))) {
                self.is_reconciled = false;
                let _ = self.reconcile();
            }
            self.serve_wanted();
            return;
        }
        if !self.connect() {
            self.serve_wanted();
            return;
        }
        self.note_ready();
        if now >= self.next_write {
            let _ = self.write();
        }
        self.serve_wanted();
        let has_news = self.shared.has_news.swap(false, Ordering::Acquire);
        if self.polls() && (now >= self.next_poll || has_news || self.check_all || !self.wrote.is_empty()) {
            self.poll(now);
        } else if has_news && !self.ended.is_empty() {
            // A lost connection counts as news: the server that took over may lack ends.
            let _ = self.ask(|store| store.news());
        }
        self.reap(now);
        if now >= self.next_tidy {
            self.tidy(now);
        }
        self.count();
    }

    fn poll(&mut self, now: Instant) {
        let (check_all, wrote) = (std::mem::take(&mut self.check_all), std::mem::take(&mut self.wrote));
        self.keep_alive();
        let news = self.ask(|store| store.news());
        // What an error prevented is done at the next poll.
        let check_all = check_all || std::mem::replace(&mut self.missed, news.is_err());
        let mut news = news.ok().filter(|_| !check_all).unwrap_or_else(News::anything);
        if let Some(runs) = &mut news.runs {
            runs.extend(wrote);
        }
        if news != News::nothing() {
            self.last_news = now;
            if news.messages {
                self.execute_commands();
            }
            self.fill_mirrors(&news);
        }
        self.take_replies(&news);
        self.end_lost_mirrors(now);
        let is_quiet = self.sent.is_empty() && (self.followed.is_empty() || self.last_news.elapsed() > QUIET_AFTER);
        let interval = match self.store.as_ref() {
            Some(store) if store.wakes() => WOKEN_POLL,
            _ if is_quiet => QUIET_POLL,
            Some(store) if self.last_news.elapsed() < EAGER_FOR => store.eager_poll().unwrap_or(BUSY_POLL),
            _ => BUSY_POLL,
        };
        self.next_poll = Instant::now() + interval;
    }

    /// Show that this process is alive. Called often, however much else there is to do.
    pub fn keep_alive(&mut self) {
        if !self.owned.is_empty() && matches!(self.ask(|store| store.keep_alive()), Ok(false)) {
            self.is_reconciled = false;
            let _ = self.reconcile();
        }
    }

    /// Check for news at once, because something new is read.
    pub fn check_now(&mut self) {
        self.check_all = true;
        self.last_news = Instant::now();
    }

    /// Clean up soon, because a run has been opened or subscribed to, if only for the rest of this turn.
    pub fn tidy_soon(&mut self) {
        self.next_tidy = self.next_tidy.min(Instant::now() + TIDY_INTERVAL);
    }

    fn reap(&mut self, now: Instant) {
        let all = now >= self.next_reap_all;
        if !all && (now < self.next_reap || (self.followed.is_empty() && self.sent.is_empty())) {
            return;
        }
        let mut fences: Vec<Fence> = self.followed.iter().filter_map(|followed| followed.fence).collect();
        fences.extend(self.sent.iter().map(|sent| sent.fence));
        if let Ok(ended) = self.ask(|store| store.reap(&fences, all))
            && ended > 0
        {
            self.check_now();
            self.warn(&format!("Ended {ended} runs as interrupted, because their process has died"));
        }
        self.next_reap = now + REAP_INTERVAL;
        if all {
            self.next_reap_all = now + REAP_ALL_INTERVAL;
        }
    }

    fn tidy(&mut self, now: Instant) {
        // Outcomes may have been noted for runs that are no longer stored, or that ended elsewhere first.
        let stored: HashSet<Fence> = self.owned.iter().map(|owned| owned.record.fence).collect();
        self.shared.outcomes.lock().retain(|fence, _| stored.contains(fence));
        if let Ok(ended @ 1..) = self.ask(|store| store.disown(&stored)) {
            self.check_now();
            self.warn(&format!(
                "Ended {ended} runs that the store lists as this process's, but that are not open here"
            ));
        }
        self.drop_old_ends();
        let more = self.ask(|store| store.tidy());
        if more.is_ok() {
            self.recover_if_stored();
        }
        if let Ok(usage) = self.ask(|store| store.usage()) {
            self.shared.health.lock().usage = usage;
        }
        let interval = match self.ended.is_empty() {
            _ if self.polls() => TIDY_INTERVAL,
            true => IDLE_TIDY_INTERVAL,
            false => ENDED_TIDY_INTERVAL,
        };
        self.next_tidy = now + if matches!(more, Ok(true)) { WRITE_INTERVAL } else { interval };
    }

    fn count(&self) {
        let mut health = self.shared.health.lock();
        health.owned_runs = self.owned.len();
        health.mirrors = self.followed.runs();
    }

    fn finish_runs_of_dropped_managers(&mut self) {
        let left = std::mem::take(&mut *self.shared.dropped_managers.lock());
        for manager in left {
            for owned in self.owned.iter_mut().filter(|owned| owned.manager.is_same(&manager)) {
                let payload = interrupted_event(&owned.run.id);
                manager.finish_life(&owned.run, payload, |fence| {
                    self.shared.outcomes.lock().insert(fence, Outcome::interrupted());
                });
                owned.is_abandoned = true;
            }
            let ended = self.ended.iter_mut().map(|ended| &mut ended.owned);
            ended.filter(|owned| owned.manager.is_same(&manager)).for_each(|owned| owned.is_abandoned = true);
            self.drop_old_ends();
        }
    }
}
