//! Event ids and `Last-Event-ID`: whatever a browser sends is harmless, and read as what it says.

#![no_main]

use arbitrary::Arbitrary;
use genglossary_runs::core::RunIdRef::Int;
use genglossary_runs::core::{EventId, Fence, Limits, Payload, RunManager, Seq, Start};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum LastEventId<'a> {
    Text(&'a str),
    /// An id of this life of the run, or so it looks.
    Own(u64),
}

fuzz_target!(|input: (u8, LastEventId<'_>)| {
    let (events, last_event_id) = input;
    let manager = RunManager::new(Limits::default());
    manager.open(Int(1)).expect("nobody has opened it");
    let mut fence = Fence(0);
    for seq in 1..=u64::from(events) {
        let id = manager.publish(Int(1), Payload::new(None, b"{}")).expect("the run is open");
        assert_eq!(id.seq, Seq(seq));
        fence = id.fence;
    }
    let text = match last_event_id {
        LastEventId::Text(text) => text.to_owned(),
        LastEventId::Own(seq) => format!("{fence}-{seq}"),
    };

    let id = text.parse::<EventId>().ok();
    assert_eq!(id, by_the_book(&text));
    if let Some(id) = id {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().len() <= EventId::MAX_LEN);
    }

    let reader = manager.subscribe(Int(1), Start::parse(Some(&text)), true).expect("the run is there");
    let position = id.filter(|id| id.fence == fence && id.seq.0 <= u64::from(events)).map_or(Seq::ZERO, |id| id.seq);
    assert_eq!(reader.last_event_id().seq, position);
    assert_eq!(reader.unread() as u64, u64::from(events) - position.0);
});

/// Digits, a minus, digits; each number below 2 to the 64.
fn by_the_book(text: &str) -> Option<EventId> {
    let (fence, seq) = text.split_once('-')?;
    Some(EventId { fence: Fence(number(fence)?), seq: Seq(number(seq)?) })
}

fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0_u64, |value, digit| {
        let digit = digit.to_digit(10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
