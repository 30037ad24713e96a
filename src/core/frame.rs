//! Server-sent event frames, and the chunk of them that readers at the same position share.

use std::any::Any;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use super::event::{Event, Payload};
use super::id::{EventId, RunId, Seq};

/// Upper bound of a frame's length without its name and data: the field names and an id.
const FIELDS: usize = 40 + EventId::MAX_LEN;
/// Upper bound of the length of a gap's data without its run id.
const GAP_DATA: usize = 224;

/// Upper bound of the length of an event's frame.
pub fn event_bound(payload: &Payload) -> usize {
    FIELDS + payload.encoded_len()
}

/// Upper bound of the length of a gap's frame.
pub fn gap_bound(run_id: &RunId) -> usize {
    let id = match run_id {
        RunId::Int(_) => 20,
        // Quotes, and each byte escaped to six.
        RunId::Text(text) => 2 + 6 * text.len(),
    };
    FIELDS + GAP_DATA + id
}

impl Event {
    /// Append the event to `out` as a server-sent event (WHATWG HTML, 9.2.5 and 9.2.6).
    ///
    /// JSON escapes line ends, so the data is always one line. A gap has no id: a client that disconnects after it
    /// resumes after the last event it received.
    pub fn write_frame(&self, run_id: &RunId, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        if let Self::Message(id, _) | Self::Terminal(id, _) = self {
            let _ = writeln!(out, "id: {id}");
        }
        if let Some(name) = self.name() {
            let _ = writeln!(out, "event: {name}");
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.json(run_id));
        out.extend_from_slice(b"\n\n");
    }
}

/// Append the event that tells a stream that the store cannot be reached for now. It has no id.
pub fn write_stall(run_id: &RunId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: stalled\ndata: {\"run_id\":");
    run_id.write_json(out);
    out.extend_from_slice(b",\"stalled\":true}\n\n");
}

/// Consecutive events of a run as server-sent events, built once for all readers at the same position.
pub struct Chunk {
    /// The frames.
    pub frames: Vec<u8>,
    /// The seq after the last frame.
    pub next: Seq,
    /// Another form of the frames, shared in the same way.
    pub attachment: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// The chunk that a run keeps for its readers, with its first seq.
pub type SharedChunk = Option<(Seq, Arc<Chunk>)>;

impl Chunk {
    /// A chunk that ends before the event `next`.
    pub fn new(frames: Vec<u8>, next: Seq) -> Arc<Self> {
        Arc::new(Self { frames, next, attachment: OnceLock::new() })
    }
}
