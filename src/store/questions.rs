//! How the engine's thread answers questions: beginning, finding, reading and commanding runs.

use std::time::Instant;

use super::answer::Promise;
use super::asking::LOCKED_TIMEOUT;
use super::engine::QUESTIONS;
use super::followed::Followed;
use super::owned::Owned;
use super::record::{Found, Outcome, Record, interrupted_event};
use super::shared::{Opened, Question, wait_for_fork};
use super::store::{Append, Begun, Command, Error, NewRun, Result, StoredEvent};
use super::worker::{REPLY_TIMEOUT, Sent, Worker};
use crate::core::archive::{Life, Terminal};
use crate::core::run::Run;
use crate::core::sync::Arc as CoreArc;
use crate::core::{Fence, Payload, RunId, RunManager, Seq, Start, Subscription};

impl Worker {
    /// Answer a question, at once or when another process has released its lock.
    pub(super) fn answer(&mut self, question: Question) {
        let now = Instant::now();
        let writes = matches!(question, Question::Begin(..) | Question::Keep(..) | Question::Command(..));
        if !writes || self.postponed.is_empty() {
            self.try_answer(now, question);
        } else if self.postponed.len() < QUESTIONS {
            // Postponed questions are answered in order, and one at a time, because each would wait for the lock.
            self.postponed.push((now, question));
        } else {
            question.refuse();
        }
    }

    /// Answer the postponed questions, until one finds the store locked again. Those that have waited too long are
    /// refused: who asked may have given up, and would not expect it to be done any more.
    pub(super) fn answer_postponed(&mut self) {
        for (asked, question) in std::mem::take(&mut self.postponed) {
            if asked.elapsed() >= LOCKED_TIMEOUT {
                question.refuse();
            } else if self.postponed.is_empty() {
                self.try_answer(asked, question);
            } else {
                self.postponed.push((asked, question));
            }
        }
    }

    fn try_answer(&mut self, asked: Instant, question: Question) {
        match question {
            Question::Begin(manager, run, answer) => {
                let opened = self.begin(&manager, &run);
                let again = |answer| Question::Begin(manager.clone(), run, answer);
                if let Some(Opened::Run(run_id, _)) = self.give(asked, opened, answer, again) {
                    manager.finish(run_id.as_ref(), interrupted_event(&run_id), false);
                }
            }
            Question::Keep(manager, run_id, answer) => {
                let kept = self.keep(&manager, &run_id);
                self.give(asked, kept, answer, |answer| Question::Keep(manager, run_id, answer));
            }
            Question::Subscribe(manager, run_id, start, must_exist, answer) => {
                let subscription = self.subscribe(&manager, &run_id, start, must_exist);
                let again = |answer| Question::Subscribe(manager, run_id, start, must_exist, answer);
                // If nobody waits any more, the reader is dropped, which closes it.
                drop(self.give(asked, subscription, answer, again));
            }
            Question::Command(run_id, command, answer) => match self.send(&run_id, &command) {
                Ok(Some((fence, number))) if !matches!(command, Command::Cancel) => {
                    self.sent.push(Sent { number, fence, answer, deadline: Instant::now() + REPLY_TIMEOUT });
                }
                sent => {
                    let sent = sent.map(|sent| sent.map(|_| String::new()));
                    self.give(asked, sent, answer, |answer| Question::Command(run_id, command, answer));
                }
            },
            Question::Owns(manager, run_id, answer) => drop(answer.give(self.owns(&manager, &run_id))),
            Question::Find(run_id, with_result, answer) => {
                let found = self.find(&run_id).and_then(|found| self.add_results(found, with_result));
                let found = found.map(|found| found.into_iter().next());
                self.give(asked, found, answer, |answer| Question::Find(run_id, with_result, answer));
            }
            Question::List(query, with_results, answer) => {
                let _ = self.write();
                let records = self.ask_twice(|store| store.list(&query));
                drop(answer.give(records.and_then(|records| self.add_results(records, with_results))));
            }
            Question::Flush(answer) => {
                let flushed = self.flush();
                drop(answer.give(flushed));
            }
            Question::Close(answer, resumed) => {
                if let Some(mut store) = self.store.take() {
                    store.close();
                }
                drop(answer.give(Ok(())));
                wait_for_fork(&resumed);
                self.check_now();
            }
        }
    }

    /// Give an answer, or postpone the question made by `again` if the store is locked.
    /// Returns the answer if nobody waits for it any more.
    fn give<T>(
        &mut self,
        asked: Instant,
        result: Result<T>,
        answer: Promise<T>,
        again: impl FnOnce(Promise<T>) -> Question,
    ) -> Option<T> {
        if matches!(result, Err(Error::Busy)) {
            self.postponed.push((asked, again(answer)));
            return None;
        }
        answer.give(result).err().and_then(Result::ok)
    }

    fn begin(&mut self, manager: &RunManager, new: &NewRun) -> Result<Opened> {
        let record = match self.begin_record(new)? {
            Begun::Started(record) => record,
            Begun::RunActive(record) => return Ok(Opened::RunActive(record)),
            Begun::KeyActive(record) => return Ok(Opened::KeyActive(record)),
        };
        let (cancel, run) = match manager.open_stored(record.run_id.as_ref(), record.fence, &self.archive) {
            Ok(opened) => opened,
            Err(error) => {
                // It is open here but unknown to the store, as after a failure: nobody would end the record.
                self.abandon(&record);
                return Err(Error::Failed(error.to_string()));
            }
        };
        let run_id = record.run_id.clone();
        self.own(manager, run, record);
        Ok(Opened::Run(run_id, cancel))
    }

    fn begin_record(&mut self, new: &NewRun) -> Result<Begun> {
        let begun = self.begin_or_find(new)?;
        if matches!(begun, Begun::Started(_)) {
            self.recover_if_stored();
        }
        Ok(begun)
    }

    fn begin_or_find(&mut self, new: &NewRun) -> Result<Begun> {
        let written = self.write();
        match self.ask_twice(|store| store.begin(new))? {
            // It has ended, but that is not stored yet.
            Begun::RunActive(record) | Begun::KeyActive(record) if self.is_ending(&record) => {
                written.and(Err(Error::Busy))
            }
            Begun::RunActive(record) | Begun::KeyActive(record) if self.is_unacknowledged(new, &record)? => {
                Ok(Begun::Started(record))
            }
            Begun::RunActive(record) | Begun::KeyActive(record) if self.reap_run(record.fence)? => {
                self.ask(|store| store.begin(new))
            }
            begun => Ok(begun),
        }
    }

    /// Whether a run of this process has ended since its record was stored.
    fn is_ending(&self, record: &Record) -> bool {
        self.owned.of_fence(record.fence).is_some_and(|owned| owned.run.lock().log.is_finished())
    }

    /// Whether a record is that of the run to begin: an earlier attempt began it, but its answer was lost.
    fn is_unacknowledged(&mut self, new: &NewRun, record: &Record) -> Result<bool> {
        let is_same = (&record.key, &record.name) == (&new.key, &new.name)
            && new.run_id.as_ref().is_none_or(|run_id| *run_id == record.run_id);
        let is_known = record.last > Seq::ZERO || self.owned.of_fence(record.fence).is_some();
        Ok(is_same && !is_known && self.ask(|store| store.owns(record.fence))?)
    }

    /// Start to store a run.
    fn own(&mut self, manager: &RunManager, run: CoreArc<Run>, record: Record) {
        self.followed.retain(|followed| !CoreArc::ptr_eq(&followed.run, &run));
        self.owned.insert(Owned { manager: manager.clone(), run, record, next: Seq::FIRST, is_abandoned: false });
        // Another manager of this process may be waiting for it.
        self.check_all |= self.followed.has_waiting();
        self.tidy_soon();
    }

    fn keep(&mut self, manager: &RunManager, run_id: &RunId) -> Result<bool> {
        let new = NewRun { run_id: Some(run_id.clone()), ..NewRun::default() };
        let Begun::Started(record) = self.begin_record(&new)? else { return Ok(false) };
        let life = self.life(&record)?;
        let Some(run) = manager.keep(record.run_id.as_ref(), &life, &self.archive) else {
            self.abandon(&record);
            return Ok(false);
        };
        self.own(manager, run, record);
        Ok(true)
    }

    /// End a run in the store that was never opened here.
    fn abandon(&mut self, record: &Record) {
        let payload = interrupted_event(&record.run_id);
        let run = Append {
            fence: record.fence,
            events: vec![StoredEvent { seq: Seq::FIRST, payload }],
            last: Seq::FIRST,
            end: Some(Outcome::interrupted()),
        };
        // If this fails too, the record ends with the process.
        let _ = self.ask(|store| store.append(&[run]));
    }

    fn owns(&mut self, manager: &RunManager, run_id: &RunId) -> Result<bool> {
        let open = manager.live_run(run_id.as_ref());
        let Some(owned) = open.and_then(|run| self.owned.get(run.key)) else { return Ok(false) };
        let fence = owned.record.fence;
        self.ask(|store| store.owns(fence))
    }

    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>> {
        let _ = self.write();
        match self.ask_twice(|store| store.find(run_id))? {
            Some(record) if record.is_running() && self.reap_run(record.fence)? => self.ask(|store| store.find(run_id)),
            found => Ok(found),
        }
    }

    /// The records, with their results if requested.
    fn add_results(&mut self, records: impl IntoIterator<Item = Record>, are_wanted: bool) -> Result<Vec<Found>> {
        let mut found: Vec<Found> = records.into_iter().map(|record| (record, None)).collect();
        let mut with_result: Vec<_> =
            found.iter_mut().filter(|(record, _)| are_wanted && record.result_kind.is_some()).collect();
        let fences: Vec<Fence> = with_result.iter().map(|(record, _)| record.fence).collect();
        if !fences.is_empty() {
            let results = self.ask_twice(|store| store.results(&fences))?;
            with_result.iter_mut().zip(results).for_each(|((_, result), read)| *result = read);
        }
        Ok(found)
    }

    /// End the runs of a run's owner if it is dead. Returns whether it was.
    fn reap_run(&mut self, fence: Fence) -> Result<bool> {
        let ended = self.ask(|store| store.reap(&[fence], false))? > 0;
        if ended {
            // Their mirrors must learn of it, but a store reports no news of this process's own writes.
            self.check_now();
        }
        Ok(ended)
    }

    fn subscribe(
        &mut self,
        manager: &RunManager,
        run_id: &RunId,
        start: Start,
        must_exist: bool,
    ) -> Result<Option<Subscription>> {
        let Some(record) = self.find(run_id)? else {
            // It may be open here but unknown to a store that was lost, or be retained from before.
            let subscription = manager.subscribe(run_id.as_ref(), start, must_exist);
            let Ok(subscription) = subscription else { return Ok(None) };
            if let Some(run) = manager.live_run(run_id.as_ref())
                && !manager.is_open(run_id.as_ref())
                && !self.followed.iter().any(|followed| CoreArc::ptr_eq(&followed.run, &run))
            {
                self.follow(manager, run, None, Seq::FIRST);
            }
            return Ok(Some(subscription));
        };
        let life = self.life(&record)?;
        let (subscription, run) = manager.subscribe_stored(run_id.as_ref(), &life, &self.archive, start);
        if let Some(run) = run {
            self.followed.retain(|followed| !CoreArc::ptr_eq(&followed.run, &run));
            self.follow(manager, run, Some(life.fence), life.last.next());
        }
        Ok(Some(subscription))
    }

    fn follow(&mut self, manager: &RunManager, run: CoreArc<Run>, fence: Option<Fence>, next: Seq) {
        self.followed.add(Followed { manager: manager.clone(), run, fence, next, missing_since: None });
        self.check_now();
        self.tidy_soon();
    }

    /// Convert a record for the core.
    pub(super) fn life(&mut self, record: &Record) -> Result<Life> {
        let terminal = if record.is_running() { None } else { Some(self.terminal(record)?) };
        Ok(Life { fence: record.fence, last: record.last, terminal })
    }

    /// How a run ended.
    pub(super) fn terminal(&mut self, record: &Record) -> Result<Terminal> {
        let found = self.ask(|store| store.read(record.fence, record.last, 1, 1))?;
        let payload = match found.into_iter().next() {
            Some(event) => event.payload,
            // The record serves instead.
            None => Payload::new(None, &record.as_event()),
        };
        Ok(Terminal { fence: record.end_fence, payload })
    }

    /// Send a command to the owner of a run. Returns the run's fence and the command's number; `None` if the run is not
    /// running.
    fn send(&mut self, run_id: &RunId, command: &Command) -> Result<Option<(Fence, u64)>> {
        let Some(Record { fence, .. }) = self.find(run_id)?.filter(Record::is_running) else { return Ok(None) };
        let number = self.ask(|store| store.send(fence, command))?;
        // The owner may be this process.
        self.check_now();
        Ok(Some((fence, number)))
    }
}
