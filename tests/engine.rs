//! The engine on a SQLite store. Two engines with names of their own are to each other what two processes are.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::faulty::{Fault, Faults};
use common::memory::Watch;
use common::stores::{Folder, ask};
use common::{PATIENCE, limits, payload, short, wait_until};
use genglossary_runs::core::archive::{Backlog, Wanted};
use genglossary_runs::core::{
    CancelEvent, Event, Fence, Gap, Key, NotReady, RunId, RunIdRef, RunManager, Seq, Start, Subscription,
};
use genglossary_runs::store::sqlite::SqliteFile;
use genglossary_runs::store::{Engine, Error, Level, Limits, NewRun, Opened, Outcome, Source, Store, Wake, engine};

/// What one process has: a manager whose runs hold few events, and an engine.
struct Process {
    manager: RunManager,
    engine: Engine,
}

impl Folder {
    fn process(&self, name: &str) -> Process {
        self.process_with(name, 10)
    }

    fn process_with(&self, name: &str, events: usize) -> Process {
        self.process_on(name, events, |source| source)
    }

    /// One whose store fails when it is told to.
    fn faulty_process(&self, name: &str) -> (Process, Faults) {
        let faults = Faults::default();
        (self.process_on(name, 10, |source| faults.before(source)), faults)
    }

    fn process_on(&self, name: &str, events: usize, store: impl FnOnce(Box<dyn Source>) -> Box<dyn Source>) -> Process {
        let path = self.file();
        let manager = RunManager::new(limits(events, 1 << 20, 100, 1 << 20));
        let source = || store(Box::new(SqliteFile::new(&path, Limits::default())));
        let name = format!("{}#{name}", path.display());
        let report = Box::new(|level: Level, message: &str| eprintln!("{level:?}: {message}"));
        let engine = Engine::of(&name, manager.clone(), source, report).unwrap();
        Process { manager, engine }
    }
}

const RUN: RunIdRef<'static> = RunIdRef::Int(7);

impl Process {
    fn begin(&self) -> Opened {
        ask(&self.engine.begin(NewRun { run_id: Some(RunId::Int(7)), ..NewRun::default() })).unwrap()
    }

    fn open(&self) -> genglossary_runs::core::sync::Arc<CancelEvent> {
        match self.begin() {
            Opened::Run(_, cancel) => cancel,
            Opened::RunActive(record) | Opened::KeyActive(record) => panic!("{record:?}"),
        }
    }

    /// Open the run as soon as the end of its last life is stored.
    fn open_again(&self) {
        wait_until("the run can begin again", || matches!(self.begin(), Opened::Run(..)));
    }

    fn publish(&self, words: impl IntoIterator<Item = u32>) {
        for word in words {
            self.manager.publish(RUN, payload(&format!(r#"{{"n":{word}}}"#))).expect("it is open");
        }
    }

    fn finish(&self) {
        assert!(self.manager.finish(RUN, payload(r#"{"status":"completed"}"#), false));
    }

    fn subscribe(&self, start: Start) -> Subscription {
        ask(&self.engine.subscribe(RunId::Int(7), start, true)).unwrap().expect("there is such a run")
    }
}

fn next(reader: &Subscription) -> Option<Event> {
    match common::next(reader) {
        Ok(event) => Some(event),
        Err(NotReady::Ended) => None,
        Err(NotReady::Pending(_)) => panic!("nothing came"),
    }
}

/// Read to the end, and check that every seq is told of once; how many events came and how many were missed.
fn read_all(reader: &Subscription, first: u64) -> (u64, u64) {
    let (mut expected, mut received, mut missed, mut ended) = (first, 0, 0, false);
    while let Some(event) = next(reader) {
        assert!(!ended);
        match event {
            Event::Message(id, _) => {
                assert_eq!(id.seq.0, expected, "{}", short(&event));
                (expected, received) = (expected + 1, received + 1);
            }
            Event::Terminal(id, _) => {
                assert_eq!(id.seq.0, expected);
                (received, ended) = (received + 1, true);
            }
            Event::Gap(gap) => {
                assert_eq!(gap.from.0, expected);
                (expected, missed) = (gap.to.0 + 1, missed + gap.missed());
            }
            Event::Private(_) => {}
        }
    }
    assert!(ended);
    (received, missed)
}

#[test]
fn a_reader_elsewhere_sees_all_of_a_run_with_the_ids_of_its_owner() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    let local = owner.manager.subscribe(RUN, Start::After(None), true).unwrap();
    let remote = other.subscribe(Start::After(None));
    owner.publish(1..=5);
    owner.finish();
    let all = |reader: &Subscription| -> Vec<String> {
        std::iter::from_fn(|| next(reader)).map(|event| format!("{event:?}")).collect()
    };
    assert_eq!(all(&remote), all(&local));
}

#[test]
fn a_reader_that_is_slower_than_the_log_misses_nothing_that_is_stored() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    let local = owner.manager.subscribe(RUN, Start::After(None), true).unwrap();
    let remote = other.subscribe(Start::After(None));
    for part in 0..50 {
        owner.publish(part * 5..part * 5 + 5);
        // Within what the log holds: the store has all of it.
        wait_until("it is stored", || owner.engine.health().events_stored >= u64::from(part) * 5 + 5);
    }
    owner.finish();
    assert_eq!(read_all(&local, 1), (251, 0));
    assert_eq!(read_all(&remote, 1), (251, 0));
}

#[test]
fn what_the_log_evicted_before_it_was_stored_is_a_named_gap_for_every_reader() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    let local = owner.manager.subscribe(RUN, Start::After(None), true).unwrap();
    let remote = other.subscribe(Start::After(None));
    owner.publish(1..=20_000);
    owner.finish();
    for reader in [&local, &remote] {
        let (received, missed) = read_all(reader, 1);
        assert_eq!(received + missed, 20_001);
        assert!(missed > 0, "nothing was evicted before it could be stored");
    }
}

#[test]
fn a_finished_run_is_read_after_its_process_has_gone() {
    let folder = Folder::new();
    let owner = folder.process("a");
    owner.open();
    owner.publish(1..=8);
    owner.finish();
    drop(owner);
    let other = folder.process("b");
    assert_eq!(read_all(&other.subscribe(Start::After(None)), 1), (9, 0));
    let newest = other.subscribe(Start::Newest);
    assert!(matches!(next(&newest), Some(Event::Terminal(..))));
    assert!(next(&newest).is_none());
    // A second reader of the same process has it from memory.
    assert_eq!(read_all(&other.subscribe(Start::After(None)), 1), (9, 0));
}

#[test]
fn a_resumed_reader_goes_on_after_its_event_in_any_process() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    owner.publish(1..=8);
    let reader = other.subscribe(Start::After(None));
    for _ in 0..3 {
        next(&reader).unwrap();
    }
    let resumed = other.subscribe(Start::After(Some(reader.last_event_id())));
    owner.finish();
    assert_eq!(read_all(&resumed, 4), (6, 0));
    // After the terminal event there is nothing.
    let again = other.subscribe(Start::After(Some(resumed.last_event_id())));
    assert!(again.is_ended() && next(&again).is_none());
}

#[test]
fn a_reader_that_waits_for_a_run_sees_it_begin_elsewhere() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    assert!(ask(&other.engine.subscribe(RunId::Int(7), Start::Newest, true)).unwrap().is_none());
    let waiting = ask(&other.engine.subscribe(RunId::Int(7), Start::Newest, false)).unwrap().unwrap();
    owner.open();
    owner.publish(1..=3);
    owner.finish();
    assert_eq!(read_all(&waiting, 1), (4, 0));
}

#[test]
fn a_run_of_many_events_is_read_in_pages() {
    let folder = Folder::new();
    let owner = folder.process_with("a", 20_000);
    owner.open();
    owner.publish(1..=12_345);
    owner.finish();
    drop(owner);
    assert_eq!(read_all(&folder.process("b").subscribe(Start::After(None)), 1), (12_346, 0));
}

#[test]
fn frames_of_pages_are_the_frames_of_the_log() {
    let folder = Folder::new();
    let owner = folder.process_with("a", 20_000);
    owner.open();
    owner.publish(1..=5000);
    owner.finish();
    let frames = |reader: &Subscription| {
        let (mut frames, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        loop {
            match reader.try_next_chunk(1 << 16) {
                Ok(chunk) => frames.extend_from_slice(&chunk.frames),
                Err(NotReady::Pending(epoch)) => reader.wait(epoch, Some(deadline)),
                Err(NotReady::Ended) => return frames,
            }
        }
    };
    let local = frames(&owner.manager.subscribe(RUN, Start::After(None), true).unwrap());
    assert_eq!(frames(&folder.process("b").subscribe(Start::After(None))), local);
}

#[test]
fn commands_reach_the_owner_from_elsewhere() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    let cancel = owner.open();
    let id = ask(&other.engine.publish(RunId::Int(7), payload("{}"))).unwrap().expect("it is running");
    assert!(id.ends_with("-1"), "{id}");
    assert!(ask(&other.engine.cancel(RunId::Int(7))).unwrap().is_some());
    assert!(cancel.wait(Some(Instant::now() + PATIENCE)));
    assert!(ask(&other.engine.finish(RunId::Int(7), payload("{}"))).unwrap().is_some());
    assert!(ask(&other.engine.finish(RunId::Int(7), payload("{}"))).unwrap().is_none());
    assert!(ask(&other.engine.cancel(RunId::Int(7))).unwrap().is_none());
    assert!(!owner.manager.is_open(RUN));
}

#[test]
fn commands_for_a_run_that_had_ended_reached_the_next_life_of_its_id() {
    let folder = Folder::new();
    let ((owner, faults), other) = (folder.faulty_process("a"), folder.process("b"));
    owner.open();
    let held = faults.hold_commands();
    assert!(ask(&other.engine.cancel(RunId::Int(7))).unwrap().is_some());
    let (publish, finish) = (payload("{}"), payload("{}"));
    let replies = [other.engine.publish(RunId::Int(7), publish), other.engine.finish(RunId::Int(7), finish)];
    // They have been sent when this is answered.
    assert!(ask(&other.engine.find(RunId::Int(7), false)).unwrap().is_some());
    wait_until("the owner is about to obey", || faults.waits_for_commands());
    owner.finish();
    let cancel = owner.manager.open(RUN).unwrap();
    drop(held);
    for reply in replies {
        assert_eq!(ask(&reply).unwrap(), None);
    }
    assert!(owner.manager.is_open(RUN) && !cancel.is_set());
    assert_eq!(owner.manager.open_run(RUN).unwrap().lock().log.last(), Seq::ZERO);
}

#[test]
fn a_run_that_was_finished_from_elsewhere_had_the_outcome_of_a_finish_here_that_came_too_late() {
    let folder = Folder::new();
    let ((owner, faults), other) = (folder.faulty_process("a"), folder.process("b"));
    owner.open();
    let run = owner.manager.open_run(RUN).unwrap();
    let held = faults.hold_commands();
    let finished = other.engine.finish(RunId::Int(7), payload(r#"{"status":"completed"}"#));
    wait_until("the owner is about to obey", || faults.waits_for_commands());
    // It can store nothing yet.
    faults.set(Some(Fault::Locked));
    drop(held);
    wait_until("it has obeyed", || !owner.manager.is_open(RUN));
    assert!(!owner.engine.finish_here(&run, payload("{}"), Outcome::interrupted()));
    faults.set(None);
    assert!(ask(&finished).unwrap().is_some());
    let (record, _) = ask(&other.engine.find(RunId::Int(7), false)).unwrap().unwrap();
    assert_eq!(record.status.word(), "completed");
    assert_eq!(record.error, None);
}

#[test]
fn an_id_and_a_key_are_free_when_the_end_of_their_run_is_seen_elsewhere() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    let mut last = 0;
    for (process, elsewhere) in [(&owner, &other), (&other, &owner), (&owner, &other), (&owner, &other)] {
        let new = NewRun { run_id: Some(RunId::Int(7)), key: Some("book".to_owned()), name: Some("Atlas".to_owned()) };
        let Opened::Run(..) = ask(&process.engine.begin(new.clone())).unwrap() else { panic!("not free") };
        let refused = ask(&owner.engine.begin(NewRun { run_id: Some(RunId::Int(8)), ..new.clone() })).unwrap();
        assert!(matches!(refused, Opened::KeyActive(_)));
        assert!(matches!(ask(&other.engine.begin(new)).unwrap(), Opened::RunActive(_)));
        let fence = process.manager.live_run(RUN).unwrap().lock().fence;
        assert!(fence.0 > last);
        last = fence.0;
        let reader = elsewhere.subscribe(Start::After(None));
        process.finish();
        read_all(&reader, 1);
    }
}

#[test]
fn the_runs_of_a_manager_that_is_dropped_end_as_interrupted() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    owner.publish(1..=2);
    let reader = other.subscribe(Start::After(None));
    drop(owner);
    assert_eq!(read_all(&reader, 1), (3, 0));
    let (record, _) = ask(&other.engine.find(RunId::Int(7), false)).unwrap().unwrap();
    assert_eq!((record.status.word(), record.error.is_some()), ("failed", true));
}

#[test]
fn two_managers_of_one_store_share_an_engine_and_see_each_others_runs() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("same"), folder.process("same"));
    owner.open();
    let reader = other.subscribe(Start::After(None));
    owner.publish(1..=9);
    owner.finish();
    assert_eq!(read_all(&reader, 1), (10, 0));
}

#[test]
fn a_store_that_is_deleted_is_made_anew_and_its_runs_go_on() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    owner.publish(1..=3);
    let reader = other.subscribe(Start::After(None));
    for expected in 1..=3 {
        assert_eq!(short(&next(&reader).unwrap()), format!(r#"{expected} {{"n":{expected}}}"#));
    }
    fs::remove_file(folder.file()).unwrap();
    // What the owner stores before it looks for news is not lost with the old file either.
    owner.publish(4..=5);
    owner.finish();
    assert_eq!(read_all(&reader, 4), (3, 0));
}

#[test]
fn runs_that_a_store_lost_were_never_stored_again_if_it_was_locked_when_it_was_back() {
    let folder = Folder::new();
    let (owner, faults) = folder.faulty_process("a");
    let runs: Vec<RunId> = (1..=3).map(RunId::Int).collect();
    for run_id in &runs {
        ask(&owner.engine.begin(NewRun { run_id: Some(run_id.clone()), ..NewRun::default() })).unwrap();
        owner.manager.publish(run_id.as_ref(), payload("{}")).unwrap();
    }
    wait_until("they are stored", || owner.engine.health().events_stored == 3);
    faults.set(Some(Fault::Locked));
    let refused = faults.refused();
    fs::remove_file(folder.file()).unwrap();
    wait_until("it was tried to store them again", || faults.refused() >= refused + 3);
    faults.set(None);
    let events = |run_id: &RunId| Some(ask(&owner.engine.find(run_id.clone(), false)).ok()??.0.last);
    wait_until("all are stored again", || runs.iter().all(|run_id| events(run_id) == Some(Seq(1))));
}

#[test]
fn what_was_asked_while_another_process_wrote_was_refused() {
    let folder = Folder::new();
    let (owner, (other, faults)) = (folder.process("a"), folder.faulty_process("b"));
    let cancel = owner.open();
    other.engine.find(RunId::Int(7), false).wait(Some(Instant::now() + PATIENCE));
    let while_locked = |asked: &mut dyn FnMut()| {
        faults.set(Some(Fault::Locked));
        let refused = faults.refused();
        asked();
        wait_until("the store is asked again", || faults.refused() >= refused + 3);
        faults.set(None);
    };
    let begin = |run_id| other.engine.begin(NewRun { run_id: Some(RunId::Int(run_id)), ..NewRun::default() });
    let mut begun = Vec::new();
    while_locked(&mut || begun = (8..11).map(begin).collect());
    assert!(begun.iter().all(|answer| matches!(ask(answer), Ok(Opened::Run(..)))));
    let mut sent = None;
    while_locked(&mut || sent = Some(other.engine.cancel(RunId::Int(7))));
    assert!(ask(&sent.unwrap()).unwrap().is_some());
    assert!(cancel.wait(Some(Instant::now() + PATIENCE)));
    let mut found = None;
    while_locked(&mut || found = Some(other.engine.find(RunId::Int(7), false)));
    assert!(ask(&found.unwrap()).unwrap().is_some());
}

#[test]
fn a_run_that_had_ended_here_was_in_the_way_of_its_next_life_until_all_of_it_was_stored() {
    let folder = Folder::new();
    let faults = Faults::default();
    let owner = folder.process_on("a", 20_000, |source| faults.before(source));
    owner.open();
    // More than is stored at once.
    faults.set(Some(Fault::Locked));
    owner.publish(0..10_000);
    owner.finish();
    let begun = owner.engine.begin(NewRun { run_id: Some(RunId::Int(7)), ..NewRun::default() });
    let refused = faults.refused();
    wait_until("it was tried", || faults.refused() >= refused + 3);
    faults.set(None);
    assert!(matches!(ask(&begun), Ok(Opened::Run(..))));
}

#[test]
fn a_mirror_was_not_filled_whose_fence_was_the_one_that_its_process_would_have_given() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    // Both are the milliseconds of now, so every few lives they are the same.
    for _ in 0..50 {
        owner.open();
        let reader = other.subscribe(Start::After(None));
        owner.finish();
        assert_eq!(read_all(&reader, 1), (1, 0));
    }
}

#[test]
fn a_reader_goes_on_when_its_manager_has_been_dropped() {
    let folder = Folder::new();
    let owner = folder.process_with("a", 5000);
    owner.open();
    owner.publish(1..=3000);
    let live = folder.process("b").subscribe(Start::After(None));
    owner.finish();
    assert_eq!(read_all(&live, 1), (3001, 0));
    assert_eq!(read_all(&folder.process("c").subscribe(Start::After(None)), 1), (3001, 0));
}

#[test]
fn a_reader_that_is_polled_by_its_number_of_unread_events_waited_for_ever() {
    let folder = Folder::new();
    let owner = folder.process_with("a", 5000);
    owner.open();
    owner.publish(1..=3000);
    owner.finish();
    let reader = folder.process("b").subscribe(Start::After(None));
    let mut read = 0;
    wait_until("it has been read to the end", || {
        if reader.unread() > 0 {
            reader.try_next().expect("it was said to be there");
            read += 1;
        }
        reader.is_ended()
    });
    assert_eq!(read, 3001);
}

#[test]
fn a_run_that_opened_again_took_over_the_mirror_of_its_last_life() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    // Whether the mirror is ended before the next life begins is a matter of luck.
    for _ in 0..20 {
        owner.open_again();
        owner.publish(1..=3);
        let reader = other.subscribe(Start::After(None));
        for seq in 1..=3 {
            assert_eq!(short(&next(&reader).unwrap()), format!(r#"{seq} {{"n":{seq}}}"#));
        }
        owner.finish();
        other.open_again();
        let first = other.manager.publish(RUN, payload("{}")).expect("it is open");
        assert_eq!(first.seq.0, 1);
        assert_eq!(read_all(&reader, 4), (1, 0));
        other.finish();
    }
}

#[test]
fn a_mirror_was_left_alone_when_its_managers_had_gone_and_the_store_was_locked() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    owner.publish(1..=3);
    let reader = other.subscribe(Start::After(None));
    assert_eq!(short(&next(&reader).unwrap()), r#"1 {"n":1}"#);
    ask(&other.engine.begin(NewRun { run_id: Some(RunId::Int(8)), ..NewRun::default() })).unwrap();
    let name = other.engine.name().to_owned();
    let locked = rusqlite::Connection::open(folder.file()).unwrap();
    locked.busy_timeout(PATIENCE).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop(other);
    // It stays two seconds for what it has to write, and as long as it is read for that.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(engine::is_open(&name), "nobody fills the mirror any more");
        std::thread::sleep(Duration::from_millis(10));
    }
    locked.execute_batch("ROLLBACK").unwrap();
    owner.finish();
    assert_eq!(read_all(&reader, 2), (3, 0));
    drop(reader);
    wait_until("an engine that nobody uses has ended", || !engine::is_open(&name));
}

/// A store whose disk is stuck until something comes through the channel; then its driver panics.
struct Broken(crossbeam_channel::Receiver<()>);

impl Source for Broken {
    fn connect(&self, _wake: &Wake) -> Result<Box<dyn Store>, Error> {
        let _ = self.0.recv();
        panic!("as this test wants");
    }

    fn owner(&self) -> String {
        "nobody".to_owned()
    }
}

/// The engine of such a store, and what its disk waits for.
fn broken(name: &str) -> (crossbeam_channel::Sender<()>, Engine) {
    let (unstick, stuck) = crossbeam_channel::bounded(1);
    let report = Box::new(|_: Level, _: &str| ());
    let manager = RunManager::new(limits(10, 1 << 20, 100, 1 << 20));
    (unstick, Engine::of(name, manager, || Box::new(Broken(stuck)), report).unwrap())
}

#[test]
fn what_a_reader_lacked_was_never_refused_when_the_thread_ended() {
    let (unstick, engine) = broken("broken");
    let (tell, told) = crossbeam_channel::unbounded();
    let request = || {
        let tell = tell.clone();
        engine.archive().request(Wanted {
            key: Key::new(),
            fence: Fence(1),
            gap: Gap { from: Seq(1), to: Seq(9) },
            backlog: Backlog::new(),
            wake: Box::new(move || tell.send(()).unwrap()),
        });
    };
    request();
    unstick.send(()).unwrap();
    told.recv_timeout(PATIENCE).expect("its reader waits for ever");
    request();
    told.recv_timeout(PATIENCE).expect("so does one that comes later");
}

#[test]
fn questions_that_waited_when_the_thread_ended_had_no_answer() {
    let (unstick, engine) = broken("broken too");
    let waiting: Vec<_> = (0..3).map(|number| engine.find(RunId::Int(number), false)).collect();
    unstick.send(()).unwrap();
    let later = engine.find(RunId::Int(9), false);
    let deadline = Instant::now() + PATIENCE;
    for answer in waiting.iter().chain([&later]) {
        answer.wait(Some(deadline));
        assert!(matches!(answer.take(), Ok(Err(Error::Failed(_)))), "the asker waits for its timeout");
    }
}

#[test]
fn constant_questions_kept_mirrors_from_being_filled() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    let reader = other.subscribe(Start::After(None));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    other.engine.find(RunId::Int(7), false);
                }
            });
        }
        // The questions are many by now.
        while other.engine.find(RunId::Int(7), false).take().is_err() {
            std::thread::yield_now();
        }
        owner.publish(1..=3);
        owner.finish();
        let deadline = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < deadline && !matches!(last, Some(Event::Terminal(..))) {
            match reader.try_next() {
                Ok(event) => last = Some(event),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        ended.store(true, Ordering::Relaxed);
        assert!(matches!(last, Some(Event::Terminal(..))), "the mirror is not filled");
    });
}

#[test]
fn how_a_run_ended_that_is_not_stored_here_was_kept_for_ever() {
    let folder = Folder::new();
    let (owner, other) = (folder.process("a"), folder.process("b"));
    owner.open();
    let _reader = other.subscribe(Start::After(None));
    let outcome = Outcome { status: "watched".to_owned(), ..Outcome::interrupted() };
    let watch = Watch::of(outcome.status.as_bytes());
    let unstored = RunIdRef::Int(8);
    other.manager.open(unstored).unwrap();
    assert!(other.engine.finish_here(&other.manager.open_run(unstored).unwrap(), payload("{}"), outcome));
    wait_until("it is freed", || watch.is_freed());
}
