//! One client: a socket, a cursor on a run, and what the socket has not accepted yet.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use super::coding::{Coder, LAST_CHUNK, farewell};
use super::stats::{Gauge, OPEN, STALLED, STUCK};
use super::{Group, Options};
use crate::core::subscription::Waiting;
use crate::core::{Epoch, Key, NotReady, Port, Subscription};

/// Maximum size of a chunk in bytes, unless a single frame is longer. A client that does not read holds one chunk.
const CHUNK: usize = 64 << 10;
/// How long a client may take to close its side after the end of its stream. Closing a socket with unread input resets
/// the connection, and the client could lose the end.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that a client may send after the end of its stream before it is disconnected.
const MOST_UNREAD: usize = 64 << 10;

/// The phase of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Events are sent as they arrive.
    Streaming,
    /// The end of the body is about to be sent.
    Ending,
    /// Everything is sent; the client should close its side.
    Lingering,
    /// Its client has gone, or is dropped.
    Lost,
}

/// What to do with a connection next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send [`Connection::unsent`].
    Send,
    /// Everything is sent: have its run's next change after this epoch reported.
    Arm(Epoch),
    /// There may be more to send.
    Again,
    /// Wait for its socket or its deadline.
    Wait,
    /// It has ended: close it.
    Remove,
}

/// What a flush leaves unsent.
enum Flushed {
    All,
    Some,
    Lost,
}

/// Counts an open stream, in its group and in the process, until dropped.
struct Open {
    group: Arc<Group>,
    _counted: Gauge,
}

impl Open {
    fn new(group: Arc<Group>) -> Self {
        group.open.fetch_add(1, Ordering::Relaxed);
        Self { group, _counted: Gauge::new(&OPEN) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.group.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that was handed over by a server.
pub struct Connection {
    pub socket: TcpStream,
    /// The key of its run, as [`Port`] reports it.
    pub key: Key,
    /// Whether it is queued to be advanced.
    pub queued: bool,
    /// The current alarm. Any other alarm of this connection is stale.
    pub alarm: Option<Instant>,
    subscription: Arc<Subscription>,
    options: Options,
    phase: Phase,
    /// Kept while the stream is open, so that closing its reader wakes the thread.
    attending: Option<Waiting<Arc<Subscription>>>,
    /// Bytes that the socket has not accepted entirely, and how many it has.
    unsent: Option<(Arc<[u8]>, usize)>,
    /// Counts a client that has not accepted everything.
    stalled: Option<Gauge>,
    /// What is sent after that and ends the body.
    last: Option<Arc<[u8]>>,
    /// When to check it again: to send a heartbeat, or to drop it.
    deadline: Option<Instant>,
    /// When to drop it, whatever it has accepted by then.
    cutoff: Option<Instant>,
    open: Option<Open>,
}

impl Connection {
    pub fn new(socket: TcpStream, subscription: Arc<Subscription>, options: Options, group: Arc<Group>) -> Self {
        Self {
            socket,
            key: subscription.key(),
            queued: false,
            alarm: None,
            attending: Some(Subscription::attend(subscription.clone())),
            subscription,
            options,
            phase: Phase::Streaming,
            unsent: None,
            stalled: None,
            last: None,
            deadline: None,
            cutoff: None,
            open: Some(Open::new(group)),
        }
    }

    /// When to check it again at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        earlier(self.deadline, self.cutoff)
    }

    /// Whether it is an open stream of `group`.
    pub fn is_of(&self, group: &Arc<Group>) -> bool {
        self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.group, group))
    }

    /// Whether it waits for its socket rather than for its run.
    pub fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Whether this event of its socket matters now.
    pub fn is_interested(&self, event: &Event) -> bool {
        (self.is_stalled() && event.is_writable()) || (self.phase == Phase::Lingering && event.is_readable())
    }

    /// Have it removed when it is advanced next. Many may be lost at once, but few are advanced while a fork waits.
    pub fn lose(&mut self) {
        self.phase = Phase::Lost;
        self.unsent = None;
    }

    /// Take the next chunk to send, if the last one is sent entirely.
    pub fn prepare(&mut self, now: Instant, coder: &mut Coder) -> Next {
        while self.unsent.is_none() {
            match self.phase {
                Phase::Streaming => match self.subscription.try_next_chunk(CHUNK) {
                    Ok(chunk) => self.unsent = Some((coder.code(chunk), 0)),
                    Err(NotReady::Pending(epoch)) => {
                        if self.deadline.is_none() {
                            self.expect_heartbeat(now);
                        }
                        return Next::Arm(epoch);
                    }
                    Err(NotReady::Ended) => {
                        self.phase = Phase::Ending;
                        self.last = Some(Arc::from(LAST_CHUNK));
                    }
                },
                Phase::Ending => match self.last.take() {
                    Some(last) => self.unsent = Some((last, 0)),
                    None => self.linger(now),
                },
                Phase::Lingering => return self.discard(),
                Phase::Lost => return Next::Remove,
            }
        }
        Next::Send
    }

    /// Have `port` report its run's next change after `epoch`. Returns false if there was one already.
    pub fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> bool {
        self.subscription.arm_run(epoch, port)
    }

    /// The bytes to send.
    pub fn unsent(&self) -> &[u8] {
        self.unsent.as_ref().and_then(|(bytes, sent)| bytes.get(*sent..)).unwrap_or_default()
    }

    /// Record that the socket accepted `taken` bytes, and send the rest. One chunk per turn, so that all readers of a
    /// run advance together and share the next chunk.
    pub fn send_rest(&mut self, taken: usize, now: Instant) -> Next {
        if taken > 0 {
            self.note_taken(taken, now);
        }
        match self.flush(now) {
            Flushed::All if self.phase == Phase::Streaming => self.subscription.idle().map_or(Next::Again, Next::Arm),
            Flushed::All => Next::Again,
            Flushed::Some => Next::Wait,
            Flushed::Lost => Next::Remove,
        }
    }

    /// Act on its deadline, if it has passed.
    pub fn check(&mut self, now: Instant, coder: &Coder) -> Next {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Next::Wait;
        }
        if self.phase != Phase::Streaming || self.unsent.is_some() {
            if matches!(self.phase, Phase::Streaming | Phase::Ending) {
                STUCK.fetch_add(1, Ordering::Relaxed);
            }
            self.lose();
            return Next::Again;
        }
        self.unsent = Some((coder.heartbeat(), 0));
        Next::Send
    }

    /// End the stream with a hint when to reconnect, unless it is ending anyway. The client has until `cutoff` to accept
    /// its pending data.
    pub fn drain(&mut self, cutoff: Option<Instant>) {
        if self.phase == Phase::Streaming {
            self.phase = Phase::Ending;
            self.last = Some(farewell(self.options.retry));
            if self.unsent.is_none() {
                // That of a heartbeat: when it passed, the client would count as stuck.
                self.deadline = None;
            }
        }
        if self.phase == Phase::Ending {
            self.cutoff = earlier(self.cutoff, cutoff);
        }
    }

    /// Close it. Dropping the subscription is not enough: Python may hold it, too.
    pub fn close(&mut self) {
        self.attending = None;
        self.subscription.close();
        self.open = None;
    }

    /// Everything is sent; only a stream that goes on has heartbeats.
    fn expect_heartbeat(&mut self, now: Instant) {
        let heartbeat = self.options.heartbeat.filter(|_| self.phase == Phase::Streaming);
        self.deadline = heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
    }

    /// The client has not accepted everything, and must accept something before the send timeout.
    fn expect_room(&mut self, now: Instant) {
        self.stalled.get_or_insert_with(|| Gauge::new(&STALLED));
        self.deadline = now.checked_add(self.options.send_timeout);
    }

    fn note_taken(&mut self, taken: usize, now: Instant) {
        let Some((bytes, sent)) = &mut self.unsent else { return };
        *sent += taken;
        if *sent >= bytes.len() {
            self.unsent = None;
            self.stalled = None;
            self.expect_heartbeat(now);
        } else {
            self.expect_room(now);
        }
    }

    fn flush(&mut self, now: Instant) -> Flushed {
        while let Some((bytes, sent)) = &self.unsent {
            match self.socket.write(bytes.get(*sent..).unwrap_or_default()) {
                Ok(taken) => self.note_taken(taken, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.stalled.is_none() {
                        self.expect_room(now);
                    }
                    return Flushed::Some;
                }
                Err(_) => return Flushed::Lost,
            }
        }
        Flushed::All
    }

    fn linger(&mut self, now: Instant) {
        let _ = self.socket.shutdown(Shutdown::Write);
        self.phase = Phase::Lingering;
        self.cutoff = now.checked_add(LINGER);
        self.deadline = None;
        self.close();
    }

    /// Discard what the client still sends, until it closes its side.
    fn discard(&mut self) -> Next {
        let mut buffer = [0; 4096];
        let mut left = MOST_UNREAD;
        while left > 0 {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Next::Remove,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Remove,
            }
        }
        Next::Remove
    }
}

/// The earlier of two times; of one if there is no other.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
