//! References by `_id`: the generated key of a parent is looked up when a row is written.
//!
//! Until then the field holds the key of the parent's document. A document without an entry in the key
//! map has no number, and is waited for as any parent is; the transaction that places it releases what waits, and what
//! two transactions cannot see of each other the settling task finds. An entry is read without its
//! table's lock: a number is given once and for all, and whether its row is there the foreign key tells.

use super::attempt::Attempt;
use crate::{
    error::ApplyError,
    ids::{DocumentId, ReferenceId, RowIndex, TableId},
    state::key_map,
};
use leafcutter_schemas::mapping::OnMissing;
use std::collections::{BTreeMap, BTreeSet};

/// One field to be looked up.
struct Field {
    document: DocumentId,
    row: RowIndex,
    reference: ReferenceId,
    column: usize,
    parent: TableId,
    named: Vec<u8>,
}

/// Looks up the parents of these documents' rows.
pub(crate) async fn look_up(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let model = t.model;
    if !model.looks_up(root) {
        return Ok(());
    }
    let fields = fields(t, documents);
    let mut wanted: BTreeMap<TableId, BTreeSet<&[u8]>> = BTreeMap::new();
    for field in &fields {
        wanted.entry(field.parent).or_default().insert(&field.named);
        t.parent_keys.forget_missing(field.row);
    }
    let mut found = BTreeMap::new();
    for (parent, sources) in wanted {
        let name = &model.table(parent).state_name;
        let sources: Vec<&[u8]> = sources.into_iter().collect();
        found.insert(
            parent,
            key_map::of_documents(t.session, name, &sources).await?,
        );
    }
    for field in fields {
        let entries = found.get(&field.parent);
        let entry = entries.and_then(|entries| entries.get(&field.named));
        let table = model.table(t.table_of(field.row));
        let value = entry.map(|entry| entry.row_key.as_slice());
        t.rows
            .set_field(field.row, field.column, value, &table.table.key);
        if value.is_none() {
            let candidate = t.candidates.get_mut(field.document);
            let reference = table.table.columns[field.column].looked_up();
            let null = reference.is_some_and(|reference| reference.on_missing == OnMissing::Null);
            if null && candidate.leaves_out_parents(table.above.is_empty()) {
                candidate.set_nulled();
            } else {
                t.parent_keys.set_missing(field.row, field.reference);
            }
        }
        t.parent_keys
            .set_named(field.row, field.column, field.named);
    }
    Ok(())
}

fn fields(t: &Attempt<'_>, documents: &[DocumentId]) -> Vec<Field> {
    let mut fields = Vec::new();
    for &document in documents {
        let rows = t.candidates.get(document).rows();
        for row in rows.into_iter().flat_map(|rows| rows.rows()) {
            let entry = t.model.table(t.table_of(row));
            for &(reference, parent) in &entry.looked_up {
                let column = entry.sql.references[reference.0].column;
                if let Some(named) = t.parent_keys.wanted(t.rows, row, column) {
                    fields.push(Field {
                        document,
                        row,
                        reference,
                        column,
                        parent,
                        named: named.to_vec(),
                    });
                }
            }
        }
    }
    fields
}
