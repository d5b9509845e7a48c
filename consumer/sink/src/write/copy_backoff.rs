//! When rows of a table may be copied straight into it: while only a snapshot is read, and after a
//! failure not for a while, twice as long each time.

use crate::ids::TableId;
use std::collections::HashMap;

#[derive(Debug, Default)]
struct CopyBackoff {
    skip: u32,
    penalty: u32,
}

/// What is remembered of each root table.
#[derive(Debug, Default)]
pub(crate) struct DirectCopies(HashMap<TableId, CopyBackoff>);

impl DirectCopies {
    const PENALTY_MAX: u32 = 256;

    /// Whether to attempt it now.
    pub(crate) fn attempt(&mut self, root: TableId) -> bool {
        let table = self.0.entry(root).or_default();
        if table.skip > 0 {
            table.skip -= 1;
            return false;
        }
        true
    }

    /// Notes how the attempt ended.
    pub(crate) fn note(&mut self, root: TableId, succeeded: bool) {
        let table = self.0.entry(root).or_default();
        table.penalty = if succeeded {
            0
        } else {
            (table.penalty * 2).clamp(4, Self::PENALTY_MAX)
        };
        table.skip = table.penalty;
    }
}
