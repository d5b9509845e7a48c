//! What one transaction is to do: the candidates, at most one for each root row.

use super::candidate::Candidate;
use crate::{
    change::Mutation,
    guard,
    ids::{DocumentId, RowId, TableId},
    state::KeyVersion,
};
use std::collections::BTreeMap;

/// The candidates of a transaction: at most one for each root row, but for documents that lost their row
/// and are taken up again.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    list: Vec<Candidate>,
    by_row: BTreeMap<RowId, DocumentId>,
}

impl Candidates {
    /// Adds a candidate unless its row has one with a higher version; of equal ones the later
    /// wins. Gives back the one that lost.
    pub(crate) fn offer(&mut self, candidate: Candidate) -> Option<Candidate> {
        let Some(&present) = self.by_row.get(candidate.row()) else {
            let row = candidate.row().clone();
            let document = self.push(candidate);
            self.by_row.insert(row, document);
            return None;
        };
        let present = self.get_mut(present);
        if guard::replaces(present.version().version, candidate.version().version) {
            Some(std::mem::replace(present, candidate))
        } else {
            Some(candidate)
        }
    }

    /// Adds a candidate beside the one that its row may have.
    pub(crate) fn push(&mut self, candidate: Candidate) -> DocumentId {
        let document = DocumentId::new(self.list.len());
        self.list.push(candidate);
        document
    }

    /// A candidate.
    pub(crate) fn get(&self, document: DocumentId) -> &Candidate {
        &self.list[document.index()]
    }

    /// A candidate.
    pub(crate) fn get_mut(&mut self, document: DocumentId) -> &mut Candidate {
        &mut self.list[document.index()]
    }

    /// The candidate of a row.
    pub(crate) fn of_row(&self, row: &RowId) -> Option<DocumentId> {
        self.by_row.get(row).copied()
    }

    /// The rows that have a candidate.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &RowId> {
        self.by_row.keys()
    }

    /// All candidates.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.list.iter()
    }

    /// The open candidates of one root table that want such a thing.
    pub(crate) fn open(&self, root: TableId, wanted: impl Fn(Mutation) -> bool) -> Vec<DocumentId> {
        let open = |&(_, candidate): &(usize, &Candidate)| {
            candidate.is_open() && candidate.row().table == root && wanted(candidate.mutation())
        };
        let found = self.list.iter().enumerate().filter(open);
        found.map(|(index, _)| DocumentId::new(index)).collect()
    }

    /// Those of these that are open.
    pub(crate) fn still_open(&self, documents: &[DocumentId]) -> Vec<DocumentId> {
        let open = |document: &DocumentId| self.get(*document).is_open();
        documents.iter().copied().filter(open).collect()
    }

    /// Keys and versions of these documents.
    pub(crate) fn keys_and_versions<'c>(
        &'c self,
        documents: impl IntoIterator<Item = &'c DocumentId>,
    ) -> Vec<KeyVersion<'c>> {
        documents
            .into_iter()
            .map(|&document| {
                let candidate = self.get(document);
                (candidate.key(), candidate.version().version)
            })
            .collect()
    }

    /// Keys of these documents, and up to which version nothing is left to do for them.
    pub(crate) fn keys_and_done<'c>(
        &'c self,
        documents: impl IntoIterator<Item = &'c DocumentId>,
    ) -> Vec<KeyVersion<'c>> {
        let candidates = documents.into_iter().map(|&document| self.get(document));
        candidates
            .map(|candidate| (candidate.key(), candidate.done_up_to()))
            .collect()
    }
}
