//! The records that the candidates of one transaction come from.

use super::{
    candidate::{Candidate, CandidateSource},
    released::Released,
};
use crate::{
    change::Record,
    state::{parked, retained_records::RetainedRecord},
};

/// The records of a batch, and those that were kept in PostgreSQL and are taken up.
#[derive(Debug)]
pub(crate) struct CandidateRecords<'a> {
    batch: &'a [Record],
    /// Parked documents.
    pub(crate) released: Released,
    retained: Vec<RetainedRecord>,
}

impl<'a> CandidateRecords<'a> {
    /// Those of a batch, or of dead letters that are tried again.
    pub(crate) fn new(batch: &'a [Record]) -> Self {
        Self {
            batch,
            released: Released::default(),
            retained: Vec::new(),
        }
    }

    /// The records of the batch.
    pub(crate) fn batch(&self) -> &'a [Record] {
        self.batch
    }

    /// Takes up the record of a document that had lost its row.
    pub(crate) fn retain(&mut self, record: RetainedRecord) -> CandidateSource {
        self.retained.push(record);
        CandidateSource::Retained(self.retained.len() - 1)
    }

    /// The bytes of the records that were taken up from PostgreSQL.
    pub(crate) fn bytes_of_others(&self) -> usize {
        let retained = self.retained.iter();
        let retained = retained.map(|record| record.record_key.len() + record.record_value.len());
        self.released.bytes() + retained.sum::<usize>()
    }

    /// How many bytes more may be taken up, and whether none was yet: then one document may be larger.
    pub(crate) fn room_for_others(&self) -> (i64, bool) {
        let room = parked::TAKEN_BYTES_MAX.saturating_sub(self.bytes_of_others());
        (
            i64::try_from(room).unwrap_or(i64::MAX),
            !self.any_of_others(),
        )
    }

    /// Whether any was taken up that was kept in PostgreSQL.
    pub(crate) fn any_of_others(&self) -> bool {
        !(self.released.is_empty() && self.retained.is_empty())
    }

    /// The record of a candidate: its key and its value.
    pub(crate) fn of(&self, candidate: &Candidate) -> (&[u8], &[u8]) {
        match candidate.source() {
            CandidateSource::Batch(index) => {
                let delivery = &self.batch[index].delivery;
                let value = delivery.value.as_deref().unwrap_or_default();
                (&delivery.key, value)
            }
            CandidateSource::Parked(index) => {
                let parked = self.released.get(index);
                (&parked.record_key, &parked.record_value)
            }
            CandidateSource::Retained(index) => {
                let retained = &self.retained[index];
                (&retained.record_key, &retained.record_value)
            }
        }
    }

    /// Whether a candidate was parked as an orphan before.
    pub(crate) fn was_orphan(&self, candidate: &Candidate) -> bool {
        match candidate.source() {
            CandidateSource::Parked(index) => self.released.get(index).orphan,
            CandidateSource::Batch(_) | CandidateSource::Retained(_) => false,
        }
    }

    /// Whether the record of a candidate is counted already: only child rows of its document waited.
    pub(crate) fn is_counted(&self, candidate: &Candidate) -> bool {
        match candidate.source() {
            CandidateSource::Batch(_) => false,
            CandidateSource::Parked(index) => self.released.get(index).incomplete,
            CandidateSource::Retained(_) => true,
        }
    }
}
