//! What may be done to the processes.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::common::faulty::Fault;
use crate::world::PROCESS_OF;

/// The runs and keys there are.
pub const RUNS: [i64; 3] = [1, 2, 3];
const KEYS: [&str; 2] = ["book", "page"];
const FAULTS: [Fault; 3] = [Fault::Full, Fault::Locked, Fault::Away];

#[derive(Debug, Clone)]
pub enum Op {
    Open(usize, i64, Option<&'static str>),
    /// Publish so many events.
    Publish(usize, i64, usize),
    Finish(usize, i64),
    Cancel(usize, i64),
    Find(usize, i64),
    Subscribe(usize, i64, From, bool),
    /// Make a reader at the position of another.
    Resume(usize, Index),
    /// Read so many events.
    Read(Index, usize),
    Drop(Index),
    /// Drop a manager and make another.
    Restart(usize),
    /// Kill a process, once its engine has stored everything or wherever that is, and start another.
    Kill(usize, bool),
    Fail(usize, Fault),
    Mend(usize),
    /// Store the next events of a process, and answer that it failed.
    LoseAnswer(usize),
}

#[derive(Debug, Clone)]
pub enum From {
    Newest,
    Beginning,
    /// After an event of a life of any run.
    Event(Index, Index),
    /// After the newest event of its newest life.
    Last,
}

/// Some of them in a row.
pub fn any_scene() -> impl Strategy<Value = Vec<Op>> {
    // Somebody elsewhere resumes after what a process that dies has not stored.
    let outage =
        (select([(0, 0, 2), (1, 2, 0)].as_slice()), select(RUNS.as_slice()), select(FAULTS.as_slice()), 1..5_usize);
    let outage = outage.prop_map(|((process, site, elsewhere), run, fault, count)| {
        let resume = Op::Subscribe(elsewhere, run, From::Last, true);
        let open = Op::Open(site, run, None);
        vec![open, Op::Fail(process, fault), Op::Publish(site, run, count), resume, Op::Kill(process, true)]
    });
    prop_oneof![30 => any_op().prop_map(|op| vec![op]), 1 => outage]
}

fn any_op() -> impl Strategy<Value = Op> {
    let site = || 0..PROCESS_OF.len();
    let process = || 0..2_usize;
    let run = || select(RUNS.as_slice());
    let from = prop_oneof![
        2 => Just(From::Newest),
        3 => Just(From::Beginning),
        3 => any::<(Index, Index)>().prop_map(|(life, seq)| From::Event(life, seq)),
    ];
    prop_oneof![
        6 => (site(), run(), option::weighted(0.3, select(KEYS.as_slice()))).prop_map(|(site, run, key)| Op::Open(site, run, key)),
        12 => (site(), run(), 1..5_usize).prop_map(|(site, run, count)| Op::Publish(site, run, count)),
        4 => (site(), run()).prop_map(|(site, run)| Op::Finish(site, run)),
        1 => (site(), run()).prop_map(|(site, run)| Op::Cancel(site, run)),
        2 => (site(), run()).prop_map(|(site, run)| Op::Find(site, run)),
        8 => (site(), run(), from, any::<bool>()).prop_map(|(site, run, from, exists)| Op::Subscribe(site, run, from, exists)),
        3 => (site(), any::<Index>()).prop_map(|(site, reader)| Op::Resume(site, reader)),
        8 => (any::<Index>(), 1..8_usize).prop_map(|(reader, count)| Op::Read(reader, count)),
        1 => any::<Index>().prop_map(Op::Drop),
        1 => site().prop_map(Op::Restart),
        2 => (process(), any::<bool>()).prop_map(|(process, first)| Op::Kill(process, first)),
        3 => (process(), select(FAULTS.as_slice())).prop_map(|(process, fault)| Op::Fail(process, fault)),
        3 => process().prop_map(Op::Mend),
        1 => process().prop_map(Op::LoseAnswer),
    ]
}
