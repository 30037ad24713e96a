//! The engine's thread: what it knows, and the order in which it does things.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select_biased};

use super::answer::Promise;
use super::connection::Connection;
use super::followed::Mirrors;
use super::record::{Outcome, Record, interrupted_event};
use super::shared::{Question, Report, Shared, port, wake};
use super::store::{News, Source, Wake};
use crate::core::archive::Archive;
use crate::core::run::Run;
use crate::core::sync::Arc as CoreArc;
use crate::core::wake::Key;
use crate::core::{Fence, Payload, Port, RunManager, Seq};

/// At least so long from the beginning of a write to that of the next, unless much is waiting.
pub(super) const WRITE_INTERVAL: Duration = Duration::from_millis(4);
/// Between two looks for news while something is read or asked for.
const BUSY_POLL: Duration = Duration::from_millis(5);
/// How long after some news more are expected, and a store that is asked cheaply is asked more often.
const EAGER_FOR: Duration = Duration::from_millis(50);
/// Between two looks for news when there has been none for `QUIET_AFTER`; also how late a command may be.
const QUIET_POLL: Duration = Duration::from_millis(40);
const QUIET_AFTER: Duration = Duration::from_secs(2);
/// Between two looks at a store that wakes the engine when there is news.
const WOKEN_POLL: Duration = Duration::from_millis(250);
/// Between two looks for mirrors that nobody reads, which are looked at one by one.
const FORGET_INTERVAL: Duration = QUIET_POLL;
/// Between two looks for dead owners of what is read.
const REAP_INTERVAL: Duration = Duration::from_millis(250);
/// Between two looks for all dead owners.
const REAP_ALL_INTERVAL: Duration = Duration::from_secs(10);
/// Between two clean-ups while runs are open or read, and when not.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
const IDLE_TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// The same while an end may have to be stored again: others take runs whose end was lost for interrupted before long.
const ENDED_TIDY_INTERVAL: Duration = Duration::from_secs(5);
/// How long the thread stays to store what is left when nobody uses it any more.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// How long an owner may take to reply to a command.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// So many questions are answered before anything else is done again.
const QUESTIONS_A_TURN: usize = 64;

/// References to what is shared that are the engine's own: two of the worker, two of its end, one of the list of engines.
/// Any other is a manager's, or that of a run that somebody reads.
const OWN_REFERENCES: usize = 5;

/// A run that is open here.
pub(super) struct Owned {
    pub manager: RunManager,
    pub run: CoreArc<Run>,
    /// As it is to be restored if the store loses it.
    pub record: Record,
    /// The first event that is not stored.
    pub next: Seq,
    /// It may have events that are not stored.
    pub is_ready: bool,
    /// Nobody else uses its manager any more.
    pub has_left: bool,
}

impl Owned {
    /// Store what its log holds after `last`, in a store that has no more.
    pub fn store_after(&mut self, last: Seq) {
        (self.next, self.record.last, self.is_ready) = (last.next(), last, true);
    }
}

/// A run that is stored to its end, which a server may lose that is killed, or replaced by another that lags behind.
pub(super) struct Ended {
    pub at: Instant,
    pub owned: Owned,
    pub outcome: Outcome,
}

/// A command whose reply is waited for.
pub(super) struct Sent {
    pub number: u64,
    pub fence: Fence,
    pub answer: Promise<Option<String>>,
    pub deadline: Instant,
}

/// A command that was obeyed.
pub(super) struct Obeyed {
    pub at: Instant,
    pub reply: Option<String>,
    /// The reply is in the store.
    pub is_told: bool,
}

/// The engine's thread.
pub(super) struct Worker {
    pub source: Box<dyn Source>,
    pub store: Option<Connection>,
    pub shared: Arc<Shared>,
    pub archive: Arc<dyn Archive>,
    pub owned: HashMap<Key, Owned>,
    /// Runs whose end was stored last, the newest last.
    pub ended: Vec<Ended>,
    /// When a run was stored to its end last.
    pub last_owned: Option<Instant>,
    pub followed: Mirrors,
    pub sent: Vec<Sent>,
    /// Commands that were obeyed, by their numbers.
    pub obeyed: HashMap<u64, Obeyed>,
    pub port: Arc<Port>,
    /// Everything is to be looked at, whatever the store says.
    pub look: bool,
    /// Runs that this process wrote: no news of the store's, but perhaps to mirrors of other managers.
    pub wrote: HashSet<Fence>,
    /// What the store has of the runs of this process was looked at since it may have lost some of it.
    pub is_reviewed: bool,
    pub wake: Wake,
    pub next_write: Instant,
    questions: Receiver<Question>,
    /// Questions that wait for the lock of another process, each with when it was asked.
    pub postponed: Vec<(Instant, Question)>,
    bell: Receiver<()>,
    pub report: Report,
    last_news: Instant,
    next_poll: Instant,
    next_reap: Instant,
    next_reap_all: Instant,
    next_tidy: Instant,
    next_forget: Instant,
    pub retry_at: Option<Instant>,
    pub locked_since: Option<Instant>,
    /// It failed although it can be read.
    pub refuses_writes: bool,
    /// An error kept news from being looked at.
    pub missed: bool,
    /// How often the store began to fail.
    pub stalls: u32,
    /// What was said of the store's settings.
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
            owned: HashMap::new(),
            ended: Vec::new(),
            last_owned: None,
            followed: Mirrors::default(),
            sent: Vec::new(),
            obeyed: HashMap::new(),
            port,
            shared,
            look: false,
            wrote: HashSet::new(),
            is_reviewed: true,
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
            next_forget: now,
            retry_at: None,
            locked_since: None,
            refuses_writes: false,
            missed: false,
            stalls: 0,
            warned: None,
        }
    }

    pub fn run(mut self) {
        // Says that the thread has ended, however it does.
        struct Ended(Arc<Shared>, Receiver<Question>);
        impl Drop for Ended {
            fn drop(&mut self) {
                *self.0.users.lock() = None;
                self.0.refuse_wanted();
                // Nobody waits for what nobody will answer.
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
            self.finish_runs_of_managers_that_left();
            self.work(Instant::now());
            // Whoever has something to ask holds a reference until it is asked: under this lock, either is seen.
            let mut users = self.shared.users.lock();
            if *users != Some(0) {
                unused_since = None;
                continue;
            }
            let since = *unused_since.get_or_insert_with(Instant::now);
            let is_asked = !self.questions.is_empty() || !self.postponed.is_empty();
            let is_unused = Arc::strong_count(&self.shared) <= OWN_REFERENCES && !is_asked;
            let is_done = self.owned.is_empty() && is_unused;
            // While a mirror is read, its run is yet to end.
            let is_late = !self.owned.is_empty() && self.followed.is_empty() && since.elapsed() > LAST_WRITE;
            if is_done || is_late {
                *users = None;
                break;
            }
        }
        drop(ended);
        let Self { source, store, .. } = self;
        // The store is the last to know this process as an owner.
        drop(source);
        drop(store);
    }

    /// Wait until there is something to do, and answer questions.
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

    /// When there is something to do, if nobody asks.
    fn due(&self) -> Instant {
        let now = Instant::now();
        if !self.shared.wanted.lock().is_empty() {
            return now;
        }
        // Nothing is asked of a store that fails before it is tried again.
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

    /// Whether a run of this process may have something that is not stored, or not any more.
    pub fn has_unstored(&self) -> bool {
        !self.is_reviewed || self.owned.values().any(|owned| owned.is_ready)
    }

    /// Whether news of other processes matter.
    fn polls(&self) -> bool {
        self.heeds_commands() || !self.followed.is_empty() || !self.sent.is_empty()
    }

    /// Whether there may be commands for this process: also for a run that has just ended, of which who sent them is told.
    pub fn heeds_commands(&self) -> bool {
        !self.owned.is_empty() || self.last_owned.is_some_and(|at| at.elapsed() < REPLY_TIMEOUT)
    }

    fn work(&mut self, now: Instant) {
        if now >= self.next_forget {
            self.forget_unread_mirrors();
            self.next_forget = now + FORGET_INTERVAL;
        }
        if self.retry_at.is_some_and(|at| now < at) {
            // A store that refuses events may take a sign of life all the same. Whether it does changes nothing here.
            let is_alive = self.store.as_mut().filter(|_| !self.owned.is_empty()).map(|store| store.keep_alive());
            if matches!(is_alive, Some(Ok(false))) {
                self.is_reviewed = false;
                let _ = self.review();
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
            self.write();
        }
        self.serve_wanted();
        let has_news = self.shared.has_news.swap(false, Ordering::Acquire);
        if self.polls() && (now >= self.next_poll || has_news || self.look || !self.wrote.is_empty()) {
            self.poll(now);
        } else if has_news && !self.ended.is_empty() {
            // A lost connection is news, too: the server that took over may lack ends.
            let _ = self.ask(|store| store.news());
        }
        self.reap(now);
        if now >= self.next_tidy {
            self.tidy(now);
        }
        self.count();
    }

    fn poll(&mut self, now: Instant) {
        let (look, wrote) = (std::mem::take(&mut self.look), std::mem::take(&mut self.wrote));
        self.keep_alive();
        let news = self.ask(|store| store.news());
        // What an error kept from being done is done at the next poll.
        let look = look || std::mem::replace(&mut self.missed, news.is_err());
        let mut news = news.ok().filter(|_| !look).unwrap_or_else(News::anything);
        if let Some(runs) = &mut news.runs {
            runs.extend(wrote);
        }
        if news != News::nothing() {
            self.last_news = now;
            if news.messages {
                self.obey_commands();
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

    /// Show that this process is alive, as is to be done often, however much else there is to do.
    pub fn keep_alive(&mut self) {
        if !self.owned.is_empty() && matches!(self.ask(|store| store.keep_alive()), Ok(false)) {
            self.is_reviewed = false;
            let _ = self.review();
        }
    }

    /// Look again at once: something is read from now on.
    pub fn look_now(&mut self) {
        self.look = true;
        self.last_news = Instant::now();
    }

    /// Clean up before long: a run is open or read from now on, if only until the end of this turn.
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
            self.look_now();
            self.say(&format!("{ended} runs whose process ended have been ended as interrupted"));
        }
        self.next_reap = now + REAP_INTERVAL;
        if all {
            self.next_reap_all = now + REAP_ALL_INTERVAL;
        }
    }

    fn tidy(&mut self, now: Instant) {
        // An outcome may have been noted of a run that is stored no more, or that ended elsewhere first.
        let stored: HashSet<Fence> = self.owned.values().map(|owned| owned.record.fence).collect();
        self.shared.outcomes.lock().retain(|fence, _| stored.contains(fence));
        if let Ok(ended @ 1..) = self.ask(|store| store.disown(&stored)) {
            self.look_now();
            self.say(&format!(
                "{ended} runs that the store had as this process's own, and it did not, have been ended"
            ));
        }
        self.forget_ends();
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

    fn finish_runs_of_managers_that_left(&mut self) {
        let left = std::mem::take(&mut *self.shared.left.lock());
        for manager in left {
            for owned in self.owned.values_mut().filter(|owned| owned.manager.is_same(&manager)) {
                let payload = Payload::new(None, &interrupted_event(&owned.run.id));
                if manager.is_open(owned.run.id.as_ref()) {
                    self.shared.outcomes.lock().insert(owned.record.fence, Outcome::interrupted());
                    manager.finish(owned.run.id.as_ref(), payload, false);
                }
                owned.is_ready = true;
                owned.has_left = true;
            }
            let ended = self.ended.iter_mut().map(|ended| &mut ended.owned);
            ended.filter(|owned| owned.manager.is_same(&manager)).for_each(|owned| owned.has_left = true);
            self.forget_ends();
        }
    }
}
