//! What processes ask of each other's runs, and the replies.

use std::time::Instant;

use super::store::{Command, Error, News};
use super::worker::Worker;
use crate::core::{Fence, RunId, RunManager, fork};

impl Worker {
    /// Do what other processes ask of the runs that are open here.
    pub(super) fn obey_commands(&mut self) {
        if !self.heeds_commands() && self.obeyed.is_empty() {
            return;
        }
        let Ok(commands) = self.ask(|store| store.commands()) else { return };
        for (number, fence, command) in commands {
            if !self.obeyed.contains_key(&number) {
                let reply = self.obey(fence, command);
                self.obeyed.insert(number, reply);
            }
        }
        // What was published for others is stored before they hear of it.
        self.write();
        let numbers: Vec<u64> = self.obeyed.keys().copied().collect();
        for number in numbers {
            let reply = self.obeyed.get(&number).cloned().flatten();
            if self.ask(|store| store.reply(number, reply.as_deref())).is_err() {
                return;
            }
            self.obeyed.remove(&number);
            // Who asked may be this process.
            self.look = true;
        }
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
        for sent in std::mem::take(&mut self.sent) {
            let may_be_there = news.messages || news.runs.as_ref().is_none_or(|runs| runs.contains(&sent.fence));
            let reply = if may_be_there { self.ask(|store| store.take_reply(sent.number)) } else { Ok(None) };
            match reply {
                Ok(Some(reply)) => drop(sent.answer.give(Ok(Some(reply).filter(|reply| !reply.is_empty())))),
                _ if now >= sent.deadline => {
                    let error = "the process that runs it did not answer in time; it may be stopped or overloaded";
                    drop(sent.answer.give(Err(Error::Failed(error.to_owned()))));
                }
                _ => self.sent.push(sent),
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
