//! Processes on one SQLite store beside a model of them: whatever is done in any order, they agree with it and each other.
//!
//! Two processes, one with two managers, are engines with names of their own. They publish, read, restart, are killed, and
//! their stores fail. Nothing here depends on how fast the engines are: before an event can be evicted that may not be
//! stored, the engine catches up, unless its store fails, which settles what is lost.

#![cfg(all(feature = "sqlite", not(loom)))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod model;
mod ops;
mod reading;
mod world;

use common::proptest_config;
use ops::any_scene;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use world::World;

/// Unless `PROPTEST_CASES` says how many: a case takes a hundred times as long as one of a manager alone.
const CASES: u32 = 32;
/// Milliseconds.
const SHRINK_TIME: u32 = 120_000;

proptest! {
    #![proptest_config(Config { cases: CASES, max_shrink_time: SHRINK_TIME, ..proptest_config() })]

    #[test]
    fn processes_on_a_store_do_what_the_model_does(
        events in 1..8_usize,
        retained in select([0, 100].as_slice()),
        scenes in vec(any_scene(), 1..60),
    ) {
        let mut world = World::new(events, retained);
        for op in scenes.into_iter().flatten() {
            world.apply(op);
        }
        world.wind_up();
    }
}
