//! The cost of the core alone: `cargo bench --no-default-features`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{EventId, Limits, Payload, RunManager, Start, Subscription};

const RUN: i64 = 1;
const MESSAGE: &str = r#"{"run_id":1,"level":"info","message":"用語「量子もつれ」の定義を生成しました (12/1200)","step":"provisional_glossary","progress_current":12,"progress_total":1200}"#;
const TERMINAL: &str = r#"{"run_id":1,"complete":true,"db_status":"completed"}"#;
const CHUNK_LIMIT: usize = 64 << 10;

fn payload(json: &str) -> Payload {
    Payload::new(None, json.as_bytes())
}

/// A manager with an open run whose history is full.
fn busy_manager() -> RunManager {
    let manager = RunManager::new(Limits::default());
    open(&manager);
    for _ in 0..manager.limits().log.events {
        manager.publish(Int(RUN), payload(MESSAGE));
    }
    manager
}

fn open(manager: &RunManager) {
    assert!(manager.open(Int(RUN)).is_ok(), "the run was closed before");
}

fn subscribe(manager: &RunManager, after: Start) -> Subscription {
    match manager.subscribe(Int(RUN), after, false) {
        Ok(reader) => reader,
        Err(error) => unreachable!("{error}"),
    }
}

/// No reader waits: the cost must not depend on their number.
fn publish(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publish");
    for readers in [0, 1, 1000, 10_000] {
        let manager = busy_manager();
        let kept: Vec<Subscription> = (0..readers).map(|_| subscribe(&manager, Start::Newest)).collect();
        group.bench_function(BenchmarkId::from_parameter(readers), |bencher| {
            bencher.iter(|| manager.publish(Int(RUN), payload(black_box(MESSAGE))));
        });
        drop(kept);
    }
    group.finish();
}

/// A reader that catches up with a full history, an event at a time.
fn read(criterion: &mut Criterion) {
    let manager = busy_manager();
    let events = manager.limits().log.events as u64;
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Elements(events));
    group.bench_function("history", |bencher| {
        bencher.iter_batched_ref(
            || subscribe(&manager, Start::After(None)),
            |reader| while black_box(reader.try_next()).is_ok() {},
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// A chunk of ready frames: built, for a reader at a position of its own, and shared by the readers that follow.
fn chunk(criterion: &mut Criterion) {
    let manager = busy_manager();
    let oldest = subscribe(&manager, Start::After(None));
    let positions = (0..2).map_while(|_| oldest.try_next().ok().map(|_| oldest.last_event_id()));
    let positions: Vec<EventId> = positions.collect();
    let mut group = criterion.benchmark_group("chunk");
    for (name, positions) in [("built", positions.as_slice()), ("shared", positions.split_at(1).0)] {
        let mut turns = positions.iter().cycle().copied();
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || subscribe(&manager, Start::After(turns.next())),
                |reader| black_box(reader.try_next_chunk(CHUNK_LIMIT)),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn subscribe_and_drop(criterion: &mut Criterion) {
    let manager = busy_manager();
    criterion.bench_function("subscribe and drop", |bencher| bencher.iter(|| subscribe(&manager, Start::Newest)));
}

/// A whole short life: open, publish, finish, with retention full.
fn finish(criterion: &mut Criterion) {
    let manager = RunManager::new(Limits::default());
    let mut run_id = 0;
    criterion.bench_function("open, publish, finish", |bencher| {
        bencher.iter(|| {
            run_id += 1;
            let cancel = manager.open(Int(run_id));
            manager.publish(Int(run_id), payload(MESSAGE));
            manager.finish(Int(run_id), payload(TERMINAL), false);
            cancel
        });
    });
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    publish(&mut criterion);
    read(&mut criterion);
    chunk(&mut criterion);
    subscribe_and_drop(&mut criterion);
    finish(&mut criterion);
    criterion.final_summary();
}
