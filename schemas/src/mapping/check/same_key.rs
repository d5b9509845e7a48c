//! Keys that the document tells and its `_id` does not: what they are made of, what goes with them,
//! and what becomes of several documents with one key.
//!
//! Which row is a document's is remembered by the bytes of its key, so equal values must have equal
//! bytes. And a row stands for its document alone: it cannot stay behind, nor go with others.

use super::built::Built;
use crate::mapping::{
    OnDelete, PgType, SameKey,
    fault::{At, Faults, Spotted, nearest},
    pg_type::facts::Kind,
    raw::{Given, RawTable},
};

/// Judges a root table's key and what is said of it.
pub(super) fn judge(raw: &RawTable, built: &mut Built, faults: &mut Faults) {
    let known = |&position: &usize| built.known[position].source;
    let whole = !built.table.key.is_empty() && built.table.key.iter().all(known);
    let natural = built.table.has_natural_key();
    if natural && whole {
        types(raw, built, faults);
        stays(raw, built, faults);
    }
    if let Some(given) = raw.same_key.get() {
        if whole && !natural {
            let message = if built.table.documents_may_share_key() {
                "the key follows from `_id`: of two documents with one, the first keeps the row"
            } else {
                "the key follows from `_id`, so no two documents have the same one"
            };
            faults.add(&given.at, message);
        }
        built.table.same_key = given.value;
    }
    newest_by(raw, built, faults);
}

fn types(raw: &RawTable, built: &Built, faults: &mut Faults) {
    let names = raw.key.value().into_iter().flatten();
    for (&position, name) in built.table.key.iter().zip(names) {
        let Some(pg_type) = built.known[position].pg_type else {
            continue;
        };
        if !pg_type.is_array() && !pg_type.facts().one_form {
            let message = format!(
                "`{}` is `{pg_type}`, in which equal values may look different: a key that does not \
                 follow from `_id` has none",
                name.value
            );
            faults.add(&name.at, message);
        }
    }
}

fn stays(raw: &RawTable, built: &Built, faults: &mut Faults) {
    if built.table.soft_delete.is_some()
        && let Some(given) = raw.soft_delete.get()
    {
        let message = "a row whose key does not follow from `_id` may become another document's, so \
                       it cannot stay behind";
        faults.add(&given.at, message);
    }
    consequences(raw, faults);
}

/// Rows go with others, or forget them, where it is clear whose they are.
fn consequences(table: &RawTable, faults: &mut Faults) {
    for reference in table.columns.iter().filter_map(|c| c.references.value()) {
        if let Some(given) = reference
            .on_delete
            .get()
            .filter(|given| given.value != OnDelete::Hold)
        {
            let message = "with a key that does not follow from `_id`, `on_delete` can be nothing \
                           but `hold` yet";
            faults.suggest(&given.at, message, Some("hold".to_owned()));
        }
    }
    for child in &table.children {
        consequences(child, faults);
    }
}

/// A column whose value says which of two documents is the newer one.
fn newest_by(raw: &RawTable, built: &mut Built, faults: &mut Faults) {
    let Some(Spotted { value: name, at }) = raw.newest_by.get() else {
        return;
    };
    match &mut built.table.same_key {
        SameKey::NewestWins { by } => {
            match built.table.columns.iter().position(|c| c.name == *name) {
                Some(position) => {
                    *by = Some(position);
                    orders(position, at, built, faults);
                }
                None if built.complete => {
                    let near = nearest(name, built.table.columns.iter().map(|c| c.name.as_str()));
                    faults.suggest(at, format!("the table has no column `{name}`"), near);
                }
                None => {}
            }
        }
        SameKey::FirstStays if matches!(raw.same_key, Given::Faulty) => {}
        SameKey::FirstStays => {
            faults.add(
                at,
                "`newest_by` says what `on_same_key: newest-wins` goes by",
            );
        }
    }
}

fn orders(position: usize, at: &At, built: &Built, faults: &mut Faults) {
    let orders = |t: &PgType| t.is_whole() || t.kind() == Kind::Time;
    if let Some(other) = built.known[position].pg_type.filter(|t| !orders(t)) {
        let name = &built.table.columns[position].name;
        let message = format!(
            "`{name}` is `{other}`: how new a document is, a date, a time or a whole number says"
        );
        faults.add(at, message);
    }
}
