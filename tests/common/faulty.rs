//! A store that fails when it is told to, before a real one, in a process that can be killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genglossary_runs::core::{Fence, RunId, Seq};
use genglossary_runs::store::{
    Append, Begun, Command, Error, Fate, NewRun, News, Progress, Query, Record, Source, Store, StoredEvent, Usage, Wake,
};

type Result<T> = std::result::Result<T, Error>;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It can be read and takes nothing, as on a full disk.
    Full,
    /// Another process holds the lock that writing needs.
    Locked,
    /// It neither answers nor can be connected to.
    Away,
}

/// What is wrong between one process and its store; shared with every connection of the process.
#[derive(Clone, Default)]
pub struct Faults(Arc<State>);

#[derive(Default)]
struct State {
    fault: Mutex<Option<Fault>>,
    refused: AtomicUsize,
    /// Held while commands are not to be read.
    commands: Mutex<()>,
    waits_for_commands: AtomicBool,
    loses_answer: AtomicBool,
    is_killed: AtomicBool,
    connections: Parts<dyn Store>,
    sources: Parts<dyn Source>,
}

/// The real parts. One that is taken out is dropped, as the system does it with those of a process that dies.
type Part<T> = Arc<Mutex<Option<Box<T>>>>;
type Parts<T> = Mutex<Vec<Part<T>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    /// What is wrong now.
    pub fn now(&self) -> Option<Fault> {
        *lock(&self.0.fault)
    }

    /// Fail like this, or no longer.
    pub fn set(&self, fault: Option<Fault>) {
        *lock(&self.0.fault) = fault;
    }

    /// How many questions have failed like this.
    pub fn refused(&self) -> usize {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Have no command read until this is dropped.
    pub fn hold_commands(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.commands)
    }

    /// Whether the engine waits to read commands.
    pub fn waits_for_commands(&self) -> bool {
        self.0.waits_for_commands.load(Ordering::Relaxed)
    }

    /// Store the next events, and answer that it failed.
    pub fn lose_answer(&self) {
        self.0.loses_answer.store(true, Ordering::Relaxed);
    }

    /// Have the process neither write anything more nor hold its lock, as if it had been killed.
    pub fn kill(&self) {
        self.0.is_killed.store(true, Ordering::Relaxed);
        // In this order: a connection that is not the last part tidies nothing up.
        lock(&self.0.connections).drain(..).for_each(|part| drop(lock(&part).take()));
        lock(&self.0.sources).drain(..).for_each(|part| drop(lock(&part).take()));
    }

    /// `source`, failing as this says.
    pub fn before(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        let part = Arc::new(Mutex::new(Some(source)));
        lock(&self.0.sources).push(part.clone());
        Box::new(FaultySource { faults: self.clone(), part })
    }

    fn check(&self, writes: bool) -> Result<()> {
        let failed = |why: &str| Error::Failed(why.to_owned());
        let error = match self.now() {
            _ if self.0.is_killed.load(Ordering::Relaxed) => failed("its process was killed"),
            Some(Fault::Away) => failed("it is away"),
            Some(Fault::Full) if writes => failed("its disk is full"),
            Some(Fault::Locked) if writes => Error::Busy,
            _ => return Ok(()),
        };
        self.0.refused.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }
}

struct FaultySource {
    faults: Faults,
    part: Part<dyn Source>,
}

impl Source for FaultySource {
    fn connect(&self, wake: &Wake) -> Result<Box<dyn Store>> {
        // Held until the connection is known, so that none is left out when the process is killed.
        let source = lock(&self.part);
        self.faults.check(false)?;
        let source = source.as_ref().ok_or(Error::Busy)?;
        let part = Arc::new(Mutex::new(Some(source.connect(wake)?)));
        lock(&self.faults.0.connections).push(part.clone());
        Ok(Box::new(FaultyStore { faults: self.faults.clone(), part }))
    }

    fn owner(&self) -> String {
        lock(&self.part).as_ref().map(|source| source.owner()).unwrap_or_default()
    }
}

impl Drop for FaultySource {
    fn drop(&mut self) {
        drop(lock(&self.part).take());
        lock(&self.faults.0.sources).retain(|part| !Arc::ptr_eq(part, &self.part));
    }
}

struct FaultyStore {
    faults: Faults,
    part: Part<dyn Store>,
}

impl Drop for FaultyStore {
    fn drop(&mut self) {
        drop(lock(&self.part).take());
        lock(&self.faults.0.connections).retain(|part| !Arc::ptr_eq(part, &self.part));
    }
}

impl FaultyStore {
    fn ask<T>(&self, writes: bool, question: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        let mut store = lock(&self.part);
        self.faults.check(writes)?;
        question(store.as_mut().ok_or(Error::Busy)?.as_mut())
    }

    fn look<T>(&self, question: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        self.ask(false, question)
    }

    fn write<T>(&self, question: impl FnOnce(&mut dyn Store) -> Result<T>) -> Result<T> {
        self.ask(true, question)
    }
}

impl Store for FaultyStore {
    fn begin(&mut self, run: &NewRun) -> Result<Begun> {
        self.write(|store| store.begin(run))
    }

    fn restore(&mut self, record: &Record) -> Result<bool> {
        self.write(|store| store.restore(record))
    }

    fn append(&mut self, runs: &[Append]) -> Result<Vec<Fate>> {
        let fates = self.write(|store| store.append(runs))?;
        if self.faults.0.loses_answer.swap(false, Ordering::Relaxed) {
            return Err(Error::Failed("its answer was lost".to_owned()));
        }
        Ok(fates)
    }

    fn find(&mut self, run_id: &RunId) -> Result<Option<Record>> {
        self.look(|store| store.find(run_id))
    }

    fn list(&mut self, query: &Query) -> Result<Vec<Record>> {
        self.look(|store| store.list(query))
    }

    fn results(&mut self, fences: &[Fence]) -> Result<Vec<Option<String>>> {
        self.look(|store| store.results(fences))
    }

    fn read(&mut self, fence: Fence, from: Seq, events: usize, bytes: usize) -> Result<Vec<StoredEvent>> {
        self.look(|store| store.read(fence, from, events, bytes))
    }

    fn news(&mut self) -> Result<News> {
        self.look(|store| store.news())
    }

    fn wakes(&self) -> bool {
        lock(&self.part).as_ref().is_some_and(|store| store.wakes())
    }

    fn eager_poll(&self) -> Option<Duration> {
        lock(&self.part).as_ref().and_then(|store| store.eager_poll())
    }

    fn close(&mut self) {
        if let Some(store) = lock(&self.part).as_mut() {
            store.close();
        }
    }

    fn follow(&mut self, runs: &[(Fence, Seq)]) -> Result<Vec<Progress>> {
        self.look(|store| store.follow(runs))
    }

    fn send(&mut self, fence: Fence, command: &Command) -> Result<u64> {
        self.write(|store| store.send(fence, command))
    }

    fn commands(&mut self) -> Result<Vec<(u64, Fence, Command)>> {
        let _held = self.faults.0.commands.try_lock().unwrap_or_else(|_| {
            self.faults.0.waits_for_commands.store(true, Ordering::Relaxed);
            lock(&self.faults.0.commands)
        });
        self.look(|store| store.commands())
    }

    fn reply(&mut self, number: u64, reply: Option<&str>) -> Result<()> {
        self.write(|store| store.reply(number, reply))
    }

    fn take_reply(&mut self, number: u64) -> Result<Option<String>> {
        self.write(|store| store.take_reply(number))
    }

    fn reap(&mut self, fences: &[Fence], all: bool) -> Result<usize> {
        self.write(|store| store.reap(fences, all))
    }

    fn disown(&mut self, owned: &HashSet<Fence>) -> Result<usize> {
        self.write(|store| store.disown(owned))
    }

    fn keep_alive(&mut self) -> Result<bool> {
        self.look(|store| store.keep_alive())
    }

    fn absence(&self) -> Duration {
        lock(&self.part).as_ref().map_or(Duration::MAX, |store| store.absence())
    }

    fn owns(&mut self, fence: Fence) -> Result<bool> {
        self.look(|store| store.owns(fence))
    }

    fn tidy(&mut self) -> Result<bool> {
        self.write(|store| store.tidy())
    }

    fn usage(&mut self) -> Result<Usage> {
        self.look(|store| store.usage())
    }

    fn warning(&mut self) -> Option<String> {
        lock(&self.part).as_mut().and_then(|store| store.warning())
    }
}
