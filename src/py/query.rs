//! What a list of records is asked for.

use pyo3::prelude::*;

use crate::core::Fence;
use crate::store::Query;

/// One status, or several.
#[derive(FromPyObject)]
pub enum Statuses {
    One(String),
    Several(Vec<String>),
}

/// Which records a list wants.
pub fn query(
    key: Option<String>,
    status: Option<Statuses>,
    text: Option<String>,
    also: Option<Vec<u64>>,
    before: Option<u64>,
    limit: usize,
) -> Query {
    let statuses = match status {
        None => Vec::new(),
        Some(Statuses::One(status)) => vec![status],
        Some(Statuses::Several(statuses)) => statuses,
    };
    let also = also.unwrap_or_default().into_iter().map(Fence).collect();
    Query { key, statuses, text, also, before: before.map(Fence), limit }
}
