//! Missland: numbers of rows that some documents bring and others are given, and links between
//! documents that become links between those numbers.

mod documents;
mod rows;

pub use documents::{
    LATE, collection, collection_id, created, post, post_id, post_text, tryon, tryon_id,
};
pub use rows::FIRST_NUMBER;

use super::System;

/// The system.
pub const MISSLAND: System = System {
    name: "missland",
    mapping: include_str!("../../../../schemas/examples/missland/mapping.yaml"),
    indexes: documents::indexes,
    documents: documents::all,
    expected: rows::expected,
    series: &[],
};
