//! What would mend the rows, as SQL: for `--repair-sql`.
//!
//! The statements say what the rows have to be. They go past Leafcutter's guard, so they belong on a
//! target whose consumers are stopped; while they run, send the documents through the pipeline again.

use super::{
    case::id_text,
    difference::{Difference, Kind},
    expected::{cell::Cell, rows::Row},
    work::{Root, Work},
};
use bson::RawDocument;
use leafcutter_schemas::mapping::Table;
use leafcutter_sink::names::{literal, qualified, quote};
use std::{collections::BTreeSet, fmt::Write as _};

fn value(table: &Table, position: usize, cell: &Cell) -> String {
    let pg_type = table.columns[position].pg_type;
    match cell.text(Some(pg_type)) {
        None => "null".to_owned(),
        Some(text) if text.contains('\\') => {
            format!("E{}::{pg_type}", literal(&text.replace('\\', "\\\\")))
        }
        Some(text) => format!("{}::{pg_type}", literal(&text)),
    }
}

fn upsert(table: &Table, row: &Row) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| quote(&column.name))
        .collect();
    let values: Vec<String> = row
        .iter()
        .enumerate()
        .map(|(n, cell)| value(table, n, cell))
        .collect();
    let key: Vec<String> = table.key.iter().map(|&n| columns[n].clone()).collect();
    let others = (0..columns.len()).filter(|n| !table.key.contains(n));
    let sets: Vec<String> = others
        .map(|n| format!("{0} = excluded.{0}", columns[n]))
        .collect();
    let then = if sets.is_empty() {
        "nothing".to_owned()
    } else {
        format!("update set {}", sets.join(", "))
    };
    format!(
        "insert into {} ({}) values ({}) on conflict ({}) do {then};\n",
        qualified(&table.name),
        columns.join(", "),
        values.join(", "),
        key.join(", ")
    )
}

fn delete(table: &Table, columns: &[usize], cells: &[Cell]) -> String {
    let same = columns.iter().zip(cells).map(|(&position, cell)| {
        format!(
            "{} = {}",
            quote(&table.columns[position].name),
            value(table, position, cell)
        )
    });
    let same: Vec<String> = same.collect();
    format!(
        "delete from {} where {};\n",
        qualified(&table.name),
        same.join(" and ")
    )
}

/// The statements that make a document's rows as they should be.
pub fn document(work: &Work, document: &RawDocument, differences: &[Difference]) -> String {
    let mut sql = String::new();
    let id = id_text(document)
        .unwrap_or_default()
        .replace(['\n', '\r'], " ");
    writeln!(sql, "-- {} {id}", work.full_name()).unwrap_or_default();
    let Ok(rows) = work.plan.rows(document) else {
        sql.push_str(
            "-- it has to be a dead letter: `leafcutter resnapshot --ids` sends it again\n",
        );
        return sql;
    };
    let open = rows.tables.iter().flatten().flatten().any(Cell::is_open);
    if open
        || differences
            .iter()
            .any(|d| matches!(d.kind, Kind::Refused | Kind::NotRefused))
    {
        sql.push_str("-- only the pipeline can write it: `leafcutter resnapshot --ids`\n");
        return sql;
    }
    let tables: BTreeSet<&str> = differences.iter().map(|d| d.table.as_str()).collect();
    let differs = |table: usize| tables.contains(work.table(table).name.to_string().as_str());
    let missing = differences.iter().any(|d| d.kind == Kind::MissingRow);
    for root in &work.roots {
        let Some(root_row) = rows.tables[root.table].first() else {
            continue;
        };
        for table in work
            .plan
            .family(root.table)
            .filter(|&table| missing || differs(table))
        {
            let of = work.table(table);
            if table != root.table {
                let key: Vec<Cell> = of_root(work, root)
                    .iter()
                    .map(|&n| root_row[n].clone())
                    .collect();
                sql.push_str(&delete(of, &work.plan.tables[table].root_key, &key));
            }
            for row in &rows.tables[table] {
                sql.push_str(&upsert(of, row));
            }
        }
    }
    sql
}

fn of_root<'w>(work: &'w Work, root: &Root) -> &'w [usize] {
    &work.table(root.table).key
}

/// The statements that take a row away, with all below it.
pub fn row(work: &Work, root: &Root, key: &[Cell]) -> String {
    let mut sql = format!("-- {}: no document\n", work.full_name());
    let mut tables: Vec<usize> = work.plan.family(root.table).collect();
    tables.reverse();
    for table in tables {
        sql.push_str(&delete(
            work.table(table),
            &work.plan.tables[table].root_key,
            key,
        ));
    }
    sql
}
