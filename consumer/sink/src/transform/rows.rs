//! Encoded rows, many in one buffer.
//!
//! A row is its columns in PostgreSQL's binary COPY form (manual, `COPY`, "Binary Format", without
//! the field count): per field a length and as many bytes, or -1 for null. Many rows of a batch
//! share one buffer, so that a document costs no allocation of its own; a row is a range in it.

pub(crate) use super::field::field_length;

use super::plan::Unmapped;
use crate::ids::{RowIndex, RowRange, TableId};
use std::ops::Range;

/// One encoded row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where its fields are in the buffer.
    pub fields: Range<usize>,
    /// Where its key is in the buffer of keys.
    key: Range<usize>,
    /// The table's position in the plan of its collection.
    pub plan_table: usize,
    /// The table.
    pub table: TableId,
    /// The row above, for a row of a child table.
    pub parent: Option<RowIndex>,
}

/// Rows of several documents.
#[derive(Debug, Default)]
pub struct Rows {
    buffer: Vec<u8>,
    keys: Vec<u8>,
    rows: Vec<Row>,
    /// Rows that got a value later, each as it was before.
    set: Vec<(RowIndex, Row)>,
    /// What no row has.
    unmapped: Unmapped,
}

/// How far a [`Rows`] was filled.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    buffer: usize,
    keys: usize,
    rows: usize,
    set: usize,
}

impl Rows {
    /// An empty one with room for as much as `like` holds.
    pub fn sized_like(like: &Self) -> Self {
        Self {
            buffer: Vec::with_capacity(like.buffer.len().next_power_of_two()),
            keys: Vec::with_capacity(like.keys.len().next_power_of_two()),
            rows: Vec::with_capacity(like.rows.len().next_power_of_two()),
            set: Vec::new(),
            unmapped: Unmapped::default(),
        }
    }

    /// What was not taken of the documents, for whoever makes rows of them.
    pub(super) fn unmapped(&mut self) -> &mut Unmapped {
        &mut self.unmapped
    }

    /// Takes what was not taken of the documents, also of those whose rows were forgotten.
    pub fn take_unmapped(&mut self) -> Unmapped {
        std::mem::take(&mut self.unmapped)
    }

    /// How far it is filled.
    pub fn mark(&self) -> Mark {
        Mark {
            buffer: self.buffer.len(),
            keys: self.keys.len(),
            rows: self.rows.len(),
            set: self.set.len(),
        }
    }

    /// Forgets what came after the mark, and values that were set since.
    pub fn reset(&mut self, mark: Mark) {
        for (index, before) in self.set.drain(mark.set..).rev() {
            self.rows[index.index()] = before;
        }
        self.buffer.truncate(mark.buffer);
        self.keys.truncate(mark.keys);
        self.rows.truncate(mark.rows);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = RowIndex> {
        self.since(0).rows()
    }

    /// The rows from this one on.
    pub fn from(&self, first: RowIndex) -> impl Iterator<Item = RowIndex> {
        RowRange::new(first.index(), self.rows.len()).rows()
    }

    /// The rows since there were so many.
    pub(super) fn since(&self, before: usize) -> RowRange {
        RowRange::new(before, self.rows.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.buffer.len() + self.keys.len()
    }

    /// A row.
    pub fn row(&self, index: RowIndex) -> &Row {
        &self.rows[index.index()]
    }

    /// A row's fields, for COPY.
    pub fn fields(&self, index: RowIndex) -> &[u8] {
        &self.buffer[self.rows[index.index()].fields.clone()]
    }

    /// A row's key: the bytes of its key column, or of several with their lengths.
    pub fn key(&self, index: RowIndex) -> &[u8] {
        &self.keys[self.rows[index.index()].key.clone()]
    }

    /// One field's bytes; `None` for null.
    pub fn field(&self, index: RowIndex, column: usize) -> Option<&[u8]> {
        value_of(nth_field(self.fields(index), column))
    }

    /// Sets a field of a row that is there, `None` to null, until what came since its mark is
    /// forgotten; `key_columns` are those of its table.
    pub fn set_field(
        &mut self,
        index: RowIndex,
        column: usize,
        value: Option<&[u8]>,
        key_columns: &[usize],
    ) {
        let fields = self.fields(index).to_vec();
        let mut before = fields.as_slice();
        for _ in 0..column {
            before = &before[field_len(before)..];
        }
        let (at, after) = (fields.len() - before.len(), &before[field_len(before)..]);
        self.set.push((index, self.rows[index.index()].clone()));
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&fields[..at]);
        let length = value.map_or(-1, |value| field_length(value.len()));
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(value.unwrap_or_default());
        self.buffer.extend_from_slice(after);
        let key_start = self.keys.len();
        append_key(&self.buffer[start..], key_columns, &mut self.keys);
        self.rows[index.index()].fields = start..self.buffer.len();
        self.rows[index.index()].key = key_start..self.keys.len();
    }

    /// One field with its length, as COPY wants it.
    pub(super) fn field_of(&self, index: RowIndex, column: usize) -> Vec<u8> {
        nth_field(self.fields(index), column).to_vec()
    }

    /// One field's bytes of a row that is being made since `start`; `None` for null.
    pub(super) fn field_since(&self, start: usize, column: usize) -> Option<&[u8]> {
        value_of(nth_field(&self.buffer[start..], column))
    }

    /// Takes the last row back.
    pub(super) fn discard_last(&mut self) {
        if let Some(row) = self.rows.pop() {
            self.buffer.truncate(row.fields.start);
            self.keys.truncate(row.key.start);
        }
    }

    pub(super) fn begin(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn finish(
        &mut self,
        start: usize,
        plan_table: usize,
        table: TableId,
        key_columns: &[usize],
        parent: Option<RowIndex>,
    ) -> RowIndex {
        let key_start = self.keys.len();
        append_key(&self.buffer[start..], key_columns, &mut self.keys);
        self.rows.push(Row {
            fields: start..self.buffer.len(),
            key: key_start..self.keys.len(),
            plan_table,
            table,
            parent,
        });
        RowIndex::new(self.rows.len() - 1)
    }
}

/// The field at a position, with its length in front.
fn nth_field(mut fields: &[u8], position: usize) -> &[u8] {
    for _ in 0..position {
        fields = &fields[field_len(fields)..];
    }
    &fields[..field_len(fields)]
}

/// A field's bytes without its length; `None` for null.
pub(super) fn value_of(field: &[u8]) -> Option<&[u8]> {
    (field.len() > 4 || field.starts_with(&[0; 4])).then(|| &field[4..])
}

fn field_len(fields: &[u8]) -> usize {
    let length = fields
        .first_chunk::<4>()
        .map_or(-1, |bytes| i32::from_be_bytes(*bytes));
    4 + usize::try_from(length).unwrap_or(0)
}

fn append_key(fields: &[u8], key_columns: &[usize], out: &mut Vec<u8>) {
    if let [only] = key_columns {
        out.extend_from_slice(&nth_field(fields, *only)[4..]);
        return;
    }
    for &column in key_columns {
        out.extend_from_slice(nth_field(fields, column));
    }
}

/// The key in a row's fields.
pub(super) fn key_of(fields: &[u8], key_columns: &[usize]) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    append_key(fields, key_columns, &mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::{Rows, TableId};

    #[test]
    fn a_value_is_set_until_the_mark_is_gone_back_to() {
        let mut rows = Rows::default();
        let start = rows.begin();
        for value in [Some(b"ab"), None, Some(b"cd")] {
            let length = value.map_or(-1i32, |_| 2);
            rows.buffer().extend_from_slice(&length.to_be_bytes());
            rows.buffer().extend_from_slice(value.map_or(&[], |v| v));
        }
        let row = rows.finish(start, 0, TableId(0), &[1], None);
        let mark = rows.mark();
        let seen = |rows: &Rows| {
            let fields = (0..3).map(|column| rows.field(row, column).map(<[u8]>::to_vec));
            (fields.collect::<Vec<_>>(), rows.key(row).to_vec())
        };
        let (ab, cd) = (Some(b"ab".to_vec()), Some(b"cd".to_vec()));
        let before = seen(&rows);
        assert_eq!(before, (vec![ab.clone(), None, cd.clone()], vec![]));
        for _ in 0..2 {
            rows.set_field(row, 1, Some(b"xyz"), &[1]);
            let xyz = b"xyz".to_vec();
            assert_eq!(
                seen(&rows),
                (vec![ab.clone(), Some(xyz.clone()), cd.clone()], xyz)
            );
        }
        rows.set_field(row, 0, Some(b""), &[1]);
        assert_eq!(rows.field(row, 0), Some(&b""[..]));
        rows.set_field(row, 0, None, &[1]);
        assert_eq!(rows.field(row, 0), None);
        rows.reset(mark);
        assert_eq!(seen(&rows), before);
    }
}
