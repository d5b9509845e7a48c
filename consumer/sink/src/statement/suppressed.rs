//! What the target swallows: a trigger that returns null, a rule, a policy for rows. No error tells of it, so
//! these statements tell what should have been written, or be gone, and is not.

use super::columns::{Names, among, deletes_table, each_below, on_root};
use crate::{
    guard::sql,
    ids::TableId,
    names::{list, quote},
};
use leafcutter_schemas::mapping::Table;

/// The upsert, which returns `lc_doc` of the rows that it did not write. All parts of one statement see the
/// same: of a child table, what differed before it.
pub(super) fn upsert_seen(n: &Names<'_>, upsert: &str, is_root: bool) -> String {
    let key = n.table.key.iter().map(|&c| quote(&n.column(c).name));
    let key: Vec<String> = key.collect();
    let returned = list(key.iter().map(|column| format!("x.{column}")));
    let same = n.same_key("w", "t");
    if is_root {
        // A trigger that returns the old row has written nothing.
        let same_version = sql::is_same("w.lc_version", "t.lc_version");
        return format!(
            "with w as ({upsert} returning {returned}, x.lc_version) select t.lc_doc from {} t \
             where not exists (select 1 from w where {same} and {same_version})",
            n.temp
        );
    }
    let first = key.first().cloned().unwrap_or_default();
    format!(
        "with w as ({upsert} returning {returned}) select distinct t.lc_doc from {temp} t \
         left join lateral (select x.* from {target} x where {there} offset 0) x on true where (x.{first} is null or {differs}) \
         and not exists (select 1 from w where {same})",
        temp = n.temp,
        target = n.target,
        there = n.same_key("x", "t"),
        differs = n.differs("t", "x"),
    )
}

/// Of a child table: returns `lc_doc` of the written documents that no longer have some of its rows.
pub(super) fn vanished_left(n: &Names<'_>, above: &[(&Table, TableId)], root: TableId) -> String {
    let same_root = on_root(n.table, above, "c", "w");
    format!(
        "select distinct w.lc_doc from pg_temp.lc_{root} w {rows} \
         where not exists (select 1 from {temp} t where {same})",
        root = root.0,
        rows = each_below((&n.target, n.table), above, "c", &same_root),
        temp = n.temp,
        same = n.same_key("t", "c"),
    )
}

/// Returns those of the documents in `$1` of which rows are left in the table.
pub(super) fn delete_left(n: &Names<'_>, above: &[(&Table, TableId)]) -> String {
    let (deletes, rows) = match above.first() {
        None => {
            let own = n.own_to_delete("x", "d");
            (n.deletes.clone(), n.each_by_key("d", &own, ""))
        }
        Some((_, root)) => {
            let same = on_root(n.table, above, "x", "d");
            let rows = each_below((&n.target, n.table), above, "x", &same);
            (deletes_table(*root), rows)
        }
    };
    let among = among("d.lc_doc");
    format!("select distinct d.lc_doc from (select * from {deletes} d where {among}) d {rows}")
}
