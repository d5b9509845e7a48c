//! Parked documents that a transaction has locked, and those of them that it has taken up.

use crate::{
    change::{RecordOrigin, SourceVersion},
    ids::{Partition, RowId},
    model::Model,
    state::parked::ParkedRow,
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeSet;

/// A parked document, in a table and of a topic of this mapping.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    /// The root row it is parked for.
    pub(crate) row: RowId,
    /// Version and time of its image.
    pub(crate) version: SourceVersion,
    /// Where its record was read.
    pub(crate) origin: RecordOrigin,
    /// It was given up already.
    pub(crate) orphan: bool,
    /// It waits for a unique value, not for a parent.
    pub(crate) unique: bool,
    /// Only child rows of it wait.
    pub(crate) incomplete: bool,
    /// It is tried because its row has a value that another one waits for.
    pub(crate) has_value: bool,
    /// The record's key.
    pub(crate) record_key: Vec<u8>,
    /// The record's value.
    pub(crate) record_value: Vec<u8>,
    /// Seconds since it was parked.
    pub(crate) age_seconds: f64,
    /// The column that points to the missing parent.
    pub(crate) wait_column: Option<String>,
    /// The table it waits for.
    pub(crate) wait_table: String,
    /// The key of the row it waits for.
    pub(crate) wait_key: Vec<u8>,
    /// The version of the tombstone of that row; zero where there is none.
    pub(crate) wait_tombstone: Version,
}

impl Parked {
    /// None where its table or topic is none of this mapping: it stays parked.
    pub(crate) fn of(model: &Model, row: ParkedRow) -> Option<Self> {
        Some(Self {
            row: RowId {
                table: model.root_by_state_name(&row.table)?,
                key: row.key,
            },
            version: SourceVersion {
                version: row.version,
                as_of: row.as_of,
                event: true,
            },
            origin: RecordOrigin {
                partition: Partition {
                    collection: model.collection_of_topic(&row.topic)?,
                    number: row.partition,
                },
                offset: row.offset,
                timestamp: row.timestamp,
            },
            orphan: row.orphan,
            unique: row.unique,
            incomplete: row.incomplete,
            has_value: false,
            record_key: row.record_key,
            record_value: row.record_value,
            age_seconds: row.age_seconds,
            wait_column: row.wait_column,
            wait_table: row.wait_table,
            wait_key: row.wait_key,
            wait_tombstone: row.wait_tombstone,
        })
    }

    /// Those of this mapping.
    pub(crate) fn all(model: &Model, rows: Vec<ParkedRow>) -> Vec<Self> {
        rows.into_iter()
            .filter_map(|row| Self::of(model, row))
            .collect()
    }
}

/// The parked documents of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Released {
    list: Vec<Parked>,
    locked: BTreeSet<RowId>,
}

impl Released {
    /// How many were taken up.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The bytes of the records that were taken up.
    pub(crate) fn bytes(&self) -> usize {
        let records = self.list.iter();
        records
            .map(|parked| parked.record_key.len() + parked.record_value.len())
            .sum()
    }

    /// Whether none was.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All that were taken up.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Parked> {
        self.list.iter()
    }

    /// One that was taken up.
    pub(crate) fn get(&self, index: usize) -> &Parked {
        &self.list[index]
    }

    /// Takes one up; gives its position.
    pub(crate) fn push(&mut self, parked: Parked) -> usize {
        self.list.push(parked);
        self.list.len() - 1
    }

    /// Notes that what is parked for this row is locked; false if it was known.
    pub(crate) fn lock(&mut self, row: RowId) -> bool {
        self.locked.insert(row)
    }

    /// Whether something was parked for this row when it was locked.
    pub(crate) fn is_locked(&self, row: &RowId) -> bool {
        self.locked.contains(row)
    }

    /// The rows of what is locked.
    pub(crate) fn locked(&self) -> impl Iterator<Item = &RowId> {
        self.locked.iter()
    }
}
