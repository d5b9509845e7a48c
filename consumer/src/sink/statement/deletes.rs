//! What is deleted: rows, the rows below them, and those that a document no longer has.

use super::names::{Names, on_root, qualified, quote};
use crate::transform::TableId;
use leafcutter_schemas::mapping::Table;

pub(super) fn delete_vanished(n: &Names<'_>, above: &[(&Table, TableId)], root: TableId) -> String {
    format!(
        "delete from {target} c using pg_temp.lc_{root} w where {same_root} \
         and not exists (select 1 from {temp} t where {same})",
        target = n.target,
        root = root.0,
        same_root = on_root(n.table, above, "c", "w"),
        temp = n.temp,
        same = n.same_key("t", "c"),
    )
}

/// Rows that are deleted together with what they point to do not hold it.
pub(super) fn referenced_deletes(n: &Names<'_>, referrers: &[(&Table, usize)]) -> Vec<String> {
    let key = n
        .table
        .key
        .first()
        .map(|&p| quote(&n.column(p).name))
        .unwrap_or_default();
    referrers
        .iter()
        .map(|(table, column)| {
            let itself = if table.name == n.table.name {
                format!(
                    " and not exists (select 1 from {} e where {})",
                    n.deletes,
                    n.same_key("e", "r")
                )
            } else {
                String::new()
            };
            format!(
                "select d.lc_doc from {deletes} d where exists \
                 (select 1 from {referrer} r where r.{column} = d.{key}{itself})",
                deletes = n.deletes,
                referrer = qualified(&table.name),
                column = quote(&table.columns[*column].name),
            )
        })
        .collect()
}

/// The time of a delete is its cluster time's, whose seconds stand above 31 bits.
pub(super) fn soft_delete(n: &Names<'_>, column: usize) -> String {
    format!(
        "update {} x set {} = to_timestamp((d.lc_version >> 31)::float8), lc_version = d.lc_version \
         from {} d where {} and d.lc_doc = any($1){}",
        n.target,
        quote(&n.column(column).name),
        n.deletes,
        n.same_key("x", "d"),
        n.own("x"),
    )
}

pub(super) fn delete(n: &Names<'_>, above: &[(&Table, TableId)]) -> String {
    let (deletes, same) = match above.first() {
        None => (n.deletes.clone(), n.same_key("x", "d")),
        Some((_, root)) => (
            format!("pg_temp.lc_{}_deletes", root.0),
            on_root(n.table, above, "x", "d"),
        ),
    };
    format!(
        "delete from {} x using {deletes} d where {same} and d.lc_doc = any($1){}",
        n.target,
        n.own("x")
    )
}
