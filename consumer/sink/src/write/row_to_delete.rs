//! A row that is to be deleted, or whose version counts, and the key under which the guard knows it.

use super::candidate::Candidate;
use crate::ids::DocumentId;
use leafcutter_schemas::version::Version;

/// A row to be deleted: the document that is the reason, the row's key, the version of the delete.
#[derive(Debug, Clone)]
pub(crate) struct RowToDelete {
    /// The document.
    pub(crate) document: DocumentId,
    /// The row's key.
    pub(crate) key: Vec<u8>,
    /// The document's own key, where rows say whose they are: another document's row is left alone.
    pub(crate) owner: Option<Vec<u8>>,
    /// The version.
    pub(crate) version: Version,
}

impl RowToDelete {
    /// The row of a candidate, under this position.
    pub(crate) fn of(candidate: &Candidate, document: DocumentId) -> Self {
        let (key, owned) = candidate.told_row_key();
        Self {
            document,
            key: key.to_vec(),
            owner: owned.then(|| candidate.key().to_vec()),
            version: candidate.version().version,
        }
    }

    /// The key under which the guard knows it.
    pub(crate) fn guard_key(&self) -> &[u8] {
        self.owner.as_ref().unwrap_or(&self.key)
    }
}
