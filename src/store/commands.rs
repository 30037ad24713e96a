//! Commands of other processes for the runs here, commands for runs elsewhere, and the replies.

use std::time::{Duration, Instant};

use super::owned::Owned;
use super::store::{Command, Error, News};
use super::worker::{Executed, Sent, Worker};
use crate::core::run::Run;
use crate::core::sync::Arc;
use crate::core::{Fence, RunManager, fork};

/// How long after it was executed a command may reappear in a store that is set back.
const EXECUTED_AGE: Duration = Duration::from_secs(60);

impl Worker {
    /// Execute the commands of other processes for the runs that are open here.
    pub(super) fn execute_commands(&mut self) {
        if !self.accepts_commands() && self.executed.values().all(|executed| executed.is_answered) {
            return;
        }
        let Ok(commands) = self.ask(|store| store.commands()) else { return };
        for (number, fence, command) in commands {
            // Commands reappear in a store that was set back. They are replied to again, but not executed again.
            let known = self.executed.remove(&number);
            let (reply, at) = match known {
                Some(known) => (known.reply, known.at),
                None => (self.execute(fence, command), Instant::now()),
            };
            self.executed.insert(number, Executed { reply, at, is_answered: false });
        }
        // What was published on behalf of others is stored before they get the reply.
        if self.write().is_err() {
            return;
        }
        let unanswered = self.executed.iter().filter(|(_, executed)| !executed.is_answered);
        let unanswered: Vec<(u64, Option<String>)> =
            unanswered.map(|(number, executed)| (*number, executed.reply.clone())).collect();
        for (number, reply) in unanswered {
            if self.ask(|store| store.reply(number, reply.as_deref())).is_err() {
                return;
            }
            self.executed.entry(number).and_modify(|executed| executed.is_answered = true);
            // The asker may be this process.
            self.check_all = true;
        }
        // A cancel has no reply, and the same number each time it is requested.
        self.executed.retain(|_, it| !it.is_answered || (it.reply.is_some() && it.at.elapsed() < EXECUTED_AGE));
    }

    fn execute(&self, fence: Fence, command: Command) -> Option<String> {
        let Some(owned) = self.owned.of_fence(fence) else {
            return Some(String::new());
        };
        // By the run rather than its id, because another life of the id may be open by now.
        let Owned { manager, run, .. } = owned;
        match command {
            Command::Cancel => {
                cancel(manager, run, None);
                None
            }
            Command::Publish(payload) => {
                Some(manager.publish_to_life(run, payload).map_or_else(String::new, |id| id.to_string()))
            }
            Command::Finish(payload) => {
                let finished = manager.finish_life(run, payload, |_| ());
                Some(if finished { "finished".to_owned() } else { String::new() })
            }
        }
    }

    /// Pass on the replies that have arrived, and give up on those that are overdue. Only a message or the end of the
    /// run brings a reply.
    pub(super) fn take_replies(&mut self, news: &News) {
        let now = Instant::now();
        let mut at = 0;
        while let Some(&Sent { number, fence, deadline, .. }) = self.sent.get(at) {
            let may_be_there = news.messages || news.runs.as_ref().is_none_or(|runs| runs.contains(&fence));
            let reply = if may_be_there { self.ask(|store| store.take_reply(number)) } else { Ok(None) };
            let answer = match reply {
                Ok(Some(reply)) => Ok(Some(reply).filter(|reply| !reply.is_empty())),
                _ if now >= deadline => {
                    let error = "the process that runs it did not answer in time; it may be stopped or overloaded";
                    Err(Error::Failed(error.to_owned()))
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            // There are none left if the call found that the store was replaced.
            if at < self.sent.len() {
                drop(self.sent.swap_remove(at).answer.give(answer));
            }
        }
    }
}

/// Cancel a run that is open here, with a reason if there is one. The callbacks run in a thread of their own, because an
/// application's callbacks may be slow.
pub(super) fn cancel(manager: &RunManager, run: &Arc<Run>, reason: Option<&'static str>) {
    let Some(event) = manager.cancel_event_of_life(run) else { return };
    let set = move || fork::detached(|| event.set_for(reason));
    let thread = std::thread::Builder::new().name("run-cancel".to_owned()).spawn(set.clone());
    if thread.is_err() {
        // Without a thread, the callbacks hold up the engine, which is better than no cancel.
        set();
    }
}
