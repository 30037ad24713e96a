//! HTTP/1.1's chunked transfer coding (RFC 9112, 7.1).

use std::io::Write;
use std::sync::Arc;

use crate::core::Chunk;

/// The end of a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A comment, which clients ignore. It ends with a single newline: some clients take an empty line for an empty event.
const HEARTBEAT: &[u8] = b": keepalive\n";

/// Encodes chunks. A chunk that consecutive clients get is encoded once.
pub struct Coder {
    last: Option<(Arc<Chunk>, Arc<[u8]>)>,
    heartbeat: Arc<[u8]>,
}

impl Coder {
    pub fn new() -> Self {
        Self { last: None, heartbeat: coded(&[HEARTBEAT]).into() }
    }

    pub fn code(&mut self, chunk: Arc<Chunk>) -> Arc<[u8]> {
        match &self.last {
            Some((last, bytes)) if Arc::ptr_eq(last, &chunk) => bytes.clone(),
            _ => {
                let bytes: Arc<[u8]> = coded(&[&chunk.frames]).into();
                self.last = Some((chunk, bytes.clone()));
                bytes
            }
        }
    }

    pub fn heartbeat(&self) -> Arc<[u8]> {
        self.heartbeat.clone()
    }

    /// Drop the last chunk, so that no memory is held while nothing happens.
    pub fn clear(&mut self) {
        self.last = None;
    }
}

/// The end of a body that tells the client to reconnect after `retry` milliseconds.
pub fn farewell(retry: u32) -> Arc<[u8]> {
    let mut bytes = coded(&[b"retry: ", itoa::Buffer::new().format(retry).as_bytes(), b"\n"]);
    bytes.extend_from_slice(LAST_CHUNK);
    bytes.into()
}

fn coded(parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(len + 20);
    // Writing to a `Vec` cannot fail.
    let _ = write!(bytes, "{len:x}\r\n");
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.extend_from_slice(b"\r\n");
    bytes
}
