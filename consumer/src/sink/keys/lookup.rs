//! References by `_id`: the generated key of a parent is looked up when a row is written.
//!
//! Until then the field holds the key of the parent's document. What has no line has no number, and
//! waits for that document as for any parent; whoever places the document takes it along, and what two
//! transactions cannot see of each other the settling task finds. A line is read without its table's
//! turn: a number is given once and for all, and whether its row is there the foreign key says.

use super::ledger;
use crate::{
    sink::{ApplyError, transaction::Transaction, work::Wish},
    transform::{Rows, TableId},
};
use leafcutter_schemas::mapping::OnMissing;
use std::collections::{BTreeMap, BTreeSet};

/// What was looked up in one transaction.
#[derive(Debug, Default)]
pub struct Lookups {
    /// The document that a field told, by row and column.
    told: BTreeMap<(usize, usize), Vec<u8>>,
    /// The rows that lack a parent's key, and the reference: a position among their table's.
    missing: BTreeMap<usize, usize>,
}

impl Lookups {
    /// What a row waits for where this reference has no parent: the key of the document that was looked
    /// for, or the field itself.
    pub fn wanted<'a>(&'a self, rows: &'a Rows, row: usize, column: usize) -> Option<&'a [u8]> {
        let told = self.told.get(&(row, column)).map(Vec::as_slice);
        told.or_else(|| rows.field(row, column))
    }

    /// The reference whose parent has no key yet, of a row that was looked up.
    pub fn missing(&self, row: usize) -> Option<usize> {
        self.missing.get(&row).copied()
    }
}

/// One field to be looked up.
struct Field {
    document: usize,
    row: usize,
    reference: usize,
    column: usize,
    parent: TableId,
    told: Vec<u8>,
}

/// Looks up the parents of these documents' rows.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn look_up(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<(), ApplyError> {
    if !t.model.looks_up(root) {
        return Ok(());
    }
    let fields = fields(t, documents);
    let mut wanted: BTreeMap<TableId, BTreeSet<&[u8]>> = BTreeMap::new();
    for field in &fields {
        wanted.entry(field.parent).or_default().insert(&field.told);
        t.lookups.missing.remove(&field.row);
    }
    let mut found = BTreeMap::new();
    for (parent, sources) in wanted {
        let name = &t.model.table(parent).state_name;
        let sources: Vec<&[u8]> = sources.into_iter().collect();
        found.insert(
            parent,
            ledger::of_documents(t.session, name, &sources).await?,
        );
    }
    for field in &fields {
        let line = found
            .get(&field.parent)
            .and_then(|lines| lines.get(&field.told));
        let table = t.rows.row(field.row).table;
        let key = &t.model.table(table).table.key;
        let value = line.map(|line| line.row_key.as_slice());
        t.rows.set_field(field.row, field.column, value, key);
        if value.is_some() {
            continue;
        }
        let candidate = &mut t.work.candidates[field.document];
        let column = &t.model.table(table).table.columns[field.column];
        let reference = column.looked_up();
        let null = reference.is_some_and(|reference| reference.on_missing == OnMissing::Null);
        if null && candidate.leaves_out_parents(table == root) {
            candidate.nulled = true;
        } else {
            t.lookups
                .missing
                .entry(field.row)
                .or_insert(field.reference);
        }
    }
    for field in fields {
        t.lookups.told.insert((field.row, field.column), field.told);
    }
    Ok(())
}

fn fields(t: &Transaction<'_>, documents: &[usize]) -> Vec<Field> {
    let mut fields = Vec::new();
    for &document in documents {
        let Wish::Upsert(rows) = &t.work.candidates[document].wish else {
            continue;
        };
        for row in rows.clone() {
            let entry = t.model.table(t.rows.row(row).table);
            for &(reference, parent) in &entry.looked_up {
                let column = entry.sql.references[reference].column;
                if let Some(told) = t.lookups.wanted(t.rows, row, column) {
                    fields.push(Field {
                        document,
                        row,
                        reference,
                        column,
                        parent,
                        told: told.to_vec(),
                    });
                }
            }
        }
    }
    fields
}
