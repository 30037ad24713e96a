//! A thread: it sleeps until something happens, then advances the connections concerned.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::coding::Coder;
use super::connection::Connection;
use super::ring::{ENTRIES, Ring};
use super::table::{Table, Tools};
use super::{Group, THREADS};
use crate::core::Port;
use crate::core::fork::detached;
use crate::core::sync::Mutex;

/// The token of the waker; no connection has this number.
const WAKER: Token = Token(usize::MAX);
/// Maximum number of events per poll.
const EVENTS: usize = 1024;
/// How many connections are advanced while the table is locked and a fork waits: about half a millisecond.
const BATCH: usize = ENTRIES;
/// How long the thread lets more connections gather after some have arrived. When thousands arrive at once, waking it
/// for each of them would cost more than adding them.
const GATHER: Duration = Duration::from_millis(1);

/// What the thread shares with those that hand over streams.
pub struct Hub {
    pub arrivals: Mutex<Arrivals>,
    table: Mutex<Table>,
    /// The number of connections in the table, including those removed since the thread's last look.
    held: AtomicUsize,
    waker: Arc<Waker>,
}

/// What the thread has not seen yet.
#[derive(Default)]
pub struct Arrivals {
    pub connections: Vec<Connection>,
    /// The thread has been woken for them, or will look within [`GATHER`] anyway.
    pub are_awaited: bool,
    /// The groups to drain, each with the deadline of its clients, if they have any.
    pub drains: Vec<(Arc<Group>, Option<Instant>)>,
}

impl Hub {
    /// Start the thread.
    pub fn start() -> io::Result<Arc<Self>> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Arc::new(Waker::new(&registry, WAKER)?);
        let port = Port::new(Box::new({
            let waker = waker.clone();
            // On an error the thread is awake anyway: the counter behind the waker is full.
            move || {
                let _ = waker.wake();
            }
        }));
        let hub =
            Arc::new(Self { arrivals: Mutex::default(), table: Mutex::default(), held: AtomicUsize::new(0), waker });
        let tools = Tools { registry, port: Arc::new(port), coder: Coder::new(), ring: Ring::new() };
        let shared = hub.clone();
        thread::Builder::new()
            .name("genglossary-streams".to_owned())
            .spawn(move || detached(|| shared.run(poll, tools)))?;
        Ok(hub)
    }

    /// About how many connections the thread has, including those that it has not seen yet.
    pub fn load(&self) -> usize {
        self.held.load(Ordering::Relaxed) + self.arrivals.lock().connections.len()
    }

    /// Wake the thread to handle what has arrived.
    pub fn wake(&self) {
        let _ = self.waker.wake();
    }

    /// Close every connection in a forked child, which has no such thread.
    pub fn close(&self) {
        let arrivals = std::mem::take(&mut *self.arrivals.lock());
        let table = std::mem::take(&mut *self.table.lock());
        drop((arrivals, table));
    }

    fn run(self: Arc<Self>, mut poll: Poll, mut tools: Tools) {
        let mut events = Events::with_capacity(EVENTS);
        let mut timeout = None;
        loop {
            // After an interrupting signal, it finds nothing and sleeps again.
            let _ = poll.poll(&mut events, timeout);
            let (queue, more_may_come) = self.look(&events, &mut tools);
            events.clear();
            for batch in queue.chunks(BATCH) {
                self.table.lock().advance(batch, Instant::now(), &mut tools);
            }
            let table = self.table.lock();
            // Its chunk may own Python objects, so it is dropped under the lock, for which a fork waits.
            tools.coder.clear();
            timeout = table.next_look().map(|at| at.saturating_duration_since(Instant::now()));
            if more_may_come {
                timeout = Some(timeout.map_or(GATHER, |timeout| timeout.min(GATHER)));
            }
            let held = table.len();
            self.held.store(held, Ordering::Relaxed);
            drop(table);
            if held == 0 && self.ends() {
                return;
            }
        }
    }

    /// Handle what has happened. Returns the connections to advance, and whether more may arrive soon.
    fn look(&self, events: &Events, tools: &mut Tools) -> (Vec<usize>, bool) {
        let now = Instant::now();
        // In this order, so that a fork finds every connection in one of the two.
        let mut table = self.table.lock();
        let mut shared = self.arrivals.lock();
        let arrivals = std::mem::take(&mut *shared);
        self.held.fetch_add(arrivals.connections.len(), Ordering::Relaxed);
        let more_may_come = !arrivals.connections.is_empty();
        shared.are_awaited = more_may_come;
        drop(shared);
        for event in events.iter().filter(|event| event.token() != WAKER) {
            table.on_event(event);
        }
        // After the events, which may concern a removed connection with the same number.
        arrivals.connections.into_iter().for_each(|connection| table.add(connection, &tools.registry));
        arrivals.drains.iter().for_each(|(group, cutoff)| table.drain(group, *cutoff));
        tools.port.take_ready().into_iter().for_each(|key| table.on_change(key));
        table.on_time(now, tools);
        (table.take_queue(), more_may_come)
    }

    /// Whether the thread may end, because no stream has been handed over meanwhile.
    fn ends(self: &Arc<Self>) -> bool {
        let mut threads = THREADS.lock();
        let idle = self.arrivals.lock().connections.is_empty();
        if idle {
            threads.remove(self);
        }
        idle
    }
}
