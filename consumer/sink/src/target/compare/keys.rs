//! Keys, indexes and foreign keys.

use super::disagreement::{Disagreement, Kind, alter};
use crate::{
    model::{Model, TableModel},
    names::{qualified, quote},
    target::{
        catalogue::{FoundForeignKey, FoundIndex, FoundTable},
        ddl::{self, ForeignKey},
    },
};
use leafcutter_schemas::mapping::{OnMissing, RowSource, Table, TableName};

fn names<'t>(table: &'t Table, columns: &[usize]) -> Vec<&'t str> {
    let name = |&column: &usize| table.columns[column].name.as_str();
    columns.iter().map(name).collect()
}

fn listed(columns: &[&str]) -> String {
    let quoted: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    quoted.join(", ")
}

/// The keys that a table has, in words.
fn keys_of(found: &FoundTable) -> String {
    let words = found
        .indexes
        .iter()
        .filter(|index| index.unique)
        .map(|index| {
            let columns = index.columns.join(", ");
            let but = match index {
                _ if !index.valid => " (not valid)",
                _ if !index.immediate => " (deferrable)",
                _ if index.partial => " (partial)",
                _ if !index.is_key() => " (of an expression)",
                _ => "",
            };
            if index.primary {
                format!("primary key ({columns}){but}")
            } else {
                format!("unique ({columns}){but}")
            }
        });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "no unique key".to_owned()
    } else {
        words.join(", ")
    }
}

/// By its key a row is written or replaced.
pub(super) fn key(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    let table = &*entry.table;
    let key = names(table, &table.key);
    // `on conflict` refuses one that is looked at later, whatever stands beside it.
    let mut late = found.indexes.iter().filter(|index| !index.immediate);
    let late = late.find(|index| index.is_of(&key));
    if found.unique_on(&key) && late.is_none() {
        return;
    }
    let means = "no row can be replaced, since nothing keeps one row for each key";
    let mut lacks = Disagreement::new(Kind::MissingKey, &table.name, &key, means)
        .says(format!("key ({})", key.join(", ")), keys_of(found));
    if let Some(constraint) = late.and_then(|index| index.constraint.as_deref()) {
        let drop = format!("drop constraint {}", quote(constraint));
        lacks = lacks.mended_by(alter(&table.name, &drop));
    }
    if found.unique_on(&key) {
        all.push(lacks);
        return;
    }
    let primary = late.map_or_else(
        || !found.indexes.iter().any(|index| index.primary),
        |late| late.primary,
    );
    all.push(unique_key(table, &key, found, lacks, primary));
}

/// Adds the statement that makes a unique key, where there can be one.
fn unique_key(
    table: &Table,
    columns: &[&str],
    found: &FoundTable,
    lacks: Disagreement,
    primary: bool,
) -> Disagreement {
    let divided = found.divided_by.iter().flatten();
    let mut outside = divided.filter(|by| !columns.contains(&by.as_str()));
    if let Some(by) = outside.next() {
        let by = if by.is_empty() { "an expression" } else { by };
        return lacks.or(format!(
            "the table is divided by {by}, which every unique key of it has to hold: name it there \
             in the mapping, or write to a table that is not divided"
        ));
    }
    let sql = if primary {
        alter(
            &table.name,
            &format!("add primary key ({})", listed(columns)),
        )
    } else {
        let target = qualified(&table.name);
        format!("create unique index on {target} ({})", listed(columns))
    };
    lacks.mended_by(sql)
}

/// Further unique keys, on either side.
pub(super) fn unique(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    let table = &*entry.table;
    for columns in &table.unique {
        let columns = names(table, columns);
        if found.unique_on(&columns) {
            continue;
        }
        let means = "two documents that come at one time can both be written";
        let lacks = Disagreement::new(Kind::MissingUnique, &table.name, &columns, means)
            .says(format!("unique ({})", columns.join(", ")), keys_of(found));
        let divided = found.divided_by.is_some();
        all.push(unique_key(table, &columns, found, lacks, false).created(!divided));
    }
    for index in found.indexes.iter().filter(|index| index.unique) {
        if is_known(table, index) {
            continue;
        }
        let plain: Vec<&str> = index.columns.iter().map(String::as_str).collect();
        let means = "a document whose value is taken goes to the dead letters instead of waiting";
        let unknown = Disagreement::new(Kind::UnknownUnique, &table.name, &plain, means)
            .says("nothing", index.definition.clone());
        let unknown = unknown.mended_by(match &index.constraint {
            Some(constraint) => alter(
                &table.name,
                &format!("drop constraint {}", quote(constraint)),
            ),
            None => format!(
                "drop index {}.{}",
                quote(&table.name.schema),
                quote(&index.name)
            ),
        });
        all.push(if index.is_key() {
            unknown.or(format!("`unique: [[{}]]` in the mapping", plain.join(", ")))
        } else {
            unknown
        });
    }
}

/// Whether the mapping says the same, or nothing that it writes can be in the way.
fn is_known(table: &Table, index: &FoundIndex) -> bool {
    let key = names(table, &table.key);
    let holds = |columns: &[&str]| {
        columns
            .iter()
            .all(|c| index.columns.iter().any(|own| own == c))
    };
    let written = index
        .columns
        .iter()
        .any(|column| column.is_empty() || table.column(column).is_some());
    let mut declared = table.unique.iter().map(|columns| names(table, columns));
    // What holds the key, or a unique key, can only be equal where that is.
    holds(&key) || !written || declared.any(|columns| holds(&columns))
}

/// The indexes by which parents find their children, and others of the mapping.
pub(super) fn indexes(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    let table = &*entry.table;
    for columns in &table.indexes {
        let names = names(table, columns);
        if found.index_on(&names) {
            continue;
        }
        let refers = columns
            .first()
            .is_some_and(|&c| table.columns[c].reference.is_some());
        let means = if refers && columns.len() == 1 {
            "each delete of a row that it points to reads the whole table"
        } else if table.rows != RowSource::Document {
            "each change of a document may read the whole table"
        } else {
            "what looks for these columns reads the whole table"
        };
        let target = qualified(&table.name);
        let lacks = Disagreement::new(Kind::MissingIndex, &table.name, &names, means)
            .says(
                format!("an index on ({})", names.join(", ")),
                "none that begins with it",
            )
            .mended_by(format!("create index on {target} ({})", listed(&names)))
            .created(true);
        all.push(lacks);
    }
}

/// Foreign keys, on either side.
pub(super) fn foreign(
    model: &Model,
    entry: &TableModel,
    found: &FoundTable,
    all: &mut Vec<Disagreement>,
) {
    let table = &*entry.table;
    let wanted = ddl::foreign_keys(model, entry);
    for key in &wanted {
        let pairs = key.pairs();
        if found.foreign_key_to(&pairs, &key.parent) {
            continue;
        }
        let own: Vec<&str> = pairs.iter().map(|(own, _)| *own).collect();
        let means = "others can write rows whose parent is not there, or take it away";
        let lacks = Disagreement::new(Kind::MissingForeignKey, &table.name, &own, means)
            .says(format!("points to {}", key.parent), "no foreign key")
            .mended_by(alter(&table.name, &format!("add {}", key.definition())))
            .created(true);
        all.push(lacks);
    }
    for key in &found.foreign_keys {
        let known = wanted
            .iter()
            .any(|w: &ForeignKey| key.is_of(&w.pairs(), &w.parent));
        if known {
            all.extend(deferred(table, key));
        } else if key.pairs.iter().any(|(own, _)| table.column(own).is_some()) {
            all.push(unknown(table, key));
        }
    }
    let ours = |name: &TableName| model.tables.iter().any(|entry| entry.table.name == *name);
    for key in &found.referrers {
        if !ours(&key.of) && !key.gives_way {
            all.push(pointed_to(table, key));
        }
    }
}

fn told(key: &FoundForeignKey) -> String {
    format!("foreign key `{}` to {}", key.name, key.to)
}

fn own_columns(key: &FoundForeignKey) -> Vec<&str> {
    key.pairs.iter().map(|(own, _)| own.as_str()).collect()
}

fn deferred(table: &Table, key: &FoundForeignKey) -> Option<Disagreement> {
    let means = "a missing parent is only told when a whole batch ends, which is then divided";
    let late = Disagreement::new(
        Kind::DeferredForeignKey,
        &table.name,
        &own_columns(key),
        means,
    );
    let sql = format!("alter constraint {} not deferrable", quote(&key.name));
    let late = late.says(
        "a parent before its children",
        format!("{}, initially deferred", told(key)),
    );
    key.deferred
        .then(|| late.mended_by(alter(&table.name, &sql)))
}

fn unknown(table: &Table, key: &FoundForeignKey) -> Disagreement {
    let own = own_columns(key);
    let kept = own.iter().any(|name| {
        let column = table.column(name).map(|position| &table.columns[position]);
        let reference = column.and_then(|column| column.reference.as_ref());
        reference.is_some_and(|reference| reference.on_missing == OnMissing::Keep)
    });
    let means = "a row whose parent is not there goes to the dead letters instead of waiting";
    let sql = format!("drop constraint {}", quote(&key.name));
    let says = if kept {
        "written without a parent, too (`on_missing: keep`)"
    } else {
        "no reference"
    };
    let unknown = Disagreement::new(Kind::UnknownForeignKey, &table.name, &own, means)
        .says(says, told(key))
        .mended_by(alter(&table.name, &sql));
    if kept {
        unknown.or("another `on_missing` in the mapping")
    } else {
        unknown.or(format!(
            "`references: {{ table: {} }}` in the mapping",
            key.to
        ))
    }
}

fn pointed_to(table: &Table, key: &FoundForeignKey) -> Disagreement {
    let others: Vec<&str> = key.pairs.iter().map(|(_, other)| other.as_str()).collect();
    let means = "a delete of a row that it points to goes to the dead letters";
    let sql = format!("drop constraint {}", quote(&key.name));
    Disagreement::new(Kind::UnknownForeignKey, &table.name, &others, means)
        .says(
            "no such table",
            format!("foreign key `{}` of {}", key.name, key.of),
        )
        .mended_by(alter(&key.of, &sql))
        .or("that foreign key with `on delete cascade` or `on delete set null`")
}
