//! A store for many hosts: a Redis or Valkey server.
//!
//! Everything that must be atomic is a script, one file each in `redis/` ([`scripts`]). Events are streams, one per
//! life of a run; all other data are records and indexes of them. [`bell`] hears of changes, so that nothing has to be
//! polled. Owners hold leases: the runs of an owner whose lease has expired are ended, and its late writes are refused.

mod bell;
mod codec;
mod parts;
mod reading;
mod scripts;
mod sentinels;
mod server;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::bell::{Bell, Heard};
use self::parts::{Part, calls};
use self::reading::Reading;
pub use self::server::Address;
use self::server::Server;
use super::record::{INTERRUPTED, Record, interrupted_parts, now};
use super::store::{
    Append, Begun, Command, Error, Fate, Limits, NewRun, News, Progress, Query, Result, Source, Store, StoredEvent,
    Usage, Wake,
};
use crate::core::sync::Mutex;
use crate::core::{Fence, RunId, Seq};

/// Milliseconds that a command waits for its owner, unless it is a cancel, and a reply for its asker.
const COMMAND_AGE: u64 = 60_000;
/// How often an owner renews the keys of its runs, which live a day at least; and how many runs one call renews.
const KEEP_INTERVAL: Duration = Duration::from_secs(3600);
const KEEP_STEP: usize = 100;
/// The cursor with which a scan begins, and which it returns when it is done.
const DONE: &str = "0";
/// Between two checks for what the bell may have missed.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Records examined per call.
const LIST_STEP: usize = 2000;
/// Up to this many runs, their owners are looked up one by one.
const REAP_FENCES: usize = 16;
/// Runs ended per call.
const REAP_STEP: usize = 200;
/// Runs or events removed per call.
const EVICT_STEP: usize = 500;

/// How this process uses a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server.
    pub address: Address,
    /// The project. Its runs are invisible in any other project.
    pub project: String,
    /// How much is kept.
    pub limits: Limits,
    /// How long an owner is taken for alive without a sign of life.
    pub lease: Duration,
}

/// A project on a server, for the engine.
pub struct RedisServer {
    settings: Settings,
    owner: String,
    epoch: Epoch,
}

/// The name of the data that the server held when it was last seen: another name means that it was emptied. `None` before
/// the first connection, and once [`Error::Lost`] has reported that the data is gone.
type Epoch = Arc<Mutex<Option<String>>>;

impl RedisServer {
    /// The project of `settings`, with this process as a new owner.
    pub fn new(settings: Settings) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let unique = RandomState::new().hash_one(0);
        // The bell's messages are words separated by spaces.
        let host = host.trim().replace(' ', "_");
        let owner = format!("{host}-{}-{:x}-{unique:x}", std::process::id(), now());
        Self { settings, owner, epoch: Epoch::default() }
    }
}

impl Source for RedisServer {
    fn connect(&self, wake: &Wake) -> Result<Box<dyn Store>> {
        Ok(Box::new(RedisStore::open(&self.settings, &self.owner, self.epoch.clone(), wake)?))
    }

    fn owner(&self) -> String {
        self.owner.clone()
    }

    fn survives_fork(&self) -> bool {
        // The child never touches the parent's sockets.
        true
    }
}

/// A project on a server that keeps runs.
pub struct RedisStore {
    server: Server,
    settings: Settings,
    owner: String,
    bell: Bell,
    epoch: Epoch,
    warning: Option<String>,
    next_check: Instant,
    /// The number of changes at the last check.
    counted: u64,
    next_renewal: Instant,
    /// A renewal found the lease expired, and the engine has not been told: others may have ended runs of this process.
    had_lapsed: bool,
    next_keep: Instant,
    /// The cursor up to which the keys of this process's runs have been renewed.
    kept: String,
    reading: Reading,
}

impl RedisStore {
    /// Connect as `owner`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] for a server that is too old; [`Error::Failed`] for one that cannot be used.
    fn open(settings: &Settings, owner: &str, epoch: Epoch, wake: &Wake) -> Result<Self> {
        let mut server = Server::connect(&settings.address, &format!("runs:{{{}}}", settings.project))?;
        let warning = server.prepare()?;
        let name = format!("{:x}", RandomState::new().hash_one(now()));
        let (found, number): (String, Option<u64>) = server.call(|scripts| &scripts.open, name)?;
        let known = epoch.lock().replace(found.clone());
        if known.is_some_and(|known| known != found) {
            return Err(Error::Lost(settings.address.name().to_owned()));
        }
        let (address, channel) = (server.address().clone(), server.key(&["bell"]));
        let bell = Bell::new(address, channel, owner, number.unwrap_or(0), wake.clone());
        let (settings, owner, now) = (settings.clone(), owner.to_owned(), Instant::now());
        Ok(Self {
            server,
            settings,
            owner,
            bell,
            epoch,
            warning,
            next_check: now,
            counted: 0,
            next_renewal: now,
            had_lapsed: false,
            next_keep: now,
            kept: DONE.to_owned(),
            reading: Reading::default(),
        })
    }

    fn lease(&self) -> u64 {
        milliseconds(self.settings.lease)
    }

    fn age(&self) -> u64 {
        milliseconds(self.settings.limits.age)
    }

    /// Record whether a renewal found a lease. Only the first renewal after it has expired can tell.
    fn renewed(&mut self, had_lease: bool) {
        self.had_lapsed |= !had_lease;
    }

    /// Check that the server holds the same data. Returns whether something has changed that the bell did not report.
    fn check(&mut self, heard: &Heard) -> Result<bool> {
        let clock = self.server.key(&["clock"]);
        let (found, number): (Option<String>, Option<u64>) =
            self.server.query(|server| redis::cmd("HMGET").arg(&clock).arg("epoch").arg("changes").query(server))?;
        let mut epoch = self.epoch.lock();
        if found != *epoch {
            *epoch = None;
            return Err(Error::Lost(self.settings.address.name().to_owned()));
        }
        drop(epoch);
        let number = number.unwrap_or(0);
        // While the bell listens, messages may be on their way: those that have not arrived at the next check were
        // missed.
        let due = std::mem::replace(&mut self.counted, number);
        let is_missed = heard.number < if heard.is_sure() { due } else { number };
        if is_missed {
            self.bell.note(number);
        }
        self.next_check = Instant::now() + CHECK_INTERVAL;
        Ok(is_missed)
    }

    /// Stop the bell.
    fn dismiss_bell(&mut self) {
        if let Some(stop) = self.bell.dismiss() {
            // If the server cannot be reached, the bell notices by itself.
            let _ = self.server.query(|server| redis::cmd("PUBLISH").arg(stop).arg("").exec(server));
        }
    }

    /// Renew the keys of some runs of this process, if it is time. Returns whether there are more.
    fn keep_runs(&mut self) -> Result<bool> {
        let now = Instant::now();
        if self.kept == DONE && now < self.next_keep {
            return Ok(false);
        }
        let arguments = (&self.owner, self.age(), &self.kept, KEEP_STEP);
        self.kept = self.server.call(|scripts| &scripts.keep, arguments)?;
        self.next_keep = now + KEEP_INTERVAL;
        Ok(self.kept != DONE)
    }

    /// Store the events of `runs`, which must fit into one call.
    fn append_some(&mut self, runs: &[Part<'_>]) -> Result<Vec<Fate>> {
        let fences: Vec<u64> = runs.iter().map(|part| part.fence.0).collect();
        let arguments = (&self.owner, self.age(), runs.len(), fences, runs);
        let fates: Vec<String> = self.server.call(|scripts| &scripts.append, arguments)?;
        Ok(fates.iter().map(|fate| codec::fate(fate)).collect())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.dismiss_bell();
    }
}

impl Store for RedisStore {
    fn begin(&mut self, run: &NewRun) -> Result<Begun> {
        let run_id = run.run_id.as_ref().map(codec::run_id).unwrap_or_default();
        let (key, name) = (codec::optional(run.key.as_deref()), codec::optional(run.name.as_deref()));
        let arguments = (&self.owner, self.lease(), self.age(), run_id, key, name);
        let (what, fence, fields, had_lease): (String, u64, codec::Fields, bool) =
            self.server.call(|scripts| &scripts.begin, arguments)?;
        self.renewed(had_lease);
        let record = codec::record(Fence(fence), &fields).ok_or_else(|| codec::damaged(fence))?;
        Ok(match what.as_str() {
            "started" => Begun::Started(record),
            "run" => Begun::RunActive(record),
            _ => Begun::KeyActive(record),
        })
    }

    fn restore(&mut self, record: &Record) -> Result<bool> {
        let (key, name) = (codec::optional(record.key.as_deref()), codec::optional(record.name.as_deref()));
        let run_id = codec::run_id(&record.run_id);
        let arguments = (&self.owner, self.lease(), self.age(), record.fence.0, run_id, record.started, key, name);
        let (is_there, had_lease) = self.server.call(|scripts| &scripts.restore, arguments)?;
        self.renewed(had_lease);
        Ok(is_there)
    }

    fn append(&mut self, runs: &[Append]) -> Result<Vec<Fate>> {
        let mut fates = vec![Fate::Stored; runs.len()];
        for call in calls(runs) {
            let found = self.append_some(&call)?;
            for (part, fate) in call.iter().zip(found) {
                if let Some(known) = fates.get_mut(part.number)
                    && *known == Fate::Stored
                {
                    *known = fate;
                }
            }
        }
        Ok(fates)
    }

    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>> {
        let run_id = codec::run_id(run_id);
        let found: Option<(u64, codec::Fields)> = self.server.call(|scripts| &scripts.find, run_id)?;
        Ok(found.and_then(|(fence, fields)| codec::record(Fence(fence), &fields)))
    }

    fn list(&mut self, query: &Query) -> Result<Vec<Record>> {
        let (mut found, mut before) = (Vec::new(), query.before.map(|fence| fence.to_string()).unwrap_or_default());
        while found.len() < query.limit {
            let (rest, text) = (query.limit - found.len(), query.text.as_deref().unwrap_or(""));
            let key = codec::optional(query.key.as_deref());
            let also: Vec<u64> = query.also.iter().map(|fence| fence.0).collect();
            let arguments = (key, text, &before, rest, LIST_STEP, query.statuses.len(), &query.statuses, also);
            let page: Vec<redis::Value> = self.server.call(|scripts| &scripts.list, arguments)?;
            let (next, records) = codec::page(page)?;
            found.extend(records);
            before = next;
            if before.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    fn results(&mut self, fences: &[Fence]) -> Result<Vec<Option<String>>> {
        let mut ask = redis::pipe();
        for fence in fences {
            ask.cmd("HGET").arg(self.server.key(&["run", &fence.to_string()])).arg("result");
        }
        self.server.query(|server| ask.query(server))
    }

    fn read(&mut self, fence: Fence, from: Seq, events: usize, bytes: usize) -> Result<Vec<StoredEvent>> {
        self.reading.read(&mut self.server, fence, from, events, bytes)
    }

    fn news(&mut self) -> Result<News> {
        self.server.check_connection()?;
        let heard = self.bell.take();
        let is_sure = heard.is_sure() && Instant::now() < self.next_check;
        if !is_sure && self.check(&heard)? {
            return Ok(News::anything());
        }
        Ok(News { runs: Some(heard.runs), began: heard.began, messages: heard.messages })
    }

    fn close(&mut self) {
        self.dismiss_bell();
        self.bell.join();
    }

    fn wakes(&self) -> bool {
        self.bell.is_up()
    }

    fn follow(&mut self, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        self.reading.follow(&mut self.server, runs)
    }

    fn send(&mut self, fence: Fence, command: &Command) -> Result<u64> {
        let is_cancel = u8::from(matches!(command, Command::Cancel));
        let command = codec::command(fence, command);
        let arguments = (&self.owner, fence.0, command, is_cancel, COMMAND_AGE, self.age());
        self.server.call(|scripts| &scripts.send, arguments)
    }

    fn commands(&mut self) -> Result<Vec<(u64, Fence, Command)>> {
        let found: Vec<(u64, Vec<u8>)> = self.server.call(|scripts| &scripts.commands, &self.owner)?;
        let mut commands: Vec<_> = found
            .iter()
            .filter_map(|(number, command)| codec::parse_command(command).map(|(fence, it)| (*number, fence, it)))
            .collect();
        commands.sort_by_key(|(number, ..)| *number);
        Ok(commands)
    }

    fn reply(&mut self, number: u64, reply: Option<&str>) -> Result<()> {
        let arguments = (&self.owner, number, COMMAND_AGE, codec::optional(reply));
        self.server.call(|scripts| &scripts.reply, arguments)
    }

    fn take_reply(&mut self, number: u64) -> Result<Option<String>> {
        self.server.call(|scripts| &scripts.take_reply, number)
    }

    fn reap(&mut self, fences: &[Fence], all: bool) -> Result<usize> {
        if fences.is_empty() && !all {
            return Ok(0);
        }
        let (head, tail) = interrupted_parts();
        // There are few owners but maybe many runs: beyond a few runs, checking all owners is cheaper.
        let is_few = !all && fences.len() <= REAP_FENCES;
        let wanted: Vec<u64> = fences.iter().filter(|_| is_few).map(|fence| fence.0).collect();
        // A live owner renews its lease within this time.
        let grace = self.lease() / 2;
        let arguments = (&self.owner, grace, self.age(), head, tail, INTERRUPTED, REAP_STEP, wanted);
        self.server.call(|scripts| &scripts.reap, arguments)
    }

    fn disown(&mut self, owned: &HashSet<Fence>) -> Result<usize> {
        let key = self.server.key(&["runs-of", &self.owner]);
        let known: usize = self.server.query(|server| redis::cmd("SCARD").arg(&key).query(server))?;
        if known == owned.len() {
            return Ok(0);
        }
        let known: Vec<u64> = self.server.query(|server| redis::cmd("SMEMBERS").arg(&key).query(server))?;
        let unknown = known.into_iter().filter(|fence| !owned.contains(&Fence(*fence)));
        let unknown: Vec<u64> = unknown.take(REAP_STEP).collect();
        if unknown.is_empty() {
            return Ok(0);
        }
        let (head, tail) = interrupted_parts();
        let arguments = (&self.owner, self.age(), head, tail, INTERRUPTED, unknown);
        self.server.call(|scripts| &scripts.disown, arguments)
    }

    fn keep_alive(&mut self) -> Result<bool> {
        let now = Instant::now();
        if now >= self.next_renewal {
            let had_lease = self.server.call(|scripts| &scripts.renew, (&self.owner, self.lease()))?;
            self.renewed(had_lease);
            self.next_renewal = now + self.settings.lease / 3;
        }
        Ok(!std::mem::take(&mut self.had_lapsed))
    }

    fn absence(&self) -> Duration {
        // As long as an owner without a lease, which may be cut off meanwhile, counts as alive.
        (self.settings.lease * 3 / 2).max(Duration::from_secs(5))
    }

    fn owns(&mut self, fence: Fence) -> Result<bool> {
        let (owns, had_lease) = self.server.call(|scripts| &scripts.owns, (&self.owner, self.lease(), fence.0))?;
        self.renewed(had_lease);
        Ok(owns)
    }

    fn tidy(&mut self) -> Result<bool> {
        self.server.note_nodes();
        let Limits { runs, bytes, .. } = self.settings.limits;
        let more: bool = self.server.call(|scripts| &scripts.evict, (self.age(), runs, bytes, EVICT_STEP))?;
        Ok(self.keep_runs()? || more)
    }

    fn usage(&mut self) -> Result<Usage> {
        let (clock, all) = (self.server.key(&["clock"]), self.server.key(&["all"]));
        let mut ask = redis::pipe();
        ask.cmd("ZCARD").arg(all).cmd("HGET").arg(clock).arg("bytes");
        let (runs, bytes): (u64, Option<i64>) = self.server.query(|server| ask.query(server))?;
        Ok(Usage { runs, bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0) })
    }

    fn warning(&mut self) -> Option<String> {
        self.warning.take()
    }
}
