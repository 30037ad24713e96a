//! One client: a socket, a cursor on a run, and what the socket has not taken yet.

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

/// The most bytes of one chunk, unless a single frame is longer. A client that does not read holds one.
const CHUNK: usize = 64 << 10;
/// How long a client may take to close its side after the end of its stream. A socket that is closed with something
/// unread in it is reset, and the client could lose the end.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes that a client may send after the end of its stream before it is cut off.
const MOST_UNREAD: usize = 64 << 10;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Events are sent as they come.
    Streaming,
    /// What ends the body is to be sent.
    Ending,
    /// Everything is sent; the client has yet to close its side.
    Lingering,
}

/// What to do with a connection next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It has something to send: [`Connection::unsent`].
    Send,
    /// It has sent everything: its run's next change after this epoch is to be reported.
    Arm(Epoch),
    /// There may be more to send.
    Again,
    /// It waits for its socket or its deadline.
    Wait,
    /// It is over: close it.
    Remove,
}

/// What a flush has left.
enum Flushed {
    All,
    Some,
    Lost,
}

/// Counts a stream that has not ended, of its group and of the process, until dropped.
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

/// A stream that was handed over.
pub struct Connection {
    pub socket: TcpStream,
    /// Of the run that it reads, as [`Port`] reports it.
    pub key: Key,
    /// Whether it is in the list of those that are looked at next.
    pub queued: bool,
    /// The alarm that counts; any other of this connection is out of date.
    pub alarm: Option<Instant>,
    subscription: Arc<Subscription>,
    options: Options,
    phase: Phase,
    /// Kept while the stream is open: whoever closes its reader wakes the thread.
    attending: Option<Waiting<Arc<Subscription>>>,
    /// What the socket has not taken yet, and how much of it it has.
    unsent: Option<(Arc<[u8]>, usize)>,
    /// Counts a client that has yet to take something.
    stalled: Option<Gauge>,
    /// What is sent after that, and ends the body.
    last: Option<Arc<[u8]>>,
    /// When it is to be looked at again: to send a heartbeat, or to be dropped.
    deadline: Option<Instant>,
    /// When it is dropped whatever it takes until then.
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

    /// When it is to be looked at again at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match (self.deadline, self.cutoff) {
            (Some(deadline), Some(cutoff)) => Some(deadline.min(cutoff)),
            (deadline, cutoff) => deadline.or(cutoff),
        }
    }

    /// Whether it is a stream of `group` that has not ended.
    pub fn is_of(&self, group: &Arc<Group>) -> bool {
        self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.group, group))
    }

    /// Whether it waits for its socket, not for its run.
    pub fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Whether what the system says of its socket is of use to it now.
    pub fn is_interested(&self, event: &Event) -> bool {
        (self.is_stalled() && event.is_writable()) || (self.phase == Phase::Lingering && event.is_readable())
    }

    /// Find the next chunk to be sent, if not all of the last one is.
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
            }
        }
        Next::Send
    }

    /// Have `port` report its run's next change after `epoch`. Returns whether it will; if not, there was one already.
    pub fn arm(&self, epoch: Epoch, port: &Arc<Port>) -> bool {
        self.subscription.arm_run(epoch, port)
    }

    /// What is to be sent.
    pub fn unsent(&self) -> &[u8] {
        self.unsent.as_ref().and_then(|(bytes, sent)| bytes.get(*sent..)).unwrap_or_default()
    }

    /// Note that the socket has taken so many bytes, and send the rest. One chunk a turn, so that all readers of a run go
    /// on together and share the next one.
    pub fn go_on(&mut self, taken: usize, now: Instant) -> Next {
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

    /// Act on a deadline that may have passed.
    pub fn check(&mut self, now: Instant, coder: &Coder) -> Next {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return Next::Wait;
        }
        if self.phase != Phase::Streaming || self.unsent.is_some() {
            if self.phase != Phase::Lingering {
                STUCK.fetch_add(1, Ordering::Relaxed);
            }
            return Next::Remove;
        }
        self.unsent = Some((coder.heartbeat(), 0));
        match self.flush(now) {
            Flushed::All | Flushed::Some => Next::Wait,
            Flushed::Lost => Next::Remove,
        }
    }

    /// End the stream with a hint when to come back; the client has until `cutoff` to take what waits for it.
    pub fn drain(&mut self, cutoff: Instant) {
        if self.phase == Phase::Streaming {
            self.phase = Phase::Ending;
            self.last = Some(farewell(self.options.retry));
            self.cutoff = Some(cutoff);
        }
    }

    /// The subscription is closed here, not only dropped: Python may hold it, too.
    pub fn close(&mut self) {
        self.attending = None;
        self.subscription.close();
        self.open = None;
    }

    fn expect_heartbeat(&mut self, now: Instant) {
        self.deadline = self.options.heartbeat.and_then(|heartbeat| now.checked_add(heartbeat));
    }

    /// The client has not taken everything: from now on it must take something in time.
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

    /// Read what the client still sends, until it closes its side.
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
