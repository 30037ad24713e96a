//! What processes ask of each other's runs, and the replies.

use std::time::{Duration, Instant};

use super::store::{Command, Error, News};
use super::worker::{Obeyed, Sent, Worker};
use crate::core::{Fence, RunId, RunManager, fork};

/// How long a command may be in a store that is set back after it was obeyed.
const OBEYED_AGE: Duration = Duration::from_secs(60);

impl Worker {
    /// Do what other processes ask of the runs that are open here.
    pub(super) fn obey_commands(&mut self) {
        if !self.heeds_commands() && self.obeyed.values().all(|obeyed| obeyed.is_told) {
            return;
        }
        let Ok(commands) = self.ask(|store| store.commands()) else { return };
        for (number, fence, command) in commands {
            // A store that was set back has some again: they are replied to again, but not done again.
            let known = self.obeyed.remove(&number);
            let (reply, at) = match known {
                Some(known) => (known.reply, known.at),
                None => (self.obey(fence, command), Instant::now()),
            };
            self.obeyed.insert(number, Obeyed { reply, at, is_told: false });
        }
        // What was published for others is stored before they hear of it.
        self.write();
        let untold = self.obeyed.iter().filter(|(_, obeyed)| !obeyed.is_told);
        let untold: Vec<(u64, Option<String>)> =
            untold.map(|(number, obeyed)| (*number, obeyed.reply.clone())).collect();
        for (number, reply) in untold {
            if self.ask(|store| store.reply(number, reply.as_deref())).is_err() {
                return;
            }
            self.obeyed.entry(number).and_modify(|obeyed| obeyed.is_told = true);
            // Who asked may be this process.
            self.look = true;
        }
        // A cancel, which has no reply, has the same number whenever it is asked for again.
        self.obeyed.retain(|_, it| !it.is_told || (it.reply.is_some() && it.at.elapsed() < OBEYED_AGE));
    }

    fn obey(&self, fence: Fence, command: Command) -> Option<String> {
        let Some(owned) = self.owned.values().find(|owned| owned.record.fence == fence) else {
            return Some(String::new());
        };
        let run_id = owned.run.id.as_ref();
        match command {
            Command::Cancel => {
                cancel(owned.manager.clone(), owned.run.id.clone(), None);
                None
            }
            Command::Publish(payload) => {
                Some(owned.manager.publish(run_id, payload).map_or_else(String::new, |id| id.to_string()))
            }
            Command::Finish(payload) => {
                let finished = owned.manager.finish(run_id, payload, false);
                Some(if finished { "finished".to_owned() } else { String::new() })
            }
        }
    }

    /// Hand on the replies that have come, and give up on those that have not. Only a message brings one, or the end of the
    /// run.
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
            // None are left if the store turned out to be another one.
            if at < self.sent.len() {
                drop(self.sent.swap_remove(at).answer.give(answer));
            }
        }
    }
}

/// Cancel a run, for a reason if there is one. Its callbacks are the application's and may take their time, so not in the engine's thread.
pub(super) fn cancel(manager: RunManager, run_id: RunId, reason: Option<&'static str>) {
    let set = move || {
        fork::detached(|| match (manager.cancel_event(run_id.as_ref()), reason) {
            (Some(event), Some(reason)) => event.set_because(reason),
            (Some(event), None) => event.set(),
            (None, _) => {}
        });
    };
    let thread = std::thread::Builder::new().name("run-cancel".to_owned()).spawn(set.clone());
    if thread.is_err() {
        // Late, with the callbacks holding up the engine, is better than never.
        set();
    }
}
