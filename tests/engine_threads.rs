//! The threads of engines: one that ends leaves no question without an answer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Instant;

use common::{PATIENCE, limits};
use genglossary_runs::core::{RunId, RunManager};
use genglossary_runs::store::{Engine, Error, Level, Source, Store, Wake};

/// A store whose disk is stuck until something comes through the channel; then its driver panics.
struct Broken(crossbeam_channel::Receiver<()>);

impl Source for Broken {
    fn connect(&self, _wake: &Wake) -> Result<Box<dyn Store>, Error> {
        let _ = self.0.recv();
        panic!("as this test wants");
    }
}

#[test]
fn questions_that_waited_when_the_thread_ended_had_no_answer() {
    let (unstick, stuck) = crossbeam_channel::bounded(1);
    let report = Box::new(|_: Level, _: &str| ());
    let manager = RunManager::new(limits(10, 1 << 20, 100, 1 << 20));
    let engine = Engine::of("broken", manager, || Box::new(Broken(stuck)), report).unwrap();
    let waiting: Vec<_> = (0..3).map(|number| engine.find(RunId::Int(number))).collect();
    unstick.send(()).unwrap();
    let later = engine.find(RunId::Int(9));
    let deadline = Instant::now() + PATIENCE;
    for answer in waiting.iter().chain([&later]) {
        answer.wait(Some(deadline));
        assert!(matches!(answer.take(), Ok(Err(Error::Failed(_)))), "the asker waits for its timeout");
    }
}
