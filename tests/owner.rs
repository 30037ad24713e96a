//! Who owns a project: one at a time, found out about by its words when it died.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;

use genglossary_runs::host::owner::OwnerLock;

/// A path of that test's own, where nothing is.
fn nothing(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("owner-{test}"));
    let _ = fs::remove_file(&path);
    path
}

fn own(path: &Path) -> OwnerLock {
    OwnerLock::acquire(path).unwrap().unwrap()
}

#[test]
fn there_is_one_owner_at_a_time() {
    let path = nothing("one");
    let owner = own(&path);
    assert!(OwnerLock::acquire(&path).unwrap().is_none());
    assert!(OwnerLock::look(&path).unwrap().is_none());
    drop(owner);
    let next = own(&path);
    next.release();
    next.release();
    own(&path);
}

#[test]
fn where_nothing_is_there_is_nothing_to_look_at() {
    let path = nothing("nothing");
    assert!(OwnerLock::look(&path).unwrap().is_none());
    assert!(!path.exists(), "looking makes no file");
}

#[test]
fn the_words_of_an_owner_outlive_it() {
    let path = nothing("words");
    let owner = own(&path);
    assert_eq!(owner.found(), "");
    owner.describe("a rather long description").unwrap();
    owner.describe("process 7 📖").unwrap();
    drop(owner);
    let looker = OwnerLock::look(&path).unwrap().unwrap();
    assert_eq!(looker.found(), "process 7 📖");
    drop(looker);
    let next = own(&path);
    assert_eq!(next.found(), "process 7 📖");
    assert_eq!(fs::read_to_string(&path).unwrap(), "process 7 📖");
}

#[test]
fn words_that_are_no_text_do_no_harm() {
    let path = nothing("no-text");
    fs::write(&path, b"7\xff").unwrap();
    assert_eq!(own(&path).found(), "7\u{fffd}");
}

#[test]
fn who_has_let_go_describes_nothing() {
    let path = nothing("late");
    let owner = own(&path);
    owner.describe("me").unwrap();
    owner.release();
    assert!(owner.describe("still me").is_err());
    assert!(owner.remove().is_ok());
    assert_eq!(fs::read_to_string(&path).unwrap(), "me");
}

#[test]
fn an_owner_that_is_done_removes_the_file() {
    let path = nothing("done");
    let owner = own(&path);
    owner.remove().unwrap();
    assert!(!path.exists());
    owner.remove().unwrap();
    own(&path);
}

/// Somebody tidied the file away, and another has made a new one.
#[test]
fn a_file_that_is_another_now_is_left_alone() {
    let path = nothing("another");
    let owner = own(&path);
    fs::remove_file(&path).unwrap();
    let another = own(&path);
    owner.remove().unwrap();
    assert!(path.exists());
    assert!(OwnerLock::acquire(&path).unwrap().is_none());
    another.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn what_cannot_be_locked_is_an_error() {
    let path = nothing("no-folder").join("lock");
    assert!(OwnerLock::acquire(&path).is_err());
    assert!(OwnerLock::look(&path).unwrap().is_none(), "there is no owner where there is no folder");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert!(OwnerLock::acquire(folder).is_err());
}

#[test]
fn many_may_look_and_there_is_no_owner_meanwhile() {
    let path = nothing("look");
    own(&path).describe("dead").unwrap();
    let lookers = [(); 2].map(|()| OwnerLock::look(&path).unwrap().unwrap());
    assert!(OwnerLock::acquire(&path).unwrap().is_none());
    lookers.iter().for_each(OwnerLock::release);
    assert_eq!(own(&path).found(), "dead");
}

#[test]
fn what_cannot_be_looked_at_is_an_error() {
    let file = nothing("a-file");
    fs::write(&file, "").unwrap();
    assert!(OwnerLock::look(&file.join("lock")).is_err(), "that is not: no file there");
}

#[test]
fn words_that_are_gone_cannot_reach_the_disk() {
    let path = nothing("unsynced");
    let owner = own(&path);
    owner.describe("me").unwrap();
    owner.sync().unwrap();
    fs::remove_file(&path).unwrap();
    assert!(owner.sync().is_err());
}

#[test]
fn of_many_that_want_to_own_one_does() {
    let path = nothing("many");
    for _ in 0..20 {
        let (begun, tried) = (Barrier::new(4), Barrier::new(4));
        let owners: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        begun.wait();
                        let owner = OwnerLock::acquire(&path).unwrap();
                        tried.wait();
                        owner.map(|owner| owner.remove().unwrap()).is_some()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!(owners, 1);
        assert!(!path.exists());
    }
}
