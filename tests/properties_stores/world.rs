//! What is done to the processes, and what they and the model say then.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use genglossary_runs::core::{EventId, Limits, RunId, RunIdRef, RunManager, Seq, Start, Stats};
use genglossary_runs::store::record::interrupted_event;
use genglossary_runs::store::sqlite::SqliteFile;
use genglossary_runs::store::{Answer, Engine, Limits as Kept, NewRun, Opened, Query, Record};

use crate::common::faulty::{Fault, Faults};
use crate::common::stores::{Folder, ask};
use crate::common::{PATIENCE, limits, payload};
use crate::model::{End, Life, StoredModel};
use crate::ops::{From, Op, RUNS};
use crate::reading::Reader;

/// The process of each site.
pub const PROCESS_OF: [usize; 3] = [0, 0, 1];

/// A manager, and what it has of its process's engine.
pub struct Site {
    pub manager: RunManager,
    pub engine: Engine,
}

pub struct Process {
    /// By which its engine is known.
    pub name: String,
    pub faults: Faults,
}

/// The processes and the model.
pub struct World {
    folder: Folder,
    pub limits: Limits,
    /// So many processes were started.
    started: usize,
    /// So many events were made.
    words: usize,
    pub processes: Vec<Process>,
    pub sites: Vec<Site>,
    pub model: StoredModel,
    pub readers: Vec<Reader>,
}

/// What people call a run.
fn name_of(run: i64) -> String {
    format!("Run {run}")
}

fn interrupted(run: i64) -> String {
    String::from_utf8(interrupted_event(&RunId::Int(run)).json().to_vec()).unwrap()
}

impl World {
    pub fn new(events: usize, retained: usize) -> Self {
        let mut world = Self {
            folder: Folder::new(),
            limits: limits(events, 1 << 20, retained, 1 << 20),
            started: 0,
            words: 0,
            processes: Vec::new(),
            sites: Vec::new(),
            model: StoredModel::default(),
            readers: Vec::new(),
        };
        world.processes = (0..2).map(|_| world.start()).collect();
        world.sites = PROCESS_OF.iter().map(|process| world.site(*process)).collect();
        world
    }

    fn start(&mut self) -> Process {
        self.started += 1;
        let name = format!("{}#{}", self.folder.file().display(), self.started);
        Process { name, faults: Faults::default() }
    }

    fn site(&self, process: usize) -> Site {
        let Process { name, faults } = &self.processes[process];
        let manager = RunManager::new(self.limits);
        let source = || faults.before(Box::new(SqliteFile::new(&self.folder.file(), Kept::default())));
        let engine = Engine::of(name, manager.clone(), source, Box::new(|_, _| ())).unwrap();
        Site { manager, engine }
    }

    pub fn works(&self, site: usize) -> bool {
        self.processes[PROCESS_OF[site]].faults.now().is_none()
    }

    /// Whether its store fails rather than being locked, for which questions wait for seconds.
    pub fn refuses(&self, site: usize) -> bool {
        !self.works(site) && self.processes[PROCESS_OF[site]].faults.now() != Some(Fault::Locked)
    }

    /// Ask the engine of a site, whose store works, until it answers: it may have yet to find out that it works again.
    pub fn ask<T>(&self, site: usize, question: impl Fn(&Engine) -> Arc<Answer<T>>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask(&question(&self.sites[site].engine)) {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn find(&self, site: usize, run: i64) -> Option<Record> {
        self.ask(site, |engine| engine.find(RunId::Int(run), false)).map(|(record, _)| record)
    }

    /// Have the store catch up with a life, if there is somebody whose store works and who has to do with that.
    pub fn settle(&mut self, life: usize) {
        let Life { run, owner, fence, end, .. } = self.model.lives[life];
        let mut sites = match end {
            // Whoever looks ends it, or finds somebody else at it.
            Some(End::Interrupted(_)) => 0..PROCESS_OF.len(),
            _ => owner..owner + 1,
        };
        let Some(site) = sites.find(|site| self.works(*site)).filter(|_| self.model.lives[life].is_ahead()) else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let record = self.find(site, run).filter(|record| record.fence == fence).expect("it is in the store");
            let life = &mut self.model.lives[life];
            assert!(record.last.0 <= life.last(), "{record:?} has more than was published");
            if record.last.0 == life.last() && record.is_running() == life.is_running() {
                life.stored = life.last();
                return;
            }
            assert!(Instant::now() < deadline, "{record:?} does not catch up with {}", life.last());
        }
    }

    pub fn settle_all(&mut self) {
        (0..self.model.lives.len()).for_each(|life| self.settle(life));
    }

    fn settle_process(&mut self, process: usize) {
        for life in 0..self.model.lives.len() {
            if PROCESS_OF[self.model.lives[life].owner] == process {
                self.settle(life);
            }
        }
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!(r#"{{"n":{}}}"#, self.words)
    }

    /// Note an event that the owner of a life has published, before it is.
    fn note_published(&mut self, life: usize, event: &str) -> EventId {
        let held = self.limits.log.events as u64;
        if self.model.lives[life].last() + 1 > self.model.lives[life].stored + held {
            self.settle(life);
        }
        let can_store = self.works(self.model.lives[life].owner);
        self.model.lives[life].publish(event.to_owned(), can_store, held)
    }

    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Open(site, run, key) => self.open(site, run, key),
            Op::Publish(site, run, count) => (0..count).for_each(|_| self.publish(site, run)),
            Op::Finish(site, run) => self.finish(site, run),
            Op::Cancel(site, run) => self.cancel(site, run),
            Op::Find(site, run) => self.check_record(site, run),
            Op::Subscribe(site, run, from, must_exist) => {
                let start = match from {
                    From::Newest => Start::Newest,
                    From::Beginning => Start::After(None),
                    From::Event(life, seq) if !self.model.lives.is_empty() => {
                        let life = life.get(&self.model.lives);
                        let seq = Seq(seq.index(life.events.len() + 1) as u64);
                        Start::After(Some(EventId { fence: life.fence, seq }))
                    }
                    From::Last => Start::After(self.model.newest(run).map(|life| {
                        let life = &self.model.lives[life];
                        EventId { fence: life.fence, seq: Seq(life.last()) }
                    })),
                    From::Event(..) => Start::After(None),
                };
                self.subscribe(site, run, start, must_exist);
            }
            Op::Resume(site, reader) if !self.readers.is_empty() => {
                let reader = reader.get(&self.readers);
                // One that waits for a run has no event to go on after.
                if reader.told.life.is_some() {
                    let (run, start) = (reader.told.run, Start::After(Some(reader.real.last_event_id())));
                    self.subscribe(site, run, start, true);
                }
            }
            Op::Read(reader, count) if !self.readers.is_empty() => {
                let reader = reader.index(self.readers.len());
                for _ in 0..count {
                    self.read(reader);
                }
            }
            Op::Drop(reader) if !self.readers.is_empty() => {
                self.readers.swap_remove(reader.index(self.readers.len()));
            }
            Op::Resume(..) | Op::Read(..) | Op::Drop(_) => {}
            Op::Restart(site) => self.restart(site),
            Op::Kill(process, first) => self.kill(process, first),
            Op::Fail(process, fault) => {
                self.settle_process(process);
                self.processes[process].faults.set(Some(fault));
            }
            Op::Mend(process) => self.processes[process].faults.set(None),
            Op::LoseAnswer(process) => self.processes[process].faults.lose_answer(),
        }
    }

    fn open(&mut self, site: usize, run: i64, key: Option<&'static str>) {
        let new = NewRun { run_id: Some(RunId::Int(run)), key: key.map(str::to_owned), name: Some(name_of(run)) };
        if !self.works(site) {
            if self.refuses(site) {
                assert!(ask(&self.sites[site].engine.begin(new)).is_err());
            }
            return;
        }
        self.settle_all();
        let active =
            self.model.active(run, key).map(|life| (&self.model.lives[life], self.model.lives[life].run == run));
        match (self.ask(site, |engine| engine.begin(new.clone())), active) {
            (Opened::Run(id, cancel), None) => {
                assert_eq!(id, RunId::Int(run));
                let fence = self.sites[site].manager.live_run(RunIdRef::Int(run)).unwrap().lock().fence;
                assert!(self.model.lives.iter().all(|life| life.fence < fence));
                let (events, lost) = (Vec::new(), Default::default());
                self.model.lives.push(Life {
                    run,
                    key,
                    owner: site,
                    fence,
                    cancel,
                    events,
                    lost,
                    end: None,
                    stored: 0,
                });
            }
            (Opened::RunActive(record), Some((life, true))) | (Opened::KeyActive(record), Some((life, false))) => {
                assert_eq!(record.fence, life.fence);
            }
            (Opened::Run(..), Some((life, _))) => panic!("life {} is active", life.fence),
            (Opened::RunActive(record) | Opened::KeyActive(record), _) => panic!("{record:?} is not active"),
        }
    }

    /// The life that is open here.
    pub fn open_here(&self, site: usize, run: i64) -> Option<usize> {
        let life = self.model.newest(run).filter(|life| {
            let life = &self.model.lives[*life];
            life.is_running() && life.owner == site
        });
        assert_eq!(self.sites[site].manager.is_open(RunIdRef::Int(run)), life.is_some());
        life
    }

    /// The life that a command from this site reaches, if a command can be sent at all.
    fn commanded(&mut self, site: usize, run: i64) -> Option<Option<usize>> {
        let newest = self.model.newest(run);
        if !self.works(site) || newest.is_some_and(|life| !self.works(self.model.lives[life].owner)) {
            return None;
        }
        self.settle_all();
        Some(newest.filter(|life| self.model.lives[*life].is_running()))
    }

    fn publish(&mut self, site: usize, run: i64) {
        let word = self.word();
        if let Some(life) = self.open_here(site, run) {
            let expected = self.note_published(life, &word);
            let manager = &self.sites[site].manager;
            assert_eq!(manager.publish(RunIdRef::Int(run), payload(&word)), Some(expected));
        } else if let Some(life) = self.commanded(site, run) {
            let expected = life.map(|life| self.note_published(life, &word).to_string());
            assert_eq!(self.ask_once(site, |engine| engine.publish(RunId::Int(run), payload(&word))), expected);
        }
    }

    fn finish(&mut self, site: usize, run: i64) {
        let word = self.word();
        let here = self.open_here(site, run);
        if let Some(life) = here {
            if !self.works(site) && self.limits.retention.runs == 0 {
                // What it has not stored is evicted after a while.
                self.processes[PROCESS_OF[site]].faults.set(None);
            }
            self.note_published(life, &word);
            assert!(self.sites[site].manager.finish(RunIdRef::Int(run), payload(&word), false));
            self.model.lives[life].end = Some(End::Finished);
        } else if let Some(life) = self.commanded(site, run) {
            let expected = life.map(|life| {
                self.note_published(life, &word);
                self.model.lives[life].end = Some(End::Finished);
                "finished".to_owned()
            });
            assert_eq!(self.ask_once(site, |engine| engine.finish(RunId::Int(run), payload(&word))), expected);
        }
    }

    /// Ask what must not be asked twice.
    fn ask_once<T>(&self, site: usize, question: impl Fn(&Engine) -> Arc<Answer<T>>) -> T {
        // It works again from here on.
        self.find(site, 0);
        ask(&question(&self.sites[site].engine)).unwrap()
    }

    fn cancel(&mut self, site: usize, run: i64) {
        if let Some(life) = self.open_here(site, run) {
            assert!(self.sites[site].manager.cancel(RunIdRef::Int(run)));
            assert!(self.model.lives[life].cancel.is_set());
        } else if let Some(life) = self.commanded(site, run) {
            let sent = self.ask_once(site, |engine| engine.cancel(RunId::Int(run)));
            assert_eq!(sent.is_some(), life.is_some());
            if let Some(life) = life {
                assert!(self.model.lives[life].cancel.wait(Some(Instant::now() + PATIENCE)));
            }
        }
    }

    /// What the store says of a run is what the model does.
    fn check_record(&mut self, site: usize, run: i64) {
        if !self.works(site) {
            return;
        }
        self.settle_all();
        let (found, newest) = (self.find(site, run), self.model.newest(run));
        let Some(life) = newest.map(|life| &self.model.lives[life]) else { return assert_eq!(found, None) };
        let record = found.expect("it is in the store");
        assert_eq!((record.fence, record.last, record.key.as_deref()), (life.fence, Seq(life.stored), life.key));
        assert_eq!(record.name, Some(name_of(run)));
        assert_eq!(record.is_running(), !life.is_known_to_have_ended());
        match life.end {
            Some(End::Interrupted(fence)) => {
                assert_eq!(record.status.word(), "failed");
                assert!(fence.is_none_or(|fence| record.end_fence == Some(fence)));
            }
            _ => assert_eq!(record.end_fence, None),
        }
    }

    fn restart(&mut self, site: usize) {
        let process = PROCESS_OF[site];
        self.processes[process].faults.set(None);
        self.settle_process(process);
        let running: Vec<usize> = (0..self.model.lives.len())
            .filter(|life| self.model.lives[*life].is_running() && self.model.lives[*life].owner == site)
            .collect();
        for life in running {
            let run = self.model.lives[life].run;
            self.note_published(life, &interrupted(run));
            self.model.lives[life].end = Some(End::Finished);
        }
        self.sites[site] = self.site(process);
        self.settle_process(process);
    }

    fn kill(&mut self, process: usize, first: bool) {
        let survivor = PROCESS_OF.iter().position(|other| *other != process).unwrap();
        if first || !self.works(survivor) {
            self.settle_process(process);
        }
        let is_settled = first || !self.works(survivor) || self.processes[process].faults.now().is_some();
        self.processes[process].faults.kill();
        let name = self.processes[process].name.clone();
        self.readers.retain(|reader| reader.process != name);
        for life in 0..self.model.lives.len() {
            let Life { run, owner, stored, .. } = self.model.lives[life];
            if PROCESS_OF[owner] != process || self.model.lives[life].is_known_to_have_ended() {
                continue;
            }
            let mut stored = stored;
            if !is_settled {
                let record = self.find(survivor, run).unwrap();
                assert!(!record.is_running());
                if record.end_fence.is_none() {
                    // The end was stored just in time.
                    assert_eq!(record.last.0, self.model.lives[life].last());
                    self.model.lives[life].stored = record.last.0;
                    continue;
                }
                stored = record.last.0 - 1;
            }
            self.model.lives[life].interrupt(stored, interrupted(run));
        }
        self.processes[process] = self.start();
        for (site, _) in PROCESS_OF.iter().enumerate().filter(|(_, of)| **of == process) {
            self.sites[site] = self.site(process);
        }
    }

    /// Finish everything and read everything: all agree, and nothing is left.
    pub fn wind_up(mut self) {
        self.processes.iter().for_each(|process| process.faults.set(None));
        for run in RUNS {
            if let Some(life) = self.model.newest(run) {
                self.finish(self.model.lives[life].owner, run);
            }
        }
        self.settle_all();
        for reader in 0..self.readers.len() {
            while self.read(reader) {}
            let told = &self.readers[reader].told;
            assert!(told.ended || self.expected(&self.readers[reader]) == Some(false));
        }
        for site in 0..PROCESS_OF.len() {
            for run in RUNS {
                self.check_record(site, run);
                self.subscribe(site, run, Start::After(None), true);
                let Some(life) = self.model.newest(run) else { continue };
                let reader = self.readers.len() - 1;
                while self.read(reader) {}
                assert!(self.readers[reader].told.ended && self.readers[reader].told.life == Some(life));
            }
            let running = Query { statuses: vec!["running".to_owned()], limit: 9, ..Query::default() };
            assert_eq!(self.ask(site, |engine| engine.list(running.clone(), false)), []);
        }
        self.readers.clear();
        for Site { manager, .. } in &self.sites {
            let Stats { active_runs, subscribed_runs, subscribers, .. } = manager.stats();
            assert_eq!((active_runs, subscribed_runs, subscribers), (0, 0, 0));
        }
    }
}
