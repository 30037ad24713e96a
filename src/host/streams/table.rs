//! The connections of a thread, and which of them to advance next.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Registry, Token};
use rustc_hash::FxHashMap;
use slab::Slab;

use super::Group;
use super::coding::Coder;
use super::connection::{Connection, Next};
use super::ring::Ring;
use super::timers::Timers;
use crate::core::{Epoch, Key, Port};

/// How many stale alarms are kept at least before they are looked for.
const FEW: usize = 1024;

/// The connections of a thread.
#[derive(Default)]
pub struct Table {
    connections: Slab<Connection>,
    /// The connections that read a run, by its key.
    readers: FxHashMap<Key, Readers>,
    timers: Timers,
    /// The connections to advance next. One that is not marked as queued was advanced or removed meanwhile.
    queue: Vec<usize>,
}

/// The connections that read one run.
#[derive(Default)]
struct Readers {
    /// Ordered as they are in memory.
    ids: BTreeSet<usize>,
    /// The epoch after which the port will report the run's next change.
    armed: Option<Epoch>,
}

/// What connections need to advance.
pub struct Tools {
    pub registry: Registry,
    pub port: Arc<Port>,
    pub coder: Coder,
    pub ring: Ring,
}

impl Table {
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// When to check again if nothing happens.
    pub fn next_look(&self) -> Option<Instant> {
        if self.queue.is_empty() { self.timers.next() } else { Some(Instant::now()) }
    }

    /// Add a connection. One that cannot be watched is closed.
    pub fn add(&mut self, mut connection: Connection, registry: &Registry) {
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut connection.socket, Token(id), interest).is_err() {
            return connection.close();
        }
        self.readers.entry(connection.key).or_default().ids.insert(id);
        entry.insert(connection);
        self.enqueue(id);
    }

    /// Handle an event of a socket.
    pub fn on_event(&mut self, event: &Event) {
        let id = event.token().0;
        let Some(connection) = self.connections.get_mut(id) else { return };
        let is_lost = event.is_error() || event.is_read_closed() || event.is_write_closed();
        if is_lost {
            connection.lose();
        }
        if is_lost || connection.is_interested(event) {
            push(&mut self.queue, connection, id);
        }
    }

    /// Handle a change of a run.
    pub fn on_change(&mut self, key: Key) {
        let Some(readers) = self.readers.get_mut(&key) else { return };
        readers.armed = None;
        for id in &readers.ids {
            if let Some(connection) = self.connections.get_mut(*id).filter(|reader| !reader.is_stalled()) {
                push(&mut self.queue, connection, *id);
            }
        }
    }

    /// Handle the alarms that have gone off.
    pub fn on_time(&mut self, now: Instant, tools: &Tools) {
        while let Some((at, id)) = self.timers.pop_due(now) {
            let Some(connection) = self.connections.get_mut(id).filter(|found| found.alarm == Some(at)) else {
                continue;
            };
            connection.alarm = None;
            let next = connection.check(now, &tools.coder);
            self.follow(id, next, tools);
        }
    }

    /// End the streams of a group.
    pub fn drain(&mut self, group: &Arc<Group>, cutoff: Option<Instant>) {
        for (id, connection) in &mut self.connections {
            if connection.is_of(group) {
                connection.drain(cutoff);
                push(&mut self.queue, connection, id);
            }
        }
    }

    /// Take the connections to advance next.
    pub fn take_queue(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.queue)
    }

    /// Advance some connections.
    pub fn advance(&mut self, ids: &[usize], now: Instant, tools: &mut Tools) {
        let mut sending = Vec::with_capacity(ids.len());
        for &id in ids {
            // An id is queued twice if a new connection took the slot of one that was still queued.
            let Some(connection) = self.connections.get_mut(id).filter(|found| found.queued) else { continue };
            connection.queued = false;
            match connection.prepare(now, &mut tools.coder) {
                Next::Send => sending.push(id),
                next => self.follow(id, next, tools),
            }
        }
        let found = sending.iter().filter_map(|&id| self.connections.get(id));
        let parts: Vec<_> = found.map(|connection| (connection.socket.as_fd(), connection.unsent())).collect();
        let taken = tools.ring.send(&parts);
        for (id, taken) in sending.into_iter().zip(taken) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let next = connection.send_rest(taken, now);
            self.follow(id, next, tools);
        }
    }

    /// Do what comes next for a connection.
    fn follow(&mut self, id: usize, next: Next, tools: &Tools) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match next {
            Next::Remove => return self.remove(id, &tools.registry),
            Next::Arm(epoch) => {
                let armed = self.readers.get_mut(&connection.key).map(|readers| &mut readers.armed);
                // Armed once for all readers of the run.
                if armed.as_ref().is_none_or(|armed| **armed != Some(epoch)) {
                    let is_armed = connection.arm(epoch, &tools.port);
                    if let Some(armed) = armed {
                        *armed = is_armed.then_some(epoch);
                    }
                    if !is_armed {
                        push(&mut self.queue, connection, id);
                    }
                }
            }
            // Its alarm is set when it has been advanced.
            Next::Send | Next::Again => return push(&mut self.queue, connection, id),
            Next::Wait => {}
        }
        self.set_alarm(id);
    }

    fn enqueue(&mut self, id: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            push(&mut self.queue, connection, id);
        }
    }

    /// Make sure that an alarm goes off at the deadline or earlier.
    fn set_alarm(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(deadline) = connection.deadline() else { return };
        if connection.alarm.is_none_or(|alarm| alarm > deadline) {
            connection.alarm = Some(deadline);
            self.timers.set(deadline, id);
        }
        // Those of removed connections stay until they go off, which may be in days.
        if self.timers.len() > 4 * self.connections.len() + FEW {
            self.timers = Timers::of(self.connections.iter().filter_map(|(id, found)| Some((found.alarm?, id))));
        }
    }

    fn remove(&mut self, id: usize, registry: &Registry) {
        let Some(mut connection) = self.connections.try_remove(id) else { return };
        // A forked child may have the socket open, too; it would be reported for as long.
        let _ = registry.deregister(&mut connection.socket);
        connection.close();
        if let Some(readers) = self.readers.get_mut(&connection.key) {
            readers.ids.remove(&id);
            if readers.ids.is_empty() {
                self.readers.remove(&connection.key);
            }
        }
    }
}

fn push(queue: &mut Vec<usize>, connection: &mut Connection, id: usize) {
    if !std::mem::replace(&mut connection.queued, true) {
        queue.push(id);
    }
}
