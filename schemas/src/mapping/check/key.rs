//! Primary keys: what makes a row the row of its document or element.
//!
//! A root row is found again by its key whenever its document changes, so the key has to follow
//! from the document and can never be null; a key that does not follow from the `_id` alone is
//! remembered (`same_key`). A child row's key begins with its parent's, so that all
//! rows of a document can be found from its root.

use super::built::{Built, positions};
use crate::mapping::{
    ColumnSource, PgType, Table,
    fault::{At, Faults},
    pg_type::facts::Kind,
    raw::RawTable,
};

/// Finds the key's columns and judges them; all of them become required.
pub(super) fn resolve(
    raw: &RawTable,
    above: Option<&Built>,
    built: &mut Built,
    faults: &mut Faults,
) {
    let Some(names) = raw.key.get() else { return };
    let Some(key) = positions(&names.value, built, faults) else {
        return;
    };
    comparable(&key, &names.at, built, faults);
    for (&position, name) in key.iter().zip(&names.value) {
        if built.table.columns[position].source == ColumnSource::Rest {
            let message = format!("`{}` is the rest, which tells nothing apart", name.value);
            faults.add(&name.at, message);
        }
        if let Some(pg_type) = built.known[position].pg_type.filter(|t| t.is_array()) {
            let message = format!("`{}` is `{pg_type}`; a key has no arrays", name.value);
            faults.add(&name.at, message);
        }
    }
    for (&position, name) in key.iter().zip(&names.value) {
        required(raw, position, &name.at, above.is_some(), built, faults);
    }
    built.table.key = key;
    if built
        .table
        .key
        .iter()
        .any(|&position| !built.known[position].source)
    {
        return;
    }
    match above {
        None => {
            root(&built.table, &names.at, faults);
            built.root_key.clone_from(&built.table.key);
        }
        Some(above) => {
            child(&built.table, above, &names.at, faults);
            root_key(above, built, &names.at, faults);
        }
    }
}

/// What PostgreSQL cannot compare is in no key and no index.
pub(super) fn comparable(columns: &[usize], at: &At, built: &Built, faults: &mut Faults) {
    for &position in columns {
        let pg_type = built.known[position].pg_type;
        if let Some(pg_type) = pg_type.filter(|t| !t.facts().compared) {
            let name = &built.table.columns[position].name;
            let message = format!(
                "`{name}` is `{pg_type}`, which PostgreSQL cannot compare, so it can be in no key and no index"
            );
            let near = (pg_type.kind() == Kind::Json).then(|| PgType::Jsonb.to_string());
            faults.suggest(at, message, near);
        }
    }
}

fn required(
    raw: &RawTable,
    position: usize,
    at: &At,
    child: bool,
    built: &mut Built,
    faults: &mut Faults,
) {
    let known = built.known[position].source;
    let column = &mut built.table.columns[position];
    let Some(given) = raw.columns.get(position).map(|column| &column.required) else {
        faults.add(at, "the column of a soft delete cannot be in the key");
        return;
    };
    let generates = raw.columns[position].generated.value() == Some(&true);
    let always = match &column.source {
        // Every document has an `_id`; elements need not.
        ColumnSource::Path(path) => !child && path.steps().first().is_some_and(|s| s == "_id"),
        ColumnSource::FirstOf(_) | ColumnSource::Expression { .. } => false,
        ColumnSource::Parent(_)
        | ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Set
        | ColumnSource::Derived(_)
        | ColumnSource::Constant(_)
        | ColumnSource::Rest => true,
        ColumnSource::Deleted => false,
    };
    if let Some(flag) = given.get().filter(|flag| !flag.value) {
        faults.add(&flag.at, "a column of the key is never null");
    } else if known && !always && !generates && given.is_absent() {
        let message = format!(
            "`{}` may be missing, so it cannot be in the key: make it `required: true`",
            column.name
        );
        faults.add(at, message);
    }
    column.required = true;
}

fn root(table: &Table, at: &At, faults: &mut Faults) {
    let from_document = |&position: &usize| table.columns[position].source.is_converted();
    if !parts(table).iter().any(from_document) {
        faults.add(
            at,
            "nothing of the document is in the key, so all documents would be one row",
        );
    }
}

/// The key's columns, and those that they are derived from.
fn parts(table: &Table) -> Vec<usize> {
    let mut parts = table.key.clone();
    let mut next = 0;
    while let Some(&position) = parts.get(next) {
        next += 1;
        if let ColumnSource::Derived(of) = &table.columns[position].source {
            parts.extend(
                of.iter()
                    .filter(|c| !parts.contains(c))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }
    parts
}

/// All rows of a document are found by the root's key, so each repeats it.
fn root_key(above: &Built, built: &mut Built, at: &At, faults: &mut Faults) {
    for &wanted in &above.root_key {
        let repeats = ColumnSource::Parent(wanted);
        match built.table.columns.iter().position(|c| c.source == repeats) {
            Some(own) => built.root_key.push(own),
            // What the key lacks is said already.
            None if above.table.key.contains(&wanted) => {}
            None => {
                let message = format!(
                    "the table lacks the key of the collection's own table: a column with `parent: {}`",
                    above.table.columns[wanted].name
                );
                faults.add(at, message);
            }
        }
    }
}

fn child(table: &Table, above: &Built, at: &At, faults: &mut Faults) {
    let parts = parts(table);
    let sources = || {
        parts
            .iter()
            .map(|&position| &table.columns[position].source)
    };
    for &wanted in &above.table.key {
        if !sources().any(|source| *source == ColumnSource::Parent(wanted)) {
            let message = format!(
                "the key lacks the parent's key: a column with `parent: {}`",
                above.table.columns[wanted].name
            );
            faults.add(at, message);
        }
    }
    let own = |source: &ColumnSource| match source {
        ColumnSource::Path(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Expression { .. } => true,
        ColumnSource::Parent(_)
        | ColumnSource::Constant(_)
        | ColumnSource::Set
        | ColumnSource::Deleted
        | ColumnSource::Derived(_)
        | ColumnSource::Rest => false,
    };
    if !sources().any(own) {
        faults.add(
            at,
            "nothing tells the elements of one array apart: add a column with `position: true`, with `map_key: true` or with a path to the key",
        );
    }
}
