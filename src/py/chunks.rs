//! Chunks of frames as `bytes`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::once::Once;
use crate::core::Chunk;

/// Maximum size of a chunk in bytes, unless a single frame is larger.
pub const CHUNK: usize = 64 << 10;
/// A comment line of an event stream. It ends with a single newline: some clients take an empty line for an empty
/// event.
pub const HEARTBEAT: &[u8] = b": keepalive\n";

/// The frames as one `bytes` object, shared by all readers of the chunk.
pub fn shared_bytes<'py>(py: Python<'py>, chunk: &Chunk) -> Bound<'py, PyBytes> {
    let make = || PyBytes::new(py, &chunk.frames).unbind();
    let shared = chunk.attachment.get_or_init(|| Box::new(Once::<Py<PyBytes>>::new()));
    match shared.downcast_ref::<Once<Py<PyBytes>>>() {
        Some(shared) => shared.get_or_make(py, make).bind(py).clone(),
        None => PyBytes::new(py, &chunk.frames),
    }
}
