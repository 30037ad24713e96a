//! The store on SQLite, as far as one process can tell.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::stores::Folder;
use genglossary_runs::core::{EventName, Fence, Payload, RunId, RunIdRef, Seq};
use genglossary_runs::store::sqlite::{SqliteStore, refuse_if_open};
use genglossary_runs::store::{
    Append, Begun, Command, Error, Fate, Limits, NewRun, News, Outcome, Query, Record, Store, StoredEvent,
};
use rusqlite::Connection;

impl Folder {
    fn store(&self) -> SqliteStore {
        self.limited(Limits::default())
    }

    fn limited(&self, limits: Limits) -> SqliteStore {
        SqliteStore::open(&self.file(), limits).unwrap()
    }
}

fn named(run_id: i64, key: Option<&str>) -> NewRun {
    NewRun { run_id: Some(RunId::Int(run_id)), key: key.map(str::to_owned), ..NewRun::default() }
}

fn begin(store: &mut SqliteStore, run_id: i64) -> Record {
    match store.begin(&named(run_id, None)).unwrap() {
        Begun::Started(record) => record,
        refused => panic!("{refused:?}"),
    }
}

fn json(text: &str) -> Payload {
    Payload::new(None, text.as_bytes())
}

fn event(seq: u64) -> StoredEvent {
    StoredEvent { seq: Seq(seq), payload: json(&format!(r#"{{"n":{seq}}}"#)) }
}

fn append(store: &mut SqliteStore, run: &Record, seqs: impl IntoIterator<Item = u64>) -> Fate {
    let events: Vec<_> = seqs.into_iter().map(event).collect();
    let last = events.last().unwrap().seq;
    store.append(&[Append { fence: run.fence, events, last, end: None }]).unwrap()[0]
}

fn finish(store: &mut SqliteStore, run: &Record, seq: u64) -> Fate {
    let payload = json(r#"{"complete":true,"status":"completed"}"#);
    let end = Outcome::of_event(payload.json());
    let events = vec![StoredEvent { seq: Seq(seq), payload }];
    store.append(&[Append { fence: run.fence, events, last: Seq(seq), end: Some(end) }]).unwrap()[0]
}

fn seqs(store: &mut SqliteStore, fence: Fence, from: u64) -> Vec<u64> {
    store.read(fence, Seq(from), 10_000, 1 << 20).unwrap().iter().map(|event| event.seq.0).collect()
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, Limits::default()) {
        Err(Error::Refused(message)) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    assert_eq!(append(&mut store, &run, 1..=3), Fate::Stored);
    assert_eq!(finish(&mut store, &run, 4), Fate::Stored);
    drop(store);
    let mut store = folder.store();
    let found = store.find(&RunId::Int(7)).unwrap().unwrap();
    assert_eq!((found.status.word(), found.last, found.fence), ("completed", Seq(4), run.fence));
    assert_eq!(seqs(&mut store, run.fence, 2), [2, 3, 4]);
}

#[test]
fn events_come_in_pages_of_events_and_of_bytes() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    append(&mut store, &run, 1..=100);
    assert_eq!(store.read(run.fence, Seq(5), 10, 1 << 20).unwrap().len(), 10);
    assert_eq!(store.read(run.fence, Seq(5), 10, 1).unwrap().len(), 1);
    assert_eq!(store.read(run.fence, Seq(101), 10, 1 << 20).unwrap().len(), 0);
}

#[test]
fn an_event_keeps_its_name_and_its_text() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    let payload = Payload::new(EventName::try_from("step").ok(), r#"{"message":"用語 \u2028"}"#.as_bytes());
    let stored = StoredEvent { seq: Seq(1), payload: payload.clone() };
    store.append(&[Append { fence: run.fence, events: vec![stored], last: Seq(1), end: None }]).unwrap();
    let found = store.read(run.fence, Seq(1), 1, 1).unwrap().remove(0);
    assert_eq!((found.payload.name(), found.payload.json()), (payload.name(), payload.json()));
}

#[test]
fn a_write_that_is_repeated_stores_nothing_twice() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    for _ in 0..2 {
        assert_eq!(append(&mut store, &run, 1..=3), Fate::Stored);
    }
    for _ in 0..2 {
        assert_eq!(finish(&mut store, &run, 4), Fate::Stored);
    }
    assert_eq!(seqs(&mut store, run.fence, 1), [1, 2, 3, 4]);
}

#[test]
fn fences_rise_over_lives_runs_and_restarts() {
    let folder = Folder::new();
    let mut last = Fence(0);
    for _ in 0..3 {
        let mut store = folder.store();
        for run_id in [1, 1, 2] {
            let run = begin(&mut store, run_id);
            assert!(run.fence > last);
            last = run.fence;
            finish(&mut store, &run, 1);
        }
    }
}

#[test]
fn an_id_and_a_key_have_one_active_run() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = match store.begin(&named(7, Some("book"))).unwrap() {
        Begun::Started(record) => record,
        refused => panic!("{refused:?}"),
    };
    assert_eq!(store.begin(&named(7, None)).unwrap(), Begun::RunActive(run.clone()));
    assert_eq!(store.begin(&named(8, Some("book"))).unwrap(), Begun::KeyActive(run.clone()));
    finish(&mut store, &run, 1);
    assert!(matches!(store.begin(&named(8, Some("book"))).unwrap(), Begun::Started(_)));
}

#[test]
fn ids_that_the_store_gives_are_larger_than_all_before() {
    let folder = Folder::new();
    let mut store = folder.store();
    let mut give = |run_id| match store.begin(&NewRun { run_id, ..NewRun::default() }).unwrap() {
        Begun::Started(Record { run_id: RunId::Int(number), .. }) => number,
        refused => panic!("{refused:?}"),
    };
    let first = give(None);
    assert!(give(None) > first);
    let most = 1 << 52;
    assert_eq!(give(Some(RunId::Int(most - 2))), most - 2);
    assert_eq!(give(None), most - 1);
}

#[test]
fn no_id_was_given_any_more_after_the_largest_integer() {
    let folder = Folder::new();
    let mut store = folder.store();
    begin(&mut store, i64::MAX);
    assert_new_ids_rise(&mut store);
}

#[test]
fn no_id_was_given_any_more_in_a_store_of_an_older_version_with_the_largest_integer() {
    let folder = Folder::new();
    let mut store = folder.store();
    let file = Connection::open(folder.file()).unwrap();
    file.execute("UPDATE clock SET last_run_id = ?1", [i64::MAX]).unwrap();
    assert_new_ids_rise(&mut store);
}

fn assert_new_ids_rise(store: &mut SqliteStore) {
    let mut give = || match store.begin(&NewRun::default()).unwrap() {
        Begun::Started(Record { run_id: RunId::Int(number), .. }) => number,
        refused => panic!("{refused:?}"),
    };
    let first = give();
    assert!(give() > first);
}

#[test]
fn a_number_that_is_none_of_sqlites_made_the_store_fail() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    let (before, also) = (Some(Fence(u64::MAX)), vec![Fence(u64::MAX)]);
    let found = store.list(&Query { before, also, limit: usize::MAX, ..Query::default() }).unwrap();
    assert_eq!(found, [run]);
    assert!(store.read(Fence(u64::MAX), Seq(u64::MAX), usize::MAX, usize::MAX).unwrap().is_empty());
}

#[test]
fn a_text_and_an_integer_are_two_runs() {
    let folder = Folder::new();
    let mut store = folder.store();
    let text = RunId::from(RunIdRef::Text("07"));
    store.begin(&NewRun { run_id: Some(text.clone()), ..NewRun::default() }).unwrap();
    begin(&mut store, 7);
    assert_eq!(store.find(&text).unwrap().unwrap().run_id, text);
    assert_eq!(store.find(&RunId::Int(7)).unwrap().unwrap().run_id, RunId::Int(7));
}

#[test]
fn a_new_life_hides_the_one_before() {
    let folder = Folder::new();
    let mut store = folder.store();
    let first = begin(&mut store, 7);
    finish(&mut store, &first, 1);
    let second = begin(&mut store, 7);
    assert_eq!(store.find(&RunId::Int(7)).unwrap().unwrap().fence, second.fence);
    assert_eq!(store.list(&Query { limit: 9, ..Query::default() }).unwrap().len(), 1);
    // Who reads the first goes on.
    assert_eq!(seqs(&mut store, first.fence, 1), [1]);
}

#[test]
fn records_come_newest_first_by_key_by_status_and_in_pages() {
    let folder = Folder::new();
    let mut store = folder.store();
    for run_id in 1..=5 {
        let Begun::Started(run) = store.begin(&named(run_id, Some("book"))).unwrap() else { panic!() };
        if run_id < 5 {
            finish(&mut store, &run, 1);
        }
    }
    begin(&mut store, 6);
    let mut ids = |query: Query| -> Vec<i64> {
        let number = |run: &Record| if let RunId::Int(number) = run.run_id { number } else { 0 };
        store.list(&query).unwrap().iter().map(number).collect()
    };
    assert_eq!(ids(Query { limit: 2, ..Query::default() }), [6, 5]);
    assert_eq!(ids(Query { limit: 9, key: Some("book".to_owned()), ..Query::default() }), [5, 4, 3, 2, 1]);
    assert_eq!(ids(Query { limit: 9, statuses: vec!["running".to_owned()], ..Query::default() }), [6, 5]);
    let third = store.find(&RunId::Int(3)).unwrap().unwrap().fence;
    assert_eq!(store.list(&Query { limit: 9, before: Some(third), ..Query::default() }).unwrap().len(), 2,);
}

#[test]
fn another_connection_sees_news_once() {
    let folder = Folder::new();
    let mut store = folder.store();
    let mut other = folder.store();
    let run = begin(&mut store, 7);
    other.news().unwrap();
    assert_eq!(other.news().unwrap(), News::nothing());
    append(&mut store, &run, 1..=1);
    assert_eq!(other.news().unwrap(), News::anything());
    assert_eq!(other.news().unwrap(), News::nothing());
    // What a connection writes itself is no news to it.
    store.news().unwrap();
    append(&mut store, &run, 2..=2);
    assert_eq!(store.news().unwrap(), News::nothing());
}

#[test]
fn a_command_reaches_the_owner_and_its_reply_whoever_sent_it() {
    let folder = Folder::new();
    let mut owner = folder.store();
    let mut other = folder.store();
    let run = begin(&mut owner, 7);
    let publish = Command::Publish(Payload::new(EventName::try_from("step").ok(), b"{}"));
    let number = other.send(run.fence, &publish).unwrap();
    other.send(run.fence, &Command::Cancel).unwrap();
    assert!(other.commands().unwrap().is_empty());
    let commands = owner.commands().unwrap();
    assert!(matches!(&commands[0].2, Command::Publish(event) if event.name() == Some("step") && event.json() == b"{}"));
    assert!(matches!(commands[1].2, Command::Cancel));
    assert_eq!(commands.len(), 2);
    assert_eq!(other.take_reply(number).unwrap(), None);
    owner.reply(commands[0].0, Some("1-2")).unwrap();
    owner.reply(commands[1].0, None).unwrap();
    assert!(owner.commands().unwrap().is_empty());
    assert_eq!(other.take_reply(number).unwrap().as_deref(), Some("1-2"));
}

#[test]
fn a_command_to_a_run_that_has_ended_has_an_empty_reply() {
    let folder = Folder::new();
    let mut owner = folder.store();
    let mut other = folder.store();
    let run = begin(&mut owner, 7);
    let number = other.send(run.fence, &Command::Finish(json("{}"))).unwrap();
    finish(&mut owner, &run, 1);
    // Its owner, which may have ended it as this command says, is yet to reply.
    assert_eq!(other.take_reply(number).unwrap(), None);
    assert_eq!(owner.commands().unwrap().len(), 1);
    owner.reply(number, Some("finished")).unwrap();
    assert_eq!(other.take_reply(number).unwrap().as_deref(), Some("finished"));
    let late = other.send(run.fence, &Command::Finish(json("{}"))).unwrap();
    assert!(owner.commands().unwrap().is_empty());
    assert_eq!(other.take_reply(late).unwrap().as_deref(), Some(""));
}

#[test]
fn the_runs_of_an_owner_that_died_end_once_as_failed() {
    let folder = Folder::new();
    let mut owner = folder.store();
    let mut other = folder.store();
    let run = begin(&mut owner, 7);
    append(&mut owner, &run, 1..=3);
    assert_eq!(other.reap(&[], true).unwrap(), 0, "a live owner was taken for dead");
    // Its lock goes, its record stays, as after a kill.
    drop(owner);
    assert_eq!(other.reap(&[run.fence], false).unwrap(), 1);
    assert_eq!(other.reap(&[], true).unwrap(), 0);
    let found = other.record(run.fence).unwrap().unwrap();
    assert_eq!(found.status.word(), "failed");
    assert_eq!(found.error.as_deref(), Some("Interrupted: the process that ran it ended"));
    assert!(found.end_fence.unwrap() > run.fence, "the terminal event may have an id of the dead owner's");
    let last = other.read(run.fence, Seq(4), 9, 1 << 20).unwrap().remove(0);
    assert_eq!(
        String::from_utf8_lossy(last.payload.json()),
        r#"{"run_id":7,"complete":true,"status":"failed","error":"Interrupted: the process that ran it ended"}"#
    );
}

#[test]
fn an_owner_that_was_taken_for_dead_stores_nothing_more() {
    let folder = Folder::new();
    let mut owner = folder.store();
    let mut other = folder.store();
    let run = begin(&mut owner, 7);
    for entry in fs::read_dir(&folder.0).unwrap().flatten() {
        if entry.file_name().to_string_lossy().contains("-owner-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    assert_eq!(other.reap(&[], true).unwrap(), 1);
    assert_eq!(append(&mut owner, &run, 1..=1), Fate::Refused);
    assert_eq!(finish(&mut owner, &run, 2), Fate::Refused);
}

#[test]
fn an_owner_without_runs_leaves_nothing_behind() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    finish(&mut store, &run, 1);
    drop(store);
    let left: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".lock")), "{left:?}");
}

#[test]
fn old_runs_go_by_age_by_number_and_by_size() {
    let filled = |limits: Limits| {
        let folder = Folder::new();
        let mut store = folder.limited(limits);
        for run_id in 1..=5 {
            let run = begin(&mut store, run_id);
            append(&mut store, &run, 1..=2000);
            finish(&mut store, &run, 2001);
        }
        while store.tidy().unwrap() {}
        (store.usage().unwrap(), folder)
    };
    let all = filled(Limits::default()).0;
    assert_eq!(all.runs, 5);
    assert_eq!(filled(Limits { age: Duration::ZERO, ..Limits::default() }).0.runs, 0);
    assert_eq!(filled(Limits { runs: 2, ..Limits::default() }).0.runs, 2);
    let (usage, _folder) = filled(Limits { bytes: all.bytes / 2, ..Limits::default() });
    assert!(usage.bytes <= all.bytes / 2 && usage.runs > 0, "{usage:?}");
}

#[test]
fn a_run_that_is_too_large_loses_its_oldest_events_while_it_runs() {
    let folder = Folder::new();
    let mut store = folder.limited(Limits { bytes: 400_000, ..Limits::default() });
    let run = begin(&mut store, 7);
    append(&mut store, &run, 1..=20_000);
    while store.tidy().unwrap() {}
    let left = seqs(&mut store, run.fence, 1);
    assert!(left[0] > 1 && *left.last().unwrap() == 20_000, "{:?}", left.first());
    assert!(store.usage().unwrap().bytes <= 400_000);
}

#[test]
fn space_that_is_freed_is_given_back() {
    let folder = Folder::new();
    let mut store = folder.limited(Limits { age: Duration::ZERO, ..Limits::default() });
    let run = begin(&mut store, 7);
    for part in 0..40 {
        append(&mut store, &run, part * 10_000 + 1..=(part + 1) * 10_000);
    }
    finish(&mut store, &run, 400_001);
    while store.tidy().unwrap() {}
    drop(store);
    let file = Connection::open(folder.file()).unwrap();
    file.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    let size = fs::metadata(folder.file()).unwrap().len();
    assert!(size < 16 << 20, "{size} bytes");
}

#[test]
fn what_is_not_a_store_is_refused_by_name() {
    let folder = Folder::new();
    assert!(refusal(&folder.0).contains("is a folder"));
    assert!(refusal(&folder.0.join("none/runs.db")).contains("does not exist"));

    let text = folder.0.join("notes.txt");
    fs::write(&text, "no database at all, but long enough to be taken for one. ".repeat(100)).unwrap();
    assert!(refusal(&text).contains("is not a database"));

    let other = folder.0.join("project.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE runs (id INTEGER)").unwrap();
    let before = fs::read(&other).unwrap();
    assert!(refusal(&other).contains("another program's database"));
    assert_eq!(fs::read(&other).unwrap(), before);

    drop(folder.store());
    let file = Connection::open(folder.file()).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let message = refusal(&folder.file());
    assert!(message.contains("newer version") && message.contains("schema 99"), "{message}");
}

#[test]
fn a_file_that_something_else_here_has_open_is_refused() {
    let folder = Folder::new();
    drop(folder.store());
    let open = Connection::open(folder.file()).unwrap();
    open.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0)).unwrap();
    let Err(Error::Refused(message)) = refuse_if_open(&folder.file()) else { panic!("not refused") };
    assert!(message.contains("open elsewhere in this process"), "{message}");
    drop(open);
    refuse_if_open(&folder.file()).unwrap();
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = Folder::new();
    fs::write(folder.file(), "").unwrap();
    begin(&mut folder.store(), 7);
}

#[test]
fn a_store_that_was_deleted_or_replaced_is_noticed_and_can_be_opened_again() {
    let folder = Folder::new();
    let mut store = folder.store();
    let new = NewRun { name: Some("Atlas".to_owned()), ..named(7, None) };
    let Begun::Started(run) = store.begin(&new).unwrap() else { panic!() };
    append(&mut store, &run, 1..=3);
    // Its -wal and -shm stay, as when somebody deletes what they know of.
    fs::remove_file(folder.file()).unwrap();
    assert!(matches!(store.news(), Err(Error::Lost(_))));
    assert!(matches!(store.begin(&named(8, None)), Err(Error::Lost(_))));
    let mut anew = folder.store();
    assert_eq!(anew.find(&RunId::Int(7)).unwrap(), None);
    assert_eq!(append(&mut anew, &run, 4..=4), Fate::Unknown);
    assert!(anew.restore(&run).unwrap());
    assert_eq!(anew.find(&RunId::Int(7)).unwrap().and_then(|record| record.name), new.name);
    assert_eq!(append(&mut anew, &run, 4..=6), Fate::Stored);
    drop(store);
    assert_eq!(seqs(&mut anew, run.fence, 1), [4, 5, 6]);
}

#[test]
fn a_writer_that_holds_the_lock_makes_a_write_busy_and_no_read() {
    let folder = Folder::new();
    let mut store = folder.store();
    let run = begin(&mut store, 7);
    let mut other = Connection::open(folder.file()).unwrap();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let events = vec![event(1)];
    let refused = store.append(&[Append { fence: run.fence, events, last: Seq(1), end: None }]);
    assert!(matches!(refused, Err(Error::Busy)));
    assert!(store.find(&RunId::Int(7)).unwrap().is_some());
    drop(held);
    assert_eq!(append(&mut store, &run, 1..=1), Fate::Stored);
}
