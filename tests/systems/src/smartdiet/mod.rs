//! SmartDiet: about thirty tables in six tiers, most of what matters in arrays.

mod documents;
mod rows;
mod logbooks;

pub use documents::{ALL, Kind, document, id, oid};
pub use logbooks::moment;

use super::System;

/// The system.
pub const SMARTDIET: System = System {
    name: "smartdiet",
    mapping: include_str!("../../../../schemas/examples/smartdiet/mapping.yaml"),
    indexes: Vec::new,
    series: &[],
    documents: documents::all,
    expected: rows::expected,
};
