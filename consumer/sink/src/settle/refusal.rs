//! Whether a document is at fault where a transaction failed, or the world.

use crate::error::ApplyError;
use leafcutter_schemas::dead_letter::{Reason, Stage};

/// Attempts at several documents whose target changes under them, before they are halved: what only
/// changed once is placed by the second.
pub(super) const AGAIN_TOGETHER: u32 = 1;

/// Why documents were refused.
pub(super) enum Refusal {
    /// One of them is at fault, or the target changes under every attempt.
    Document(Box<Reason>),
    /// One of them is at fault, or the world.
    Doubt(Box<Reason>),
    World(ApplyError),
}

impl Refusal {
    pub(super) fn of(error: ApplyError) -> Self {
        match error {
            ApplyError::Definite(reason) => Self::Document(reason),
            ApplyError::Doubtful(reason) => Self::Doubt(reason),
            ApplyError::Again(reason) => Self::Document(reason.unwrap_or_else(|| {
                let message = "the target changes under every attempt";
                Box::new(Reason::new(Stage::Apply, "refused", message))
            })),
            error @ (ApplyError::Transient { .. }
            | ApplyError::TooMany { .. }
            | ApplyError::Mapping { .. }
            | ApplyError::Fenced(_)) => Self::World(error),
        }
    }
}

/// Whether another attempt may succeed though nothing else changes.
pub(super) fn may_pass(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Again(_) | ApplyError::Doubtful(_))
}
