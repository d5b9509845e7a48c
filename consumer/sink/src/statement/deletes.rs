//! What is deleted: rows, the rows below them, and those that a document no longer has.

use super::{
    columns::{Names, among, deletes_table, leads_to_root, on_root},
    owner::{freed, update_deleted},
    places::{ByTarget, delete_at, each, each_place},
};
use crate::{
    ids::TableId,
    names::{qualified, quote},
};
use leafcutter_schemas::mapping::Table;
use std::collections::BTreeSet;

pub(super) fn delete_vanished(
    n: &Names<'_>,
    above: &[(&Table, TableId)],
    root: TableId,
) -> ByTarget {
    let (target, temp, root) = (&n.target, &n.temp, root.0);
    let by_keys = format!(
        "delete from {target} c using pg_temp.lc_{root} w where {same_root} \
         and not exists (select 1 from {temp} t where {same})",
        same_root = on_root(n.table, above, "c", "w"),
        same = n.same_key("t", "c"),
    );
    let places = format!(
        "select x.ctid as place from pg_temp.lc_{root} w {} \
         where not exists (select 1 from {temp} t where {same})",
        each_place(target, "x", &on_root(n.table, above, "x", "w")),
        same = n.same_key("t", "x"),
    );
    let by_places = leads_to_root(n.table, above).then(|| delete_at(&n.target, &places));
    ByTarget { by_keys, by_places }
}

/// The rows of a child table whose values of its further unique keys change, those below them first. No
/// order of updates serves where rows exchange such values, and a placeholder may break another
/// constraint; child rows are nobody's but their document's, and can be written anew.
pub(super) fn delete_changed(n: &Names<'_>, id: TableId) -> Vec<ByTarget> {
    let columns: BTreeSet<usize> = n.table.unique.iter().flatten().copied().collect();
    let changed: Vec<String> = columns
        .into_iter()
        .filter(|column| !n.table.key.contains(column))
        .map(|column| {
            let name = quote(&n.column(column).name);
            format!("c.{name} is distinct from t.{name}")
        })
        .collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let (target, temp, same) = (&n.target, &n.temp, n.same_key("c", "t"));
    let changed = changed.join(" or ");
    let mut below = Vec::new();
    chains(n.table, &mut vec![(n.table, id)], &mut below);
    let mut all: Vec<ByTarget> = below
        .iter()
        .rev()
        .map(|(table, above)| {
            let belongs = on_root(table, above, "x", "c");
            let name = qualified(&table.name);
            let by_keys = format!(
                "delete from {name} x using {target} c, {temp} t where {belongs} and {same} and ({changed})"
            );
            let places = format!(
                "select x.ctid as place from {temp} t {} {} where {changed}",
                each(target, "c", &same, ""),
                each_place(&name, "x", &belongs),
            );
            let by_places = leads_to_root(table, above).then(|| delete_at(&name, &places));
            ByTarget { by_keys, by_places }
        })
        .collect();
    let places = format!(
        "select c.ctid as place from {temp} t {} where {changed}",
        each_place(target, "c", &same),
    );
    all.push(ByTarget {
        by_keys: format!("delete from {target} c using {temp} t where {same} and ({changed})"),
        by_places: Some(delete_at(target, &places)),
    });
    all
}

/// The tables below one, parents first, each with those above it.
fn chains<'t>(
    table: &'t Table,
    above: &mut Vec<(&'t Table, TableId)>,
    found: &mut Vec<(&'t Table, Vec<(&'t Table, TableId)>)>,
) {
    for child in &table.children {
        found.push((child, above.clone()));
        above.push((child, above[0].1));
        chains(child, above, found);
        above.pop();
    }
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
                 (select 1 from {referrer} r where r.{column} = d.{key}{itself} offset 0)",
                deletes = n.deletes,
                referrer = qualified(&table.name),
                column = quote(&table.columns[*column].name),
            )
        })
        .collect()
}

/// The time of a delete is its cluster time's, whose seconds stand above 31 bits.
pub(super) fn soft_delete(n: &Names<'_>, column: usize) -> ByTarget {
    // Another document may take the row over.
    let document = if n.keeps_document {
        format!(", lc_document = {}", freed("d.lc_document"))
    } else {
        String::new()
    };
    let set = format!(
        "{} = to_timestamp((d.lc_version >> 31)::float8), lc_version = d.lc_version{document}",
        quote(&n.column(column).name),
    );
    update_deleted(n, &set, &among("d.lc_doc"))
}

pub(super) fn delete(n: &Names<'_>, above: &[(&Table, TableId)]) -> ByTarget {
    let (deletes, same) = match above.first() {
        None => (n.deletes.clone(), n.same_key("x", "d")),
        Some((_, root)) => (deletes_table(*root), on_root(n.table, above, "x", "d")),
    };
    let own = if above.is_empty() {
        n.own_to_delete("x", "d")
    } else {
        String::new()
    };
    let (target, among) = (&n.target, among("d.lc_doc"));
    let by_keys = format!("delete from {target} x using {deletes} d where {same} and {among}{own}");
    let places = format!(
        "select x.ctid as place from (select * from {deletes} d where {among}) d {}",
        each_place(target, "x", &format!("{same}{own}")),
    );
    let leads = above.is_empty() || leads_to_root(n.table, above);
    let by_places = leads.then(|| delete_at(&n.target, &places));
    ByTarget { by_keys, by_places }
}
