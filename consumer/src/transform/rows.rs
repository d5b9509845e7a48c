//! Encoded rows, many in one buffer.
//!
//! A row is its columns in PostgreSQL's binary COPY form (manual, `COPY`, "Binary Format", without
//! the field count): per field a length and as many bytes, or -1 for null. Many rows of a batch
//! share one buffer, so that a document costs no allocation of its own; a row is a range in it.

use super::plan::TableId;
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
    /// The row above, for a row of a child table: a position in the same [`Rows`].
    pub parent: Option<usize>,
}

/// Rows of several documents.
#[derive(Debug, Default)]
pub struct Rows {
    buffer: Vec<u8>,
    keys: Vec<u8>,
    rows: Vec<Row>,
}

/// How far a [`Rows`] was filled.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    buffer: usize,
    keys: usize,
    rows: usize,
}

impl Rows {
    /// An empty one with room for as much as `like` holds.
    pub fn sized_like(like: &Self) -> Self {
        Self {
            buffer: Vec::with_capacity(like.buffer.len().next_power_of_two()),
            keys: Vec::with_capacity(like.keys.len().next_power_of_two()),
            rows: Vec::with_capacity(like.rows.len().next_power_of_two()),
        }
    }

    /// How far it is filled.
    pub fn mark(&self) -> Mark {
        Mark {
            buffer: self.buffer.len(),
            keys: self.keys.len(),
            rows: self.rows.len(),
        }
    }

    /// Forgets what came after the mark.
    pub fn reset(&mut self, mark: Mark) {
        self.buffer.truncate(mark.buffer);
        self.keys.truncate(mark.keys);
        self.rows.truncate(mark.rows);
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
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
    pub fn row(&self, index: usize) -> &Row {
        &self.rows[index]
    }

    /// A row's fields, for COPY.
    pub fn fields(&self, index: usize) -> &[u8] {
        &self.buffer[self.rows[index].fields.clone()]
    }

    /// A row's key: the bytes of its key column, or of several with their lengths.
    pub fn key(&self, index: usize) -> &[u8] {
        &self.keys[self.rows[index].key.clone()]
    }

    /// One field's bytes; `None` for null.
    pub fn field(&self, index: usize, column: usize) -> Option<&[u8]> {
        value_of(nth_field(self.fields(index), column))
    }

    /// One field with its length, as COPY wants it.
    pub(super) fn field_of(&self, index: usize, column: usize) -> Vec<u8> {
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
        parent: Option<usize>,
    ) -> usize {
        let key_start = self.keys.len();
        append_key(&self.buffer[start..], key_columns, &mut self.keys);
        self.rows.push(Row {
            fields: start..self.buffer.len(),
            key: key_start..self.keys.len(),
            plan_table,
            table,
            parent,
        });
        self.rows.len() - 1
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
