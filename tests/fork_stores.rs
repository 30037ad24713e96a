//! What a fork finds of the stores of its process. A test of its own, since it closes every store of the process.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::stores::{Folder, ask};
use common::{limits, wait_until};
use genglossary_runs::core::{RunId, RunManager};
use genglossary_runs::store::engine::{Closed, close_all};
use genglossary_runs::store::sqlite::SqliteFile;
use genglossary_runs::store::{Engine, Level, Limits, connection};

#[test]
fn an_engine_that_started_after_all_were_closed_was_copied_open_by_the_fork() {
    let folder = Folder::new();
    let engine = |name: &str| {
        let manager = RunManager::new(limits(10, 1 << 20, 100, 1 << 20));
        let source = || Box::new(SqliteFile::new(&folder.file(), Limits::default())) as Box<_>;
        Engine::of(name, manager, source, Box::new(|_: Level, _: &str| ())).unwrap()
    };
    let find = |engine: &Engine| assert!(matches!(ask(&engine.find(RunId::Int(1), false)), Ok(None)));
    assert!(Closed::check(None).is_none());
    let first = engine("first");
    find(&first);
    assert!(connection::any_is_open());

    let closed = close_all();
    assert!(closed.is_complete());
    let closed = Closed::check(Some(closed)).unwrap();
    assert!(closed.is_complete());
    let second = engine("second");
    find(&second);
    let closed = Closed::check(Some(closed)).unwrap();
    assert!(!closed.is_complete(), "the child would open the file beside the parent's connection");
    assert!(!Closed::check(None).unwrap().is_complete());
    closed.reopen();

    // The parent's are as they were.
    find(&first);
    find(&second);
    drop((first, second));
    wait_until("no connection is open", || !connection::any_is_open());
}
