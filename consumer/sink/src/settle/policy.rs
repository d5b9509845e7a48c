//! What a decision about a waiting document is made by.

use crate::orphan::{ControlState, Progress};
use std::time::Duration;

/// When a waiting document is given up.
#[derive(Debug, Clone)]
pub struct OrphanPolicy {
    /// How long a document waits at least.
    pub orphan_after: Duration,
    /// What the control topic said before this round.
    pub control: ControlState,
    /// How far the group had applied before this round.
    pub progress: Progress,
}
