//! How a session's temporary tables are emptied.

/// What is known of a temporary table.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Rows that went through it since its file was cut.
    pub(super) since_cut: u64,
    /// It may hold rows.
    pub(super) holds: bool,
}

impl Staged {
    /// What empties it, if it may hold rows. Deleting is quick for a few rows; after many the file is cut, or it
    /// would grow for ever.
    pub(super) fn emptied(&mut self, name: &str) -> Option<String> {
        if !std::mem::take(&mut self.holds) {
            return None;
        }
        if self.since_cut > STAGED_MAX {
            self.since_cut = 0;
            return Some(format!("truncate {name}"));
        }
        Some(format!("delete from {name}"))
    }
}

/// Rows after which a temporary table's file is cut. Cutting costs a third of a millisecond;
/// deleted rows keep their room until then, since autovacuum leaves temporary tables alone.
const STAGED_MAX: u64 = 2_000;
