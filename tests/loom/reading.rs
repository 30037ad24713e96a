//! A log and its readers.

use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::sync::Arc;
use genglossary_runs::core::{NotReady, Seq, Start, Subscription};
use loom::thread;

use super::{manager, next, payload, read_to_the_end};

#[test]
fn append_against_read() {
    loom::model(|| {
        let manager = manager(1, 0);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || {
            assert_eq!(publisher.publish(Int(1), payload()).unwrap().seq, Seq(1));
            assert_eq!(publisher.publish(Int(1), payload()).unwrap().seq, Seq(2));
            assert!(publisher.finish(Int(1), payload(), false));
        });
        assert_eq!(read_to_the_end(&reader, 1), 3);
        publishing.join().unwrap();
    });
}

#[test]
fn append_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        manager.open(Int(1)).unwrap();
        let reader = manager.subscribe(Int(1), Start::Newest, false).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || publisher.publish(Int(1), payload()).unwrap().seq);
        let here = manager.publish(Int(1), payload()).unwrap().seq;
        let there = publishing.join().unwrap();
        assert_eq!(here.0 + there.0, 3);
        manager.finish(Int(1), payload(), false);
        assert_eq!(read_to_the_end(&reader, 1), 3);
    });
}

#[test]
fn two_threads_share_a_reader() {
    loom::model(|| {
        let manager = manager(10, 0);
        let reader = Arc::new(manager.subscribe(Int(1), Start::Newest, false).unwrap());
        let other = reader.clone();
        let reading = thread::spawn(move || next(&other));
        let publisher = manager.clone();
        let publishing = thread::spawn(move || assert!(publisher.finish(Int(1), payload(), false)));
        let got = [next(&reader), reading.join().unwrap()];
        assert_eq!(got.iter().flatten().count(), 1);
        publishing.join().unwrap();
    });
}

#[test]
fn readers_share_a_chunk_against_append() {
    loom::model(|| {
        let manager = manager(10, 0);
        let readers = [(); 2].map(|()| manager.subscribe(Int(1), Start::Newest, false).unwrap());
        manager.publish(Int(1), payload()).unwrap();
        let publisher = manager.clone();
        let publishing = thread::spawn(move || assert!(publisher.finish(Int(1), payload(), false)));
        let read = |reader: &Subscription| {
            let mut frames = Vec::new();
            loop {
                match reader.try_next_chunk(1000) {
                    Ok(chunk) => frames.extend_from_slice(&chunk.frames),
                    Err(NotReady::Ended) => return frames,
                    Err(NotReady::Pending(epoch)) => reader.wait(epoch, None),
                }
            }
        };
        let [one, two] = readers;
        let reading = thread::spawn(move || read(&one));
        let frames = read(&two);
        assert_eq!(reading.join().unwrap(), frames);
        assert_eq!(frames.iter().filter(|byte| **byte == b'{').count(), 2);
        publishing.join().unwrap();
    });
}
