//! Runs of a store: what an engine does to them against readers, publishers and whoever finishes them.

use std::collections::VecDeque;
use std::sync::Arc as StdArc;

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::archive::{Archive, Life, Page, Terminal, Wanted};
use genglossary_runs::core::run::Run;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{Event, Fence, RunManager, Seq, Subscription};
use loom::sync::{Mutex, Notify};
use loom::thread;

use super::{BEGINNING, assert_nothing_is_live, bounded_model, manager, next, payload, read_to_the_end};

const FENCE: Fence = Fence(5);
const NEW: Life = Life { fence: FENCE, last: Seq::ZERO, terminal: None };

/// What readers ask the engine for, and what wakes it.
struct Asked {
    wanted: Mutex<Vec<Wanted>>,
    bell: Notify,
}

impl Archive for Asked {
    fn request(&self, wanted: Wanted) {
        self.wanted.lock().unwrap().push(wanted);
        self.bell.notify();
    }
}

impl Asked {
    /// Answer the next that is asked, out of a store that holds everything.
    fn answer(&self) {
        let wanted = loop {
            if let Some(wanted) = self.wanted.lock().unwrap().pop() {
                break wanted;
            }
            self.bell.wait();
        };
        let gap = wanted.gap;
        let events: VecDeque<_> = (gap.from.0..=gap.to.0).map(|seq| (Seq(seq), payload())).collect();
        wanted.give(Page { events, to: gap.to });
    }
}

/// A store that has nothing any more.
struct Empty;

impl Archive for Empty {
    fn request(&self, wanted: Wanted) {
        wanted.refuse();
    }
}

fn empty() -> StdArc<dyn Archive> {
    StdArc::new(Empty)
}

fn asked() -> (Arc<Asked>, StdArc<dyn Archive>) {
    struct Shared(Arc<Asked>);
    impl Archive for Shared {
        fn request(&self, wanted: Wanted) {
            self.0.request(wanted);
        }
    }
    let asked = Arc::new(Asked { wanted: Mutex::new(Vec::new()), bell: Notify::new() });
    (asked.clone(), StdArc::new(Shared(asked)))
}

/// A reader of a run that is executed elsewhere, and the mirror that is to be filled.
fn mirror(manager: &RunManager) -> (Subscription, Arc<Run>) {
    let (reader, run) = manager.subscribe_stored(Int(1), &NEW, &empty(), BEGINNING);
    (reader, run.unwrap())
}

fn terminal(fence: Option<Fence>) -> Terminal {
    Terminal { fence, payload: payload() }
}

#[test]
fn fill_and_finish_against_a_reader() {
    bounded_model(|| {
        let manager = manager(10, 0);
        let (reader, run) = mirror(&manager);
        let engine = manager.clone();
        let filling = thread::spawn(move || {
            run.fill([(Seq(1), payload())], Seq(1));
            // The second was evicted before it could be stored.
            run.fill([(Seq(3), payload())], Seq(3));
            engine.finish_stored(&run, &terminal(None));
        });
        assert_eq!(read_to_the_end(&reader, 1), 4);
        filling.join().unwrap();
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn fill_and_finish_against_a_drop_and_a_late_reader() {
    bounded_model(|| {
        let manager = manager(10, 1);
        let (reader, run) = mirror(&manager);
        let engine = manager.clone();
        let filling = thread::spawn(move || {
            run.fill([(Seq(1), payload())], Seq(1));
            engine.finish_stored(&run, &terminal(None));
        });
        drop(reader);
        let (late, fresh) = manager.subscribe_stored(Int(1), &NEW, &empty(), BEGINNING);
        if let Some(fresh) = fresh {
            // The first mirror went with its reader; this one is the engine's to fill, too.
            fresh.fill([(Seq(1), payload())], Seq(1));
            manager.finish_stored(&fresh, &terminal(None));
        }
        assert_eq!(read_to_the_end(&late, 1), 2);
        filling.join().unwrap();
        drop(late);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn the_store_and_somebody_here_end_a_mirror() {
    bounded_model(|| {
        let manager = manager(10, 1);
        let (reader, run) = mirror(&manager);
        let engine = manager.clone();
        let ending = thread::spawn(move || engine.finish_stored(&run, &terminal(None)));
        manager.finish(Int(1), payload(), false);
        assert_eq!(read_to_the_end(&reader, 1), 1);
        ending.join().unwrap();
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn an_orphan_is_ended_by_whoever_knows_how() {
    bounded_model(|| {
        let manager = Arc::new(RunManager::with_orphans(*manager(10, 1).limits()));
        let (reader, run) = mirror(&manager);
        let engine = manager.clone();
        let orphaning = thread::spawn(move || engine.finish_stored(&run, &terminal(Some(Fence(9)))));
        let early = manager.finish(Int(1), payload(), true);
        orphaning.join().unwrap();
        assert!(early || manager.finish(Int(1), payload(), true), "its readers wait for ever");
        match next(&reader) {
            Some(Event::Terminal(id, _)) => assert_eq!((id.fence, id.seq), (Fence(9), Seq(1))),
            other => unreachable!("{other:?}"),
        }
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn keep_against_a_reader_and_publish() {
    bounded_model(|| {
        let manager = manager(10, 1);
        manager.open(Int(1)).unwrap();
        let owner = manager.clone();
        let running = thread::spawn(move || {
            assert!(owner.keep(Int(1), &NEW, &empty()).is_some());
            owner.publish(Int(1), payload()).unwrap();
            assert!(owner.finish(Int(1), payload(), false));
        });
        let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        while let Some(event) = next(&reader) {
            if let Event::Message(id, _) = event {
                assert_eq!(id.fence, FENCE, "an id of before the run was in the store");
            }
        }
        running.join().unwrap();
        drop(reader);
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn a_page_against_publish_finish_and_its_reader() {
    bounded_model(|| {
        let manager = manager(1, 0);
        let (asked, archive) = asked();
        manager.open_stored(Int(1), FENCE, &archive).unwrap();
        manager.publish(Int(1), payload()).unwrap();
        manager.publish(Int(1), payload()).unwrap();
        let reader = manager.subscribe(Int(1), BEGINNING, false).unwrap();
        let owner = manager.clone();
        let engine = thread::spawn(move || {
            asked.answer();
            assert!(owner.finish(Int(1), payload(), false));
        });
        // Of the second event the page tells, or the log, if that still has it.
        let mut seqs = Vec::new();
        while let Some(event) = next(&reader) {
            match event {
                Event::Message(id, _) | Event::Terminal(id, _) => seqs.push(id.seq.0),
                Event::Gap(gap) => seqs.extend(gap.from.0..=gap.to.0),
                Event::Private(_) => {}
            }
            if seqs == [1] {
                break;
            }
        }
        assert_eq!(seqs, [1]);
        drop(reader);
        engine.join().unwrap();
        assert_nothing_is_live(&manager);
    });
}

#[test]
fn a_page_against_the_end_of_its_reader() {
    bounded_model(|| {
        let manager = manager(1, 0);
        let (asked, archive) = asked();
        manager.open_stored(Int(1), FENCE, &archive).unwrap();
        manager.publish(Int(1), payload()).unwrap();
        manager.publish(Int(1), payload()).unwrap();
        let reader = Arc::new(manager.subscribe(Int(1), BEGINNING, false).unwrap());
        assert!(reader.try_next().is_err(), "the page is asked for");
        let closer = reader.clone();
        let closing = thread::spawn(move || closer.close());
        asked.answer();
        while next(&reader).is_some() {}
        closing.join().unwrap();
        drop(reader);
        assert!(manager.finish(Int(1), payload(), false));
        assert_nothing_is_live(&manager);
    });
}
