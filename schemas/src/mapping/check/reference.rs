//! References: they point to a root table whose key is one column of the same type and making.

use super::table::Built;
use crate::mapping::{
    ColumnSource, Conversion, OnDelete, OnMissing, PgType, Reference, TableName,
    fault::{Faults, Spotted, nearest},
    raw::{RawColumn, RawMapping, RawReference, RawTable},
};
use std::collections::BTreeMap;

/// The tables of the file, as references see them.
pub(super) struct Targets<'r>(BTreeMap<&'r TableName, Target<'r>>);

enum Target<'r> {
    Root(&'r RawTable),
    Child,
}

impl<'r> Targets<'r> {
    pub(super) fn of(raw: &'r RawMapping) -> Self {
        let mut targets = Self(BTreeMap::new());
        for collection in &raw.collections {
            targets.add(&collection.table, Target::Root(&collection.table));
        }
        targets
    }

    fn add(&mut self, table: &'r RawTable, target: Target<'r>) {
        if let Some(name) = table.name.value() {
            self.0.entry(name).or_insert(target);
        }
        for child in &table.children {
            self.add(child, Target::Child);
        }
    }
}

/// Judges the reference of a column and gives it to the column.
pub(super) fn judge(
    raw: &RawColumn,
    position: usize,
    built: &mut Built,
    targets: &Targets<'_>,
    faults: &mut Faults,
) {
    let Some(Spotted {
        value: reference,
        at,
    }) = raw.references.get()
    else {
        return;
    };
    let column = &built.table.columns[position];
    match column.source {
        ColumnSource::Position if raw.parent.is_absent() => {
            faults.add(at, "a position points to nothing");
        }
        _ => {}
    }
    if column.required {
        nulls(reference, faults);
    }
    let Some(Spotted { value: name, at }) = reference.table.get() else {
        return;
    };
    let Some(table) = root(name, at, targets, faults) else {
        return;
    };
    let Some(names) = table.key.value() else {
        return;
    };
    let [key] = &names[..] else {
        let message = format!(
            "the key of `{name}` has {} columns; a reference points to one",
            names.len()
        );
        faults.add(at, message);
        return;
    };
    let Some(key) = table.columns.iter().find(|c| c.name.value == key.value) else {
        return;
    };
    if let (Some(own), Some(theirs)) = (built.types[position], key.pg_type.value()) {
        let own = (own, column.conversion);
        let theirs = (
            *theirs,
            key.convert.value().copied().unwrap_or(Conversion::Auto),
        );
        let from_path = matches!(column.source, ColumnSource::Path(_));
        let key_name = format!("{name}.{}", key.name.value);
        same(own, theirs, from_path, &key_name, raw, faults);
    }
    built.table.columns[position].reference = Some(Reference {
        table: name.clone(),
        column: key.name.value.clone(),
        on_missing: reference.on_missing.value().copied().unwrap_or_default(),
        on_delete: reference.on_delete.value().copied().unwrap_or_default(),
    });
}

fn nulls(reference: &RawReference, faults: &mut Faults) {
    let missing = reference
        .on_missing
        .get()
        .filter(|s| s.value == OnMissing::Null);
    let delete = reference
        .on_delete
        .get()
        .filter(|s| s.value == OnDelete::SetNull);
    for at in missing
        .map(|s| &s.at)
        .into_iter()
        .chain(delete.map(|s| &s.at))
    {
        faults.add(at, "a required column cannot become null");
    }
}

fn root<'r>(
    name: &TableName,
    at: &crate::mapping::fault::At,
    targets: &Targets<'r>,
    faults: &mut Faults,
) -> Option<&'r RawTable> {
    match targets.0.get(name) {
        Some(Target::Root(table)) => Some(table),
        Some(Target::Child) => {
            let message = format!(
                "`{name}` is a child table; a reference points to a collection's own table"
            );
            faults.add(at, message);
            None
        }
        None => {
            let names: Vec<String> = targets.0.keys().map(ToString::to_string).collect();
            let near = nearest(&name.to_string(), names.iter().map(String::as_str));
            faults.suggest(at, format!("the mapping has no table `{name}`"), near);
            None
        }
    }
}

/// A reference and the key it points to are made the same way, or no value ever equals another.
fn same(
    own: (PgType, Conversion),
    theirs: (PgType, Conversion),
    from_path: bool,
    key: &str,
    raw: &RawColumn,
    faults: &mut Faults,
) {
    let at = raw.pg_type.get().map_or(&raw.name.at, |s| &s.at);
    if own.0 != theirs.0 {
        let message = format!("this column is `{}`, but `{key}` is `{}`", own.0, theirs.0);
        faults.suggest(at, message, Some(theirs.0.to_string()));
        return;
    }
    let at = raw.convert.get().map_or(&raw.name.at, |s| &s.at);
    match (own.1, theirs.1) {
        (Conversion::UuidV5, Conversion::UuidV5) => {}
        (_, Conversion::UuidV5) if from_path => {
            faults.add(
                at,
                format!("`{key}` is made by `convert: uuid-v5`, this column is not"),
            );
        }
        (Conversion::UuidV5, _) => {
            faults.add(
                at,
                format!("this column is made by `convert: uuid-v5`, `{key}` is not"),
            );
        }
        _ => {}
    }
}
