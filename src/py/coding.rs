//! Chunks of frames as `bytes`, one object for all readers of a chunk.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use crate::core::Chunk;

/// The most bytes of one chunk, unless a single frame is longer.
pub const CHUNK: usize = 64 << 10;
/// A comment of a server-sent event stream. It has one line end: to some clients an empty line is an empty event.
pub const HEARTBEAT: &[u8] = b": keepalive\n";

/// The transfer coding of bytes.
#[derive(Clone, Copy)]
pub enum Coding {
    Identity,
    /// A chunk of HTTP/1.1's chunked transfer coding (RFC 9112, 7.1).
    Chunked,
}

/// A chunk's frames as `bytes`, in each coding.
struct Shared {
    identity: PyOnceLock<Py<PyBytes>>,
    chunked: PyOnceLock<Py<PyBytes>>,
}

impl Coding {
    /// These bytes in this coding.
    pub fn of<'py>(self, py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyBytes> {
        match self {
            Self::Identity => PyBytes::new(py, bytes),
            Self::Chunked => {
                let size = format!("{:x}\r\n", bytes.len());
                PyBytes::new(py, &[size.as_bytes(), bytes, b"\r\n"].concat())
            }
        }
    }

    /// The frames in this coding, as the object that all readers of the chunk share.
    pub fn shared<'py>(self, py: Python<'py>, chunk: &Chunk) -> Bound<'py, PyBytes> {
        let unmade = || Shared { identity: PyOnceLock::new(), chunked: PyOnceLock::new() };
        let shared = chunk.attachment.get_or_init(|| Box::new(unmade()));
        let Some(shared) = shared.downcast_ref::<Shared>() else { return self.of(py, &chunk.frames) };
        let made = match self {
            Self::Identity => &shared.identity,
            Self::Chunked => &shared.chunked,
        };
        made.get_or_init(py, || self.of(py, &chunk.frames).unbind()).bind(py).clone()
    }
}
