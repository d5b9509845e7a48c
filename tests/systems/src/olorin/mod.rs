//! Olorin: many tenants, nested state, thousands of doubles, deletes that take others along, and
//! two time series.

mod documents;
mod rows;
mod series;

pub use documents::{
    detector, detector_id, event, event_id, investigation, investigation_id, playbook_id, run,
    run_id, user, user_id,
};

pub use series::{entry, metric, now};

use super::System;

/// The system.
pub const OLORIN: System = System {
    name: "olorin",
    mapping: include_str!("../../../../schemas/examples/olorin/mapping.yaml"),
    indexes: Vec::new,
    series: series::ALL,
    documents: documents::all,
    expected: rows::expected,
};
