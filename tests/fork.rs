//! A forked child: what was made before the fork is left alone.
//!
//! The generation is the process's, so this file has one test.

#![cfg(not(loom))]

mod common;

use common::{manager, payload, publish, read, subscribe};
use genglossary_runs::core::{Start, fork};

#[test]
fn what_was_made_before_a_fork_is_left_alone() {
    let before = fork::generation();
    let manager = manager(10);
    manager.open(1).unwrap();
    let reader = subscribe(&manager, 1, Start::Newest);
    publish(&manager, 1, &["a"]);
    assert!(!reader.is_of_parent());

    fork::entered_child();
    assert_eq!(fork::generation(), before + 1);
    assert!(reader.is_of_parent());
    reader.close();
    drop(reader);
    assert_eq!(manager.stats().subscribers, 1, "no lock of the parent's was taken to unregister it");

    let childs = common::manager(10);
    childs.open(1).unwrap();
    let reader = subscribe(&childs, 1, Start::Newest);
    assert!(!reader.is_of_parent());
    publish(&childs, 1, &["b"]);
    assert_eq!(read(&reader), ["1 b"]);
    drop(reader);
    assert_eq!(childs.stats().subscribers, 0);
    assert!(childs.finish(1, payload("done"), false));
}
