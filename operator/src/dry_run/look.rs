//! One collection's records through the consumers' transform, and what is noted of them.
//!
//! It takes what a record of Kafka holds, as the consumers do, and keeps figures: rejections, what values
//! lose, fields that nobody takes, sizes, and how long the transform takes. Rows go on to
//! [`Placing`](super::placing::Placing). It keeps no documents.

use super::placing::Placing;
use crate::trial::{Examples, Trial};
use bson::RawDocument;
use leafcutter_schemas::{
    codec::avro, dead_letter::Reason, envelope::Envelope, key::DocumentKey, operation::Operation,
};
use leafcutter_sink::{
    change::{Mutation, Prepared},
    decode,
    ids::CollectionId,
    model::Model,
    transform::{Loss, Rows, Watch, left::Taken},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Every so many records the transform is timed, by itself.
const TIMED: u64 = 16;
/// Paths without a column that are told apart; fields of more are counted together.
const PATHS_MAX: usize = 1_000;

/// Documents that have a field which no column takes.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// How many, by path.
    pub(super) paths: BTreeMap<String, (u64, u64)>,
    /// Fields of further paths.
    pub(super) more: u64,
}

impl Left {
    /// A field of the document with this number; of many elements of one document it counts once.
    fn add(&mut self, path: &str, document: u64) {
        if let Some((count, last)) = self.paths.get_mut(path) {
            *count += u64::from(*last != document);
            *last = document;
        } else if self.paths.len() < PATHS_MAX {
            self.paths.insert(path.to_owned(), (1, document));
        } else {
            self.more += 1;
        }
    }
}

/// What was lost on the way of one document.
#[derive(Debug, Default)]
struct Losses(Vec<(usize, usize, Loss)>);

impl Watch for Losses {
    const TOLD: bool = true;

    fn lost(&mut self, table: usize, column: usize, loss: Loss) {
        self.0.push((table, column, loss));
    }
}

/// What was seen of a collection.
#[derive(Debug)]
pub(super) struct Look {
    model: Arc<Model>,
    pub(super) id: CollectionId,
    taken: Taken,
    rows: Rows,
    /// Documents tried, and rejections.
    pub(super) trial: Trial,
    /// Documents that no table takes, by its condition.
    pub(super) filtered: u64,
    /// Records of documents that were deleted.
    pub(super) deleted: u64,
    /// Records of documents of which there is a newer one.
    pub(super) superseded: u64,
    /// By table, column and kind: values that lose something.
    pub(super) lost: BTreeMap<(usize, usize, Loss), Examples>,
    /// Fields that no column takes.
    pub(super) left: Left,
    /// Bytes of the documents.
    pub(super) document_bytes: u64,
    /// Bytes of the records, as they are before Kafka compresses them.
    pub(super) record_bytes: u64,
    /// Records that were timed, and how long they took.
    timed: (u64, Duration),
    /// How long all of it took.
    pub(super) took: Duration,
    /// About how many documents, or records, there are.
    pub(super) all: u64,
    /// How many of them were read.
    pub(super) read: u64,
}

impl Look {
    /// Nothing yet.
    pub(super) fn new(model: Arc<Model>, id: CollectionId, all: u64) -> Self {
        Self {
            taken: Taken::of(&model.mapping.collections[id.0]),
            model,
            id,
            rows: Rows::default(),
            trial: Trial::default(),
            filtered: 0,
            deleted: 0,
            superseded: 0,
            lost: BTreeMap::new(),
            left: Left::default(),
            document_bytes: 0,
            record_bytes: 0,
            timed: (0, Duration::ZERO),
            took: Duration::ZERO,
            all,
            read: 0,
        }
    }

    /// Documents that the transform alone makes rows of in a second; none where too few were read.
    pub(super) fn speed(&self) -> Option<f64> {
        let (count, took) = self.timed;
        let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
        Some(f64::from(count) / took.as_secs_f64().max(1e-9))
    }

    /// A record, by its key's length and its value.
    pub(super) fn take(&mut self, key: usize, value: Option<&[u8]>, placing: &mut Placing) {
        let size = key + value.map_or(0, <[u8]>::len);
        self.record_bytes += u64::try_from(size).unwrap_or_default();
        let mark = self.rows.mark();
        if self.read % TIMED == 1 {
            let began = Instant::now();
            decode::prepare(&self.model, self.id, value, &mut self.rows);
            self.timed = (self.timed.0 + 1, self.timed.1 + began.elapsed());
            self.rows.reset(mark);
        }
        let mut losses = Losses::default();
        let model = Arc::clone(&self.model);
        let prepared = decode::prepare_watched(&model, self.id, value, &mut self.rows, &mut losses);
        let envelope = value.and_then(|value| avro::decode(value).ok());
        self.note(prepared, envelope.as_ref(), losses, placing);
        self.rows.reset(mark);
    }

    fn note(
        &mut self,
        prepared: Prepared,
        envelope: Option<&Envelope<'_>>,
        losses: Losses,
        placing: &mut Placing,
    ) {
        let is_delete = envelope.is_some_and(|e| e.operation == Operation::Delete);
        let id = envelope.and_then(|e| RawDocument::from_bytes(e.key).ok());
        let key = id.and_then(DocumentKey::of_document);
        let key = key.unwrap_or_else(DocumentKey::missing);
        let document = envelope.and_then(|e| e.document);
        if !is_delete {
            self.trial.documents += 1;
            self.document_bytes += document.map_or(0, |d| u64::try_from(d.len()).unwrap_or(0));
        }
        match prepared {
            Prepared::Ignored => {
                self.trial.documents -= 1;
                return;
            }
            Prepared::Refused(refusal) => self.refuse(&refusal.reason, &key),
            Prepared::Write { .. } if is_delete => {
                self.deleted += 1;
                return;
            }
            Prepared::Write { changes, .. } => {
                let ranges = changes.iter().filter_map(|change| match change.mutation {
                    Mutation::Upsert(range) => Some(range),
                    Mutation::Delete { .. } => None,
                });
                let ranges: Vec<_> = ranges.collect();
                if ranges.is_empty() {
                    self.filtered += 1;
                    return;
                }
                for range in ranges {
                    placing.place(self.id, range, &self.rows, &key);
                }
                for lost in losses.0 {
                    self.lost.entry(lost).or_default().add(&key);
                }
            }
        }
        if let Some(document) = document.and_then(|d| RawDocument::from_bytes(d).ok()) {
            let (number, left) = (self.trial.documents, &mut self.left);
            let mut each = |path: &str| left.add(path, number);
            self.taken.left(document, &mut each);
        }
    }

    fn refuse(&mut self, reason: &Reason, key: &DocumentKey) {
        self.trial.refuse(reason, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_many_elements_counts_once_for_each_document() {
        let mut left = Left::default();
        for document in [1, 1, 2] {
            left.add("items[].note", document);
        }
        assert_eq!(left.paths["items[].note"].0, 2);
        for number in 0..PATHS_MAX {
            left.add(&number.to_string(), 3);
        }
        assert_eq!((left.paths.len(), left.more), (PATHS_MAX, 1));
    }
}
