//! The connections, and which of them to look at next.

use std::sync::Arc;
use std::time::Instant;

use mio::event::Event;
use mio::{Interest, Registry, Token};
use rustc_hash::{FxHashMap, FxHashSet};
use slab::Slab;

use super::Group;
use super::coding::Coder;
use super::connection::{Connection, Next};
use super::timers::Timers;
use crate::core::{Key, Port};

/// Every connection of this process.
#[derive(Default)]
pub struct Table {
    connections: Slab<Connection>,
    /// The connections that read a run, by its key.
    readers: FxHashMap<Key, FxHashSet<usize>>,
    timers: Timers,
    /// The connections to be looked at next, each once.
    queue: Vec<usize>,
}

/// What connections need to go on.
pub struct Tools {
    pub registry: Registry,
    pub port: Arc<Port>,
    pub coder: Coder,
}

impl Table {
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// When to look again if nothing happens.
    pub fn next_look(&self) -> Option<Instant> {
        if self.queue.is_empty() { self.timers.next() } else { Some(Instant::now()) }
    }

    /// Take a connection in. One that cannot be watched is closed.
    pub fn add(&mut self, mut connection: Connection, registry: &Registry) {
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut connection.socket, Token(id), interest).is_err() {
            return connection.close();
        }
        self.readers.entry(connection.key).or_default().insert(id);
        entry.insert(connection);
        self.enqueue(id);
    }

    /// Note what the system says of a socket.
    pub fn on_event(&mut self, event: &Event, registry: &Registry) {
        let id = event.token().0;
        if event.is_error() || event.is_read_closed() || event.is_write_closed() {
            self.remove(id, registry);
        } else if self.connections.get(id).is_some_and(|connection| connection.is_interested(event)) {
            self.enqueue(id);
        }
    }

    /// Note that a run has changed.
    pub fn on_change(&mut self, key: Key) {
        let Some(readers) = self.readers.get(&key) else { return };
        for id in readers {
            if let Some(connection) = self.connections.get_mut(*id).filter(|reader| !reader.is_stalled()) {
                push(&mut self.queue, connection, *id);
            }
        }
    }

    /// Act on the alarms that have gone off.
    pub fn on_time(&mut self, now: Instant, tools: &Tools) {
        while let Some((at, id)) = self.timers.pop_due(now) {
            let Some(connection) = self.connections.get_mut(id).filter(|found| found.alarm == Some(at)) else {
                continue;
            };
            connection.alarm = None;
            match connection.check(now, &tools.coder) {
                Next::Remove => self.remove(id, &tools.registry),
                Next::Again | Next::Wait => self.set_alarm(id),
            }
        }
    }

    /// End the streams of a group.
    pub fn drain(&mut self, group: &Arc<Group>, cutoff: Instant) {
        for (id, connection) in &mut self.connections {
            if connection.is_of(group) {
                connection.drain(cutoff);
                push(&mut self.queue, connection, id);
            }
        }
    }

    /// Take what is to be looked at next.
    pub fn take_queue(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.queue)
    }

    /// Go on with some connections.
    pub fn advance(&mut self, ids: &[usize], now: Instant, tools: &mut Tools) {
        for &id in ids {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.queued = false;
            match connection.advance(now, &tools.port, &mut tools.coder) {
                Next::Remove => {
                    self.remove(id, &tools.registry);
                    continue;
                }
                Next::Again => push(&mut self.queue, connection, id),
                Next::Wait => {}
            }
            self.set_alarm(id);
        }
    }

    fn enqueue(&mut self, id: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            push(&mut self.queue, connection, id);
        }
    }

    /// See to it that the alarm goes off at the deadline or before.
    fn set_alarm(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(deadline) = connection.deadline() else { return };
        if connection.alarm.is_none_or(|alarm| alarm > deadline) {
            connection.alarm = Some(deadline);
            self.timers.set(deadline, id);
        }
    }

    fn remove(&mut self, id: usize, registry: &Registry) {
        let Some(mut connection) = self.connections.try_remove(id) else { return };
        // The description may be open in a child, too, and would be reported for as long.
        let _ = registry.deregister(&mut connection.socket);
        connection.close();
        if let Some(readers) = self.readers.get_mut(&connection.key) {
            readers.remove(&id);
            if readers.is_empty() {
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
