//! Server-sent frames, and the chunk of them that readers at one position share.

use std::any::Any;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use super::event::{Event, Payload};
use super::id::{EventId, RunId, Seq};

/// At least the length of a frame without its name and data: the names of its fields, and an id.
const FIELDS: usize = 40 + EventId::MAX_LEN;
/// At least the length of a gap's data without its run id.
const GAP_DATA: usize = 224;

/// At least the length of the frame of an event.
pub fn event_bound(payload: &Payload) -> usize {
    FIELDS + payload.encoded_len()
}

/// At least the length of the frame of a gap.
pub fn gap_bound(run_id: &RunId) -> usize {
    let id = match run_id {
        RunId::Int(_) => 20,
        // Quotes, and each byte as an escape of six.
        RunId::Text(text) => 2 + 6 * text.len(),
    };
    FIELDS + GAP_DATA + id
}

impl Event {
    /// Append the event to `out` as a server-sent event (WHATWG HTML, 9.2.5 and 9.2.6).
    ///
    /// JSON escapes line ends, so the data is always one line. A gap has no id: a client that goes away after it
    /// resumes after the last event it really got.
    pub fn write_frame(&self, run_id: &RunId, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        let _ = match self {
            Self::Message(id, payload) => match payload.name() {
                Some(name) => write!(out, "id: {id}\nevent: {name}\ndata: "),
                None => write!(out, "id: {id}\ndata: "),
            },
            Self::Terminal(id, _) => write!(out, "id: {id}\nevent: complete\ndata: "),
            Self::Private(_) => out.write_all(b"data: "),
            Self::Gap(_) => out.write_all(b"event: gap\ndata: "),
        };
        out.extend_from_slice(&self.json(run_id));
        out.extend_from_slice(b"\n\n");
    }
}

/// Append the event that tells a stream that nothing comes until the store can be reached again. It has no id.
pub fn write_stall(run_id: &RunId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: stalled\ndata: {\"run_id\":");
    run_id.write_json(out);
    out.extend_from_slice(b",\"stalled\":true}\n\n");
}

/// Consecutive events of a run as server-sent events, built once for all readers at the same position.
pub struct Chunk {
    /// The frames.
    pub frames: Vec<u8>,
    /// The seq after them.
    pub next: Seq,
    /// Another form of the frames that a reader wants to share with the others.
    pub attachment: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The chunk that a run keeps for its readers, and the seq it begins with.
pub type SharedChunk = Option<(Seq, Arc<Chunk>)>;

impl Chunk {
    /// A chunk up to, but without, the event `next`.
    pub fn new(frames: Vec<u8>, next: Seq) -> Arc<Self> {
        Arc::new(Self { frames, next, attachment: OnceLock::new() })
    }
}
