//! Generated columns: numbers that the document does not have.
//!
//! Outside the key PostgreSQL fills the column when the row is inserted, and nobody touches it again.
//! As the key, a document that has a value keeps it, and one without gets a number once, which is
//! remembered for it. So such a key is one column, and nothing is made of it.

use super::{built::Built, name};
use crate::mapping::{
    ColumnSource, Identity, PgType, SameKey,
    fault::{At, Faults, Spotted},
    pg_type::facts::Kind,
    raw::{Given, RawColumn, RawTable},
};

/// Judges the columns that PostgreSQL fills.
pub(super) fn identity(raw: &RawTable, child: bool, built: &mut Built, faults: &mut Faults) {
    for (index, column) in raw.identity.iter().enumerate() {
        name::column(&column.name, faults);
        let (name, at) = (&column.name.value, &column.name.at);
        if child {
            faults.add(at, "only a collection's own table has a generated column");
        }
        if built.table.column(name).is_some() {
            faults.add(at, format!("column `{name}` stands twice"));
        }
        if index > 0 {
            faults.add(at, "a table has one generated column");
        }
        for (key, at) in keys(column) {
            let message = format!("`{key}` says nothing for a generated column outside the key");
            faults.add(at, message);
        }
        let pg_type = match column.pg_type.get() {
            Some(Spotted { value, at }) => {
                whole(*value, at, faults);
                *value
            }
            None => {
                if column.pg_type.is_absent() {
                    faults.add(at, "a generated column needs a `type`");
                }
                PgType::Int8
            }
        };
        built.table.identity = Some(Identity {
            name: name.clone(),
            pg_type,
            start: start(column, faults),
        });
    }
}

/// Judges a generated key, and what is said of numbers that nobody generates.
pub(super) fn key(raw: &RawTable, child: bool, built: &mut Built, faults: &mut Faults) {
    for (position, column) in raw.columns.iter().enumerate() {
        let Some(flag) = column.generated.get().filter(|flag| flag.value) else {
            if let Some(start) = column.start.get()
                && !matches!(column.generated, Given::Faulty)
            {
                let message = "`start` says where a `generated: true` column begins";
                faults.add(&start.at, message);
            }
            continue;
        };
        let at = &flag.at;
        if child {
            faults.add(at, "only a collection's own table has a generated column");
            continue;
        }
        let from_document = matches!(
            built.table.columns[position].source,
            ColumnSource::Path(_) | ColumnSource::FirstOf(_)
        );
        if !from_document {
            faults.add(at, "a generated key has the value at a path, or a number");
        } else if built.known[position].source && built.table.follows_from_id(position) {
            faults.add(
                at,
                "every document has an `_id`, so nothing is ever generated",
            );
        }
        if raw.key.value().is_some_and(|names| names.len() > 1) {
            faults.add(at, "a generated key is one column");
        }
        if built.table.same_key != SameKey::FirstStays {
            faults.add(
                at,
                "no two documents are given one number, so none is the newest",
            );
        }
        for (key, given) in [
            ("required", column.required.get().map(|s| &s.at)),
            ("default", column.default.get().map(|s| &s.at)),
        ] {
            if let Some(at) = given {
                faults.add(at, format!("`{key}` says nothing for a generated key"));
            }
        }
        if let Some(pg_type) = &column.pg_type.get() {
            whole(pg_type.value, &pg_type.at, faults);
        }
        for (other, raw) in built.table.columns.iter().zip(&raw.columns) {
            if let (ColumnSource::Derived(of), Some(derive)) = (&other.source, raw.derive.get())
                && of.contains(&position)
            {
                faults.add(&derive.at, "nothing can be derived from a generated key");
            }
        }
        built.table.columns[position].generated = Some(start(column, faults));
    }
}

fn whole(pg_type: PgType, at: &At, faults: &mut Faults) {
    if !pg_type.is_whole() {
        let message = format!("a generated column is a whole number, not `{pg_type}`");
        faults.suggest(at, message, Some("bigint".to_owned()));
    }
}

fn start(column: &RawColumn, faults: &mut Faults) -> i64 {
    let Some(Spotted { value, at }) = column.start.get() else {
        return 1;
    };
    let most = match column.pg_type.value().map(|pg_type| pg_type.kind()) {
        Some(Kind::Whole { most }) => most,
        _ => i64::MAX,
    };
    match value.parse() {
        Ok(number) if (1..=most).contains(&number) => number,
        Ok(_) | Err(_) => {
            let message = format!("`{value}` is no whole number from 1 to {most}");
            faults.add(at, message);
            1
        }
    }
}

/// The keys that only a column of the document has.
fn keys(column: &RawColumn) -> Vec<(&'static str, &At)> {
    [
        ("path", column.path.get().map(|s| &s.at)),
        ("parent", column.parent.get().map(|s| &s.at)),
        ("position", column.position.get().map(|s| &s.at)),
        ("map_key", column.map_key.get().map(|s| &s.at)),
        ("set", column.set.get().map(|s| &s.at)),
        ("derive", column.derive.get().map(|s| &s.at)),
        ("constant", column.constant.get().map(|s| &s.at)),
        ("rest", column.rest.get().map(|s| &s.at)),
        ("expression", column.expression.get().map(|s| &s.at)),
        ("convert", column.convert.get().map(|s| &s.at)),
        ("required", column.required.get().map(|s| &s.at)),
        ("default", column.default.get().map(|s| &s.at)),
        ("unique", column.unique.get().map(|s| &s.at)),
        ("index", column.index.get().map(|s| &s.at)),
        ("values", column.values.get().map(|s| &s.at)),
        ("invalid", column.invalid.get().map(|s| &s.at)),
        ("references", column.references.get().map(|s| &s.at)),
    ]
    .into_iter()
    .filter_map(|(key, at)| Some((key, at?)))
    .collect()
}
