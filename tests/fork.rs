//! A forked child: what was made before the fork is left alone.
//!
//! The generation and the locked files belong to the process, so this file has one test.

#![cfg(not(loom))]

mod common;

use std::fs;
use std::path::Path;

use common::{manager, payload, publish, read, subscribe};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{Start, fork};
use genglossary_runs::host::owner::{OwnerLock, close_in_child};

#[test]
fn what_was_made_before_a_fork_is_left_alone() {
    let before = fork::generation();
    let manager = manager(10);
    manager.open(Int(1)).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    assert!(!reader.is_of_parent());

    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("owner-fork");
    let owner = OwnerLock::acquire(&path).unwrap().unwrap();
    owner.describe("the parent").unwrap();

    fork::entered_child();
    close_in_child();
    assert_eq!(fork::generation(), before + 1);
    assert!(reader.is_of_parent());
    reader.close();
    drop(reader);
    assert_eq!(manager.stats().subscribers, 1, "no lock of the parent's was taken to unregister it");

    assert!(owner.describe("the child").is_err());
    owner.remove().unwrap();
    drop(owner);
    assert_eq!(fs::read_to_string(&path).unwrap(), "the parent");

    let childs = common::manager(10);
    childs.open(Int(1)).unwrap();
    let reader = subscribe(&childs, 1, Start::Newest);
    assert!(!reader.is_of_parent());
    publish(&childs, 1, &["b"]);
    assert_eq!(read(&reader), ["1 b"]);
    drop(reader);
    assert_eq!(childs.stats().subscribers, 0);
    assert!(childs.finish(Int(1), payload("done"), false));
}
