//! Columns: those of the mapping, Leafcutter's own, and the others.

use super::disagreement::{Disagreement, Kind, alter};
use crate::{
    model::TableModel,
    names::{qualified, quote},
    target::{
        catalogue::{Filler, FoundColumn, FoundTable},
        ddl, numbers,
        types::{Fit, fit},
    },
};
use leafcutter_schemas::mapping::{Column, ColumnSource, PgType, Table};

/// The columns that the mapping fills, and the one that PostgreSQL numbers for it.
pub(super) fn mapped(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    let table = &*entry.table;
    for (position, column) in table.columns.iter().enumerate() {
        let Some(there) = found.column(&column.name) else {
            all.push(missing(table, column, found.filled));
            continue;
        };
        all.extend(of_type(table, position, there));
        all.extend(folding_key(table, position, there));
        all.extend(not_writable(table, column, there));
        all.extend(nullability(table, position, there));
        all.extend(unnumbered(table, column, there));
    }
    let Some(identity) = &table.identity else {
        return;
    };
    let name = quote(&identity.name);
    let numbers = numbers::generated(identity.start);
    match found.column(&identity.name) {
        None => {
            let definition = format!("add column {name} {}{numbers} unique", identity.pg_type);
            let means = "rows are not numbered";
            let kind = Kind::MissingColumn;
            let lacks = Disagreement::new(kind, &table.name, &[&identity.name], means)
                .says(format!("{}{numbers}", identity.pg_type), "no column")
                .mended_by(alter(&table.name, &definition))
                .created(true);
            all.push(lacks);
        }
        Some(there) if there.filler == Filler::Nothing => {
            let means = "rows are not numbered";
            let numbered =
                Disagreement::new(Kind::Unnumbered, &table.name, &[&identity.name], means)
                    .says("generated", "nothing gives it a number")
                    .mended_by(alter(
                        &table.name,
                        &format!("alter column {name} set not null"),
                    ))
                    .mended_by(alter(
                        &table.name,
                        &format!("alter column {name} add{numbers}"),
                    ));
            all.push(numbered);
        }
        Some(_) => {}
    }
}

/// The version of a row, and whose it is.
pub(super) fn own(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    for definition in ddl::own_columns(entry) {
        let Some((name, rest)) = definition.split_once(' ') else {
            continue;
        };
        let table = &entry.table.name;
        let wanted = match name {
            "lc_version" => "int8",
            "lc_document" => "bytea",
            _ => "text",
        };
        match found.column(name) {
            None => {
                let means = "Leafcutter keeps there what decides which rows are newer";
                let lacks = Disagreement::new(Kind::MissingColumn, table, &[name], means)
                    .says(rest, "no column")
                    .mended_by(alter(table, &format!("add column {definition}")))
                    .created(true);
                all.push(lacks);
            }
            Some(there) if there.pg_type.name != wanted || !there.required => {
                let means = "it is Leafcutter's own, and decides which rows are newer";
                let null = if there.required { "" } else { ", takes null" };
                let none = if wanted == "int8" { "0" } else { "''" };
                let of_type = if there.pg_type.name == wanted {
                    let target = qualified(table);
                    format!("update {target} set {name} = {none} where {name} is null")
                } else {
                    let (to, column) = (rest.split(' ').next().unwrap_or(rest), name);
                    let no_default = format!("alter column {column} drop default");
                    let of_type = format!("alter column {column} type {to} using {none}");
                    alter(table, &format!("{no_default}, {of_type}"))
                };
                let strict = format!("alter column {name} set default {none}");
                let strict = format!("{strict}, alter column {name} set not null");
                let other = Disagreement::new(Kind::Type, table, &[name], means)
                    .says(rest, format!("{}{null}", there.pg_type.shown))
                    .mended_by(of_type)
                    .mended_by(alter(table, &strict));
                all.push(other);
            }
            Some(_) => {}
        }
    }
}

/// Columns of which the mapping does not know.
pub(super) fn others(entry: &TableModel, found: &FoundTable, all: &mut Vec<Disagreement>) {
    let table = &*entry.table;
    let name = &table.name;
    let identity = table.identity.as_ref().map(|identity| &*identity.name);
    for column in &found.columns {
        let known = table.column(&column.name).is_some()
            || identity == Some(&column.name)
            || column.name.starts_with("lc_");
        if known || !column.required || column.filler != Filler::Nothing {
            continue;
        }
        let quoted = quote(&column.name);
        let means = "every new row is refused, since nothing gives it a value";
        let unfilled = Disagreement::new(Kind::Unfilled, name, &[&column.name], means)
            .says(
                "no column",
                format!("{} not null, without a default", column.pg_type.shown),
            )
            .or("a column of that name in the mapping");
        let mut primary = found.indexes.iter().filter(|index| index.primary);
        let in_key = primary.any(|index| index.columns.contains(&column.name));
        let fills = match column.pg_type.name.as_str() {
            _ if !in_key => Some("drop not null"),
            "int2" | "int4" | "int8" => Some("add generated by default as identity"),
            "uuid" => Some("set default gen_random_uuid()"),
            _ => None,
        };
        all.push(match fills {
            Some(fills) => {
                unfilled.mended_by(alter(name, &format!("alter column {quoted} {fills}")))
            }
            None => unfilled.or("a default, or a column of that name in the mapping"),
        });
    }
}

fn missing(table: &Table, column: &Column, filled: bool) -> Disagreement {
    let means = "nothing can be written to the table";
    let definition = ddl::column_definition(column);
    let wanted = definition.trim_start_matches(&quote(&column.name)).trim();
    let added = ddl::added_definition(column, filled);
    Disagreement::new(Kind::MissingColumn, &table.name, &[&column.name], means)
        .says(wanted, "no column")
        .mended_by(alter(&table.name, &format!("add column {added}")))
        .created(true)
}

fn of_type(table: &Table, position: usize, there: &FoundColumn) -> Option<Disagreement> {
    let column = &table.columns[position];
    let key = table.key.contains(&position);
    let (kind, means) = match fit(column.pg_type, &there.pg_type, key) {
        Fit::Same => return None,
        Fit::Not if key => (
            Kind::Type,
            "a key is not what it was once it is written, or cannot be written or compared",
        ),
        Fit::Not => (Kind::Type, "what is written does not fit its type"),
        Fit::Wider => (
            Kind::OtherType,
            "it takes all values, and is written more slowly",
        ),
        Fit::Refuses => (
            Kind::OtherType,
            "values that do not fit go to the dead letters",
        ),
        Fit::Changes => (
            Kind::OtherType,
            "values lose what it does not keep, and their rows are written anew each time",
        ),
    };
    let quoted = quote(&column.name);
    let to = column.pg_type;
    let through = match (kind, to) {
        (Kind::Type, PgType::Text) => format!(" using {quoted}::text"),
        (Kind::Type, _) => format!(" using {quoted}::text::{to}"),
        _ => String::new(),
    };
    let name = &table.name;
    let differs = Disagreement::new(kind, name, &[&column.name], means)
        .says(to.to_string(), there.pg_type.shown.clone())
        .mended_by(alter(
            name,
            &format!("alter column {quoted} type {to}{through}"),
        ));
    Some(differs.or("that type in the mapping, where it has such a type"))
}

/// A key whose collation finds keys equal that are two: a row of one document would be another's.
fn folding_key(table: &Table, position: usize, there: &FoundColumn) -> Option<Disagreement> {
    let column = &table.columns[position];
    let collation = there.folding.as_ref()?;
    if !table.key.contains(&position) {
        return None;
    }
    let means = "keys that differ are one row";
    let folds = Disagreement::new(Kind::Type, &table.name, &[&column.name], means)
        .says(
            column.pg_type.to_string(),
            format!("collation {collation}, which is not deterministic"),
        )
        .mended_by(alter(
            &table.name,
            &format!(
                "alter column {} type {} collate \"default\"",
                quote(&column.name),
                there.pg_type.shown
            ),
        ));
    Some(folds.or("another column as the key"))
}

fn not_writable(table: &Table, column: &Column, there: &FoundColumn) -> Option<Disagreement> {
    let name = &table.name;
    let quoted = quote(&column.name);
    let (has, what) = match there.filler {
        Filler::Computed => ("generated always as (…) stored", "drop expression"),
        Filler::AlwaysNumbered => ("generated always as identity", "set generated by default"),
        Filler::Nothing | Filler::Default | Filler::Numbered => return None,
    };
    let means = "PostgreSQL computes it, and refuses rows that bring a value";
    let refuses = Disagreement::new(Kind::NotWritable, name, &[&column.name], means)
        .says("a value of the document", has)
        .mended_by(alter(name, &format!("alter column {quoted} {what}")))
        .or("no such column in the mapping");
    Some(refuses)
}

fn nullability(table: &Table, position: usize, there: &FoundColumn) -> Option<Disagreement> {
    let column = &table.columns[position];
    if table.key.contains(&position) || column.required == there.required {
        return None;
    }
    let name = &table.name;
    let quoted = quote(&column.name);
    let differs = |kind, means| Disagreement::new(kind, name, &[&column.name], means);
    if column.required {
        let means = "Leafcutter writes no null, but the table takes one from others";
        let strict = differs(Kind::Nullability, means)
            .says("required", "takes null")
            .mended_by(alter(name, &format!("alter column {quoted} set not null")));
        return Some(strict.or("no `required` in the mapping"));
    }
    let (kind, means) = match &column.source {
        ColumnSource::Path(_)
        | ColumnSource::FirstOf(_)
        | ColumnSource::Rest
        | ColumnSource::Expression { .. } => (
            Kind::Nullability,
            "a document without a value goes to the dead letters",
        ),
        // Each row that is not deleted has none.
        ColumnSource::Deleted => (
            Kind::NotWritable,
            "it is null in every row that is not deleted",
        ),
        // These always have a value, or their parent's.
        ColumnSource::Parent(_)
        | ColumnSource::Position
        | ColumnSource::MapKey
        | ColumnSource::Set
        | ColumnSource::Derived(_)
        | ColumnSource::Constant(_) => return None,
    };
    let lax = differs(kind, means)
        .says("may be null", "not null")
        .mended_by(alter(name, &format!("alter column {quoted} drop not null")));
    Some(if kind == Kind::Nullability {
        lax.or("`required: true` in the mapping")
    } else {
        lax
    })
}

/// A key of which documents without a value get a number.
fn unnumbered(table: &Table, column: &Column, there: &FoundColumn) -> Option<Disagreement> {
    let start = column.generated?;
    if there.sequence {
        return None;
    }
    let numbers = numbers::generated(start);
    let quoted = quote(&column.name);
    let means = "documents without a value get no number";
    let lacks = Disagreement::new(Kind::Unnumbered, &table.name, &[&column.name], means)
        .says("generated", "no sequence of its own")
        .mended_by(alter(
            &table.name,
            &format!("alter column {quoted} add{numbers}"),
        ));
    // What has a default keeps it.
    Some(lacks.created(there.filler == Filler::Nothing))
}
