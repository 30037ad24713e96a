//! Streams of runs to clients, written by threads that know nothing of Python.
//!
//! A server starts a response as always. Then a duplicate of its socket is handed over ([`hand_over`]), with a cursor on
//! the run; the server forgets the connection, and a thread writes what the run publishes until the run ends, the
//! client leaves or takes nothing for too long, or the group it belongs to is drained.
//!
//! One thread starts with the first stream; while there are thousands, one a core at most ([`Threads`]). Each ends with its
//! last stream. A run wakes a thread through one [`Port`], once a burst.
//!
//! # Readiness and sending
//!
//! `mio` watches the sockets, edge-triggered: each is registered once, and neither a delivered event nor a client that
//! stalls costs another system call. On Linux `io_uring` sends to many sockets with one system call, which takes a fifth
//! to a third of the CPU off each `send`; the rest is the network stack's work. What a socket does not take at once is
//! written to it alone, and so is everything where there is no `io_uring`: it is often forbidden in containers.
//!
//! One port a run is armed for all its readers, when the first of them has sent everything.
//!
//! # Locks and forks
//!
//! Each thread's table of connections is behind a lock so that the child of a fork can close what it inherits
//! ([`close_in_child`]). The thread holds it for some tens of sends at a time, and never while it sleeps. Lock order:
//! `Hub.table`, or `THREADS`; then `Hub.arrivals`; then the core's. Other readers that this wakes are woken when it is
//! unlocked ([`once_unlocked`](crate::core::fork::once_unlocked)).

mod coding;
mod connection;
#[cfg(target_os = "linux")]
mod ring;
#[cfg(not(target_os = "linux"))]
#[path = "no_ring.rs"]
mod ring;
mod stats;
mod table;
mod thread;
mod threads;
mod timers;

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use connection::Connection;
pub use stats::Stats;
use stats::TAKEN;
use threads::Threads;

use crate::core::Subscription;
use crate::core::sync::Mutex;

/// The threads of this process.
static THREADS: Mutex<Threads> = Mutex::new(Threads::new());

/// How a stream behaves.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long nothing may be sent before a comment is.
    pub heartbeat: Option<Duration>,
    /// How long a client may take nothing of what waits for it.
    pub send_timeout: Duration,
    /// How many milliseconds a client is to wait before it comes back, if the stream is drained.
    pub retry: u32,
}

/// Streams that are drained together: those of one server.
#[derive(Debug, Default)]
pub struct Group {
    open: AtomicUsize,
}

impl Group {
    /// How many of its streams have not ended.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Send `subscription` to the client at the other end of `socket`, in the chunked coding of a response that has begun.
///
/// # Errors
///
/// The descriptor is no socket, or there is no memory or descriptor left for a thread. Nothing has been sent.
pub fn hand_over(
    socket: OwnedFd,
    subscription: Arc<Subscription>,
    options: Options,
    group: &Arc<Group>,
) -> io::Result<()> {
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    // A socket of another kind has no such option, and needs none.
    let _ = socket.set_nodelay(true);
    let mut threads = THREADS.lock();
    let hub = threads.choose()?;
    let connection = Connection::new(mio::net::TcpStream::from_std(socket), subscription, options, group.clone());
    // The thread does not end while `THREADS` is locked.
    let mut arrivals = hub.arrivals.lock();
    arrivals.connections.push(connection);
    let are_awaited = std::mem::replace(&mut arrivals.are_awaited, true);
    drop(arrivals);
    if !are_awaited {
        hub.wake();
    }
    TAKEN.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// End the streams of `group`, with a hint when to come back; drop clients that take longer than `grace`.
pub fn drain(group: &Arc<Group>, grace: Duration) {
    let Some(cutoff) = Instant::now().checked_add(grace) else { return };
    let hubs = THREADS.lock().all();
    for hub in hubs {
        hub.arrivals.lock().drains.push((group.clone(), cutoff));
        hub.wake();
    }
}

/// Close the parent's sockets without sending anything. Call it in the child of each fork.
pub fn close_in_child() {
    // The gate kept the threads from these locks while the process was copied.
    let hubs = THREADS.lock().take();
    hubs.iter().for_each(|hub| hub.close());
}
