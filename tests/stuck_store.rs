//! A fork while a store's disk is stuck. In a file of its own: every engine of the process takes part in a fork.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{manager, wait_until};
use genglossary_runs::core::RunId;
use genglossary_runs::store::engine::{check_process, close_all};
use genglossary_runs::store::{Engine, Error, Source, Store, Wake};

/// A store whose disk is stuck until the sender of the channel has gone.
struct Stuck(crossbeam_channel::Receiver<()>);

impl Source for Stuck {
    fn connect(&self, _wake: &Wake) -> Result<Box<dyn Store>, Error> {
        let _ = self.0.recv();
        Err(Error::Failed("as this test wants".to_owned()))
    }

    fn owner(&self) -> String {
        "nobody".to_owned()
    }
}

#[test]
fn a_child_took_a_store_for_closed_that_could_not_even_be_asked_to_close() {
    let (unstick, stuck) = crossbeam_channel::bounded(0);
    let engine = Engine::of("stuck", manager(10), || Box::new(Stuck(stuck)), Box::new(|_, _| ())).unwrap();
    wait_until("the engine can be asked nothing more", || {
        matches!(engine.find(RunId::Int(1), false).take(), Ok(Err(_)))
    });
    let closed = close_all();
    assert!(check_process().is_ok());
    closed.enter_child();
    assert!(check_process().is_err());
    drop(unstick);
}
