//! Streams of runs to clients, written by threads without Python.
//!
//! A server starts a response as usual. Then a duplicate of its socket is handed over ([`hand_over`]) with a cursor on
//! the run. The server drops the connection, and a thread writes what the run publishes until the run ends, the client
//! disconnects or stalls for too long, or the stream's group is drained.
//!
//! The first stream starts a thread; thousands of streams have up to one thread per core ([`Threads`]). Each thread
//! ends with its last stream. A run wakes a thread through one [`Port`], once per burst.
//!
//! # Readiness and sending
//!
//! `mio` watches the sockets, edge-triggered: each is registered once, and neither a delivered event nor a stalled
//! client costs another system call. On Linux, `io_uring` sends to many sockets with one system call, which saves a
//! fifth to a third of the CPU time of each `send`; the network stack takes the rest. What a socket does not accept at
//! once is written to it separately, and so is everything if there is no `io_uring`, which many containers forbid.
//!
//! One port per run is armed for all its readers, when the first of them has sent everything.
//!
//! # Locks and forks
//!
//! Each thread's table of connections is behind a lock so that a forked child can close what it inherits
//! ([`close_in_child`]). The thread holds it for some tens of sends at a time, and never while it sleeps. Lock order:
//! `Hub.table` or `THREADS`, then `Hub.arrivals`, then the core's. Other readers that a thread wakes meanwhile are
//! woken when it is unlocked ([`once_unlocked`](crate::core::fork::once_unlocked)).

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

/// Options of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Time without an event before a comment is sent; `None` for never.
    pub heartbeat: Option<Duration>,
    /// How long a client may accept none of its pending data.
    pub send_timeout: Duration,
    /// Milliseconds that a client is told to wait before it reconnects, if the stream is drained.
    pub retry: u32,
}

/// Streams that are drained together: those of one server.
#[derive(Debug, Default)]
pub struct Group {
    open: AtomicUsize,
}

impl Group {
    /// The number of its open streams.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

/// Send `subscription` to the client of `socket`, in the chunked coding of a response that has started.
///
/// # Errors
///
/// The descriptor is not a socket, or there is no memory or descriptor left for a thread. Nothing has been sent.
pub fn hand_over(
    socket: OwnedFd,
    subscription: Arc<Subscription>,
    options: Options,
    group: &Arc<Group>,
) -> io::Result<()> {
    let socket = TcpStream::from(socket);
    // First, for `set_nonblocking` would change a file, too, which others may use. Other kinds of sockets lack this option
    // and do not need it.
    if let Err(error) = socket.set_nodelay(true)
        && error.raw_os_error() == Some(libc::ENOTSOCK)
    {
        return Err(error);
    }
    socket.set_nonblocking(true)?;
    let mut threads = THREADS.lock();
    let hub = threads.choose()?;
    let connection = Connection::new(mio::net::TcpStream::from_std(socket), subscription, options, group.clone());
    // The thread cannot end while `THREADS` is locked.
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

/// End the streams of `group` with a hint when to reconnect; drop clients that take longer than `grace`. A grace beyond
/// the clock's range never elapses.
pub fn drain(group: &Arc<Group>, grace: Duration) {
    let cutoff = Instant::now().checked_add(grace);
    let hubs = THREADS.lock().all();
    for hub in hubs {
        hub.arrivals.lock().drains.push((group.clone(), cutoff));
        hub.wake();
    }
}

/// Close the parent's sockets without sending anything. Call it in the child of each fork.
pub fn close_in_child() {
    // The gate kept the threads away from these locks during the fork.
    let hubs = THREADS.lock().take();
    hubs.iter().for_each(|hub| hub.close());
    stats::reset();
}
