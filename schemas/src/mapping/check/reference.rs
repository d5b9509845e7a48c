//! References: they point to a root table whose key is one column of the same type and making.

use super::built::Built;
use crate::mapping::{
    ColumnSource, Conversion, OnDelete, OnMissing, Reference, TableName,
    fault::{At, Faults, Spotted, nearest},
    raw::{Given, RawColumn, RawMapping, RawReference, RawTable},
};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use std::collections::BTreeMap;

/// The tables of the file, as references see them.
pub(super) struct Targets<'r> {
    tables: BTreeMap<&'r TableName, Target<'r>>,
    /// Whether all tables of the file are among them.
    complete: bool,
}

enum Target<'r> {
    Root(&'r RawTable),
    Child,
}

impl<'r> Targets<'r> {
    pub(super) fn of(raw: &'r RawMapping) -> Self {
        let mut targets = Self {
            tables: BTreeMap::new(),
            complete: !raw.collections_missing,
        };
        for collection in &raw.collections {
            for table in &collection.tables {
                targets.add(table, Target::Root(table));
            }
        }
        targets
    }

    /// Whether that is a collection's own table.
    fn is_root(&self, name: &TableName) -> bool {
        matches!(self.tables.get(name), Some(Target::Root(_)))
    }

    fn add(&mut self, table: &'r RawTable, target: Target<'r>) {
        match table.name.value() {
            Some(name) => {
                self.tables.entry(name).or_insert(target);
            }
            None => self.complete = false,
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
        if raw.references.is_absent() {
            converts_for_nothing(raw, faults);
        }
        return;
    };
    let column = &built.table.columns[position];
    if column.source == ColumnSource::Position {
        faults.add(at, "a position points to nothing");
        return;
    }
    if column.required {
        nulls(reference, faults);
    }
    let Some(name) = reference.table.get() else {
        return;
    };
    let Some(key) = key_of(name, targets, faults) else {
        return;
    };
    by_id(raw, position, (name, key), built, targets, faults);
    let name = &name.value;
    if let (Some(own), Some(theirs)) = (built.known[position].pg_type, key.pg_type.value()) {
        let key_name = format!("{name}.{}", key.name.value);
        if own == *theirs {
            if reference.by.is_absent() {
                same_making(raw, key, &key_name, faults);
            }
        } else {
            let at = raw.pg_type.get().map_or(&raw.name.at, |s| &s.at);
            let message = format!("this column is `{own}`, but `{key_name}` is `{theirs}`");
            faults.suggest(at, message, Some(theirs.to_string()));
        }
    }
    built.table.columns[position].reference = Some(Reference {
        table: name.clone(),
        column: key.name.value.clone(),
        by: reference.by.value().copied().unwrap_or_default(),
        on_missing: reference.on_missing.value().copied().unwrap_or_default(),
        on_delete: reference.on_delete.value().copied().unwrap_or_default(),
    });
}

/// The one column that is the key of that root table, as far as it is known.
fn key_of<'r>(
    name: &Spotted<TableName>,
    targets: &Targets<'r>,
    faults: &mut Faults,
) -> Option<&'r RawColumn> {
    let table = root(&name.value, &name.at, targets, faults)?;
    match &table.key.value()?[..] {
        [key] => table
            .columns
            .iter()
            .find(|column| column.name.value == key.value),
        names => {
            let message = format!(
                "the key of `{}` has {} columns; a reference points to one",
                name.value,
                names.len()
            );
            faults.add(&name.at, message);
            None
        }
    }
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
    at: &At,
    targets: &Targets<'r>,
    faults: &mut Faults,
) -> Option<&'r RawTable> {
    match targets.tables.get(name) {
        Some(Target::Root(table)) => Some(table),
        Some(Target::Child) => {
            let message = format!(
                "`{name}` is a child table; a reference points to a collection's own table"
            );
            faults.add(at, message);
            None
        }
        None => {
            let names: Vec<String> = targets.tables.keys().map(ToString::to_string).collect();
            let near = nearest(&name.to_string(), names.iter().map(String::as_str));
            if targets.complete || near.is_some() {
                faults.suggest(at, format!("the mapping has no table `{name}`"), near);
            }
            None
        }
    }
}

/// A reference by `_id` finds a number that was given to a document, so there have to be such numbers,
/// and what the column has is no value of its own.
fn by_id(
    raw: &RawColumn,
    position: usize,
    (name, key): (&Spotted<TableName>, &RawColumn),
    built: &Built,
    targets: &Targets<'_>,
    faults: &mut Faults,
) {
    let reference = raw.references.value();
    let Some(by) = reference.and_then(|reference| reference.by.get()) else {
        if reference.is_none_or(|reference| reference.by.is_absent()) {
            converts_for_nothing(raw, faults);
        }
        return;
    };
    if key.generated.value() != Some(&true) && !matches!(key.generated, Given::Faulty) {
        let message = format!(
            "`{}.{}` is not generated: `by: _id` finds generated keys; leave it out, and give the \
             column the key's own value",
            name.value, key.name.value
        );
        faults.add(&by.at, message);
    }
    let column = &built.table.columns[position];
    if built.known[position].source
        && !matches!(
            column.source,
            ColumnSource::Path(_) | ColumnSource::FirstOf(_)
        )
    {
        faults.add(&by.at, "an `_id` is looked for that stands at a path");
    }
    if built.root_key.contains(&position) && targets.is_root(&built.table.name) {
        let message =
            "the key of a collection's own table has to be known before anything is looked up";
        faults.add(&by.at, message);
    }
    if let Some(convert) = raw.convert.get()
        && !matches!(convert.value, Conversion::Auto | Conversion::ObjectId)
    {
        let message = "what an `_id` is converted to can be `object-id`, or is left out";
        faults.suggest(&convert.at, message, Some("object-id".to_owned()));
    }
    for (word, at) in [
        ("default", raw.default.get().map(|s| &s.at)),
        ("values", raw.values.get().map(|s| &s.at)),
    ] {
        if let Some(at) = at {
            faults.add(at, format!("`{word}` says nothing of what is looked up"));
        }
    }
    if let Some(given) = reference.and_then(|r| r.on_missing.get())
        && given.value == OnMissing::Keep
    {
        let message = "of a parent that is missing there is no key to keep";
        faults.add(&given.at, message);
    }
    if let Some(given) = reference.and_then(|r| r.on_delete.get())
        && given.value != OnDelete::Hold
    {
        let message = "a reference by `_id` can have nothing but `hold` yet";
        faults.suggest(&given.at, message, Some("hold".to_owned()));
    }
}

/// What is looked up is not known yet when the rows below are made.
pub(super) fn repeats(
    raw: &RawColumn,
    position: usize,
    built: &Built,
    above: Option<&Built>,
    faults: &mut Faults,
) {
    if let (ColumnSource::Parent(of), Some(above)) = (&built.table.columns[position].source, above)
        && above
            .table
            .columns
            .get(*of)
            .is_some_and(|column| column.looked_up().is_some())
    {
        let at = raw.parent.get().map_or(&raw.name.at, |s| &s.at);
        let name = &above.table.columns[*of].name;
        let message = format!("`{name}` is looked up by `_id`, so no table below can repeat it");
        faults.add(at, message);
    }
}

fn converts_for_nothing(raw: &RawColumn, faults: &mut Faults) {
    if let Some(convert) = raw.convert.get()
        && convert.value == Conversion::ObjectId
    {
        let message = "`convert: object-id` is for references with `by: _id`";
        faults.add(&convert.at, message);
    }
}

/// A UUID made from a value never equals one that was not, so every row would lack its parent.
fn same_making(raw: &RawColumn, key: &RawColumn, key_name: &str, faults: &mut Faults) {
    let made = |column: &RawColumn| match &column.convert {
        Given::Absent => Some(false),
        Given::Faulty => None,
        Given::Value(spotted) => Some(spotted.value == Conversion::UuidV5),
    };
    let from_document = raw.parent.is_absent() && raw.constant.is_absent();
    let (Some(own), Some(theirs), true) = (made(raw), made(key), from_document) else {
        return;
    };
    let at = raw.convert.get().map_or(&raw.name.at, |s| &s.at);
    match (own, theirs) {
        (true, true) | (false, false) => {}
        (false, true) => {
            faults.add(
                at,
                format!("`{key_name}` is made by `convert: uuid-v5`, this column is not"),
            );
        }
        (true, false) => {
            faults.add(
                at,
                format!("this column is made by `convert: uuid-v5`, `{key_name}` is not"),
            );
        }
    }
}

/// Judges `on_delete: cascade` where collections point to each other in a circle: which of their
/// rows is to be deleted first, no constraint could tell. A table that points to itself is none.
pub(super) fn circles(raw: &RawMapping, faults: &mut Faults) {
    let roots: Vec<(&TableName, Vec<&RawReference>)> = raw
        .collections
        .iter()
        .flat_map(|collection| &collection.tables)
        .filter_map(|table| {
            let mut found = Vec::new();
            references(table, &mut found);
            Some((table.name.value()?, found))
        })
        .collect();
    let edges = roots.iter().flat_map(|(name, found)| {
        let targets = found.iter().filter_map(|r| r.table.value());
        targets.map(|target| (*name, target))
    });
    let circles = tarjan_scc(&DiGraphMap::<&TableName, ()>::from_edges(edges));
    let together = |a, b| circles.iter().any(|c| c.contains(&a) && c.contains(&b));
    for (name, found) in &roots {
        for reference in found {
            let cascade = reference
                .on_delete
                .get()
                .filter(|s| s.value == OnDelete::Cascade);
            if let (Some(cascade), Some(target)) = (cascade, reference.table.value())
                && target != *name
                && together(target, *name)
            {
                let message = format!(
                    "`{name}` and `{target}` point to each other in a circle, where `cascade` cannot tell what goes first"
                );
                faults.add(&cascade.at, message);
            }
        }
    }
}

fn references<'r>(table: &'r RawTable, found: &mut Vec<&'r RawReference>) {
    found.extend(table.columns.iter().filter_map(|c| c.references.value()));
    for child in &table.children {
        references(child, found);
    }
}
