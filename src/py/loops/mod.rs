//! Event loops: how any thread wakes one without running Python code, and what each loop waits for.

mod port;
mod waits;

pub use port::{LoopPort, Wait, import};
