//! One table: its columns, its keys and indexes, and the tables below it.

use super::{
    built::{Built, Known, positions},
    column, elements, expression, generated, key, name, policy, reference, rest, same_key, values,
};
use crate::mapping::{
    Column, ColumnSource, Conversion, OnDelete, PgType, Policies, RowSource, SameKey, Table,
    TableName,
    condition::Filter,
    fault::{Faults, Spotted},
    raw::RawTable,
};

/// Judges a table and builds it; `above` is the parent of a child table.
pub(super) fn build(
    raw: &RawTable,
    above: Option<&Built>,
    targets: &reference::Targets<'_>,
    faults: &mut Faults,
) -> Built {
    let mut built = Built {
        table: Table {
            name: raw.name.value().cloned().unwrap_or_else(stand_in),
            columns: Vec::new(),
            key: Vec::new(),
            same_key: SameKey::default(),
            unique: Vec::new(),
            indexes: Vec::new(),
            rows: elements::rows(raw, above, faults),
            filter: filter(raw, above, faults),
            soft_delete: None,
            identity: None,
            children: Vec::new(),
        },
        known: Vec::new(),
        root_key: Vec::new(),
        complete: !raw.columns_missing,
    };
    for column in &raw.columns {
        let (column, known) = column::build(column, above, &built, faults);
        built.table.columns.push(column);
        built.known.push(known);
    }
    soft_delete(raw, &mut built, faults);
    generated::identity(raw, above.is_some(), &mut built, faults);
    key::resolve(raw, above, &mut built, faults);
    if above.is_none() {
        same_key::judge(raw, &mut built, faults);
    }
    generated::key(raw, above.is_some(), &mut built, faults);
    elements::judge(raw, &mut built, faults);
    for (position, column) in raw.columns.iter().enumerate() {
        values::judge(column, position, &mut built, faults);
        policy::judge(column, position, &mut built, faults);
        reference::judge(column, position, &mut built, targets, faults);
        reference::repeats(column, position, &built, above, faults);
    }
    rest::judge(raw, &built, faults);
    soft_stays(raw, &built, faults);
    indexes(raw, &mut built, faults);
    for child in &raw.children {
        let child = self::build(child, Some(&built), targets, faults);
        built.table.children.push(child.table);
    }
    built
}

fn stand_in() -> TableName {
    TableName {
        schema: String::new(),
        name: String::new(),
    }
}

/// Adds the column that says when a row's document was deleted.
fn soft_delete(raw: &RawTable, built: &mut Built, faults: &mut Faults) {
    let Some(name) = raw.soft_delete.get() else {
        return;
    };
    name::column(name, faults);
    if built.table.column(&name.value).is_some() {
        let message = format!(
            "`{}` stands among the columns, but its value is not of the document: leave it out there",
            name.value
        );
        faults.add(&name.at, message);
        return;
    }
    built.table.soft_delete = Some(built.table.columns.len());
    built.table.columns.push(Column {
        name: name.value.clone(),
        pg_type: PgType::Timestamptz,
        source: ColumnSource::Deleted,
        conversion: Conversion::Auto,
        required: false,
        default: None,
        values: None,
        invalid: Policies::default(),
        reference: None,
        generated: None,
    });
    built.known.push(Known {
        pg_type: Some(PgType::Timestamptz),
        source: true,
    });
}

/// A row that stays when its own document is deleted cannot go with another's.
fn soft_stays(raw: &RawTable, built: &Built, faults: &mut Faults) {
    if built.table.soft_delete.is_none() {
        return;
    }
    let references = raw.columns.iter().filter_map(|c| c.references.value());
    for on_delete in references.filter_map(|reference| reference.on_delete.get()) {
        if on_delete.value == OnDelete::Cascade {
            let message =
                "rows with a soft delete stay, so they cannot go with others: `hold` or `set-null`";
            faults.add(&on_delete.at, message);
        }
    }
}

fn filter(raw: &RawTable, above: Option<&Built>, faults: &mut Faults) -> Filter {
    let Some(Spotted { value, at }) = raw.filter.get() else {
        return Filter::default();
    };
    match value {
        Filter::Block(conditions) => {
            let whole = conditions.iter().any(|condition| condition.path.is_self());
            if above.is_none() && whole {
                faults.add(at, "a condition on the whole document, `.`, says nothing");
            }
        }
        Filter::Expression(text) => {
            let text = Spotted {
                value: text.clone(),
                at: at.clone(),
            };
            let read = expression::read(&text, faults);
            if read.is_some_and(|read| read.is_constant()) {
                let message = "a condition that names neither `doc` nor `id` says nothing";
                faults.add(at, message);
            }
        }
    }
    value.clone()
}

fn indexes(raw: &RawTable, built: &mut Built, faults: &mut Faults) {
    let mut unique = Vec::new();
    let mut plain = Vec::new();
    for (position, column) in raw.columns.iter().enumerate() {
        for (given, list) in [(&column.unique, &mut unique), (&column.index, &mut plain)] {
            if let Some(flag) = given.get().filter(|flag| flag.value) {
                list.push((vec![position], &flag.at));
            }
        }
    }
    for (lists, all) in [(&raw.unique, &mut unique), (&raw.indexes, &mut plain)] {
        for names in lists {
            all.extend(positions(&names.value, built, faults).map(|found| (found, &names.at)));
        }
    }
    let mut seen = vec![built.table.key.clone()];
    for (columns, at) in unique.iter().chain(&plain) {
        if seen.contains(columns) {
            faults.add(at, "these columns have a key or an index already");
        }
        key::comparable(columns, at, built, faults);
        seen.push(columns.clone());
    }
    built.table.unique = unique.into_iter().map(|(columns, _)| columns).collect();
    built.table.indexes = plain.into_iter().map(|(columns, _)| columns).collect();
    // Parents are looked up by their children whenever they are deleted.
    for (position, column) in built.table.columns.iter().enumerate() {
        let begins = |columns: &Vec<usize>| columns.first() == Some(&position);
        let lists = [&built.table.unique, &built.table.indexes];
        let has = begins(&built.table.key) || lists.into_iter().flatten().any(begins);
        if column.reference.is_some() && !has {
            built.table.indexes.push(vec![position]);
        }
    }
    // So are a document's rows, whose key may begin with something else.
    let root_key = &built.root_key;
    let finds = |columns: &Vec<usize>| {
        let first = columns.get(..root_key.len());
        first.is_some_and(|first| root_key.iter().all(|column| first.contains(column)))
    };
    let lists = [&built.table.unique, &built.table.indexes];
    let found = finds(&built.table.key) || lists.into_iter().flatten().any(finds);
    if built.table.rows != RowSource::Document && !found {
        built.table.indexes.push(root_key.clone());
    }
}
