//! What the settling task will still change when everything is applied: rows that are held though
//! nothing points to them, and documents given up for a value that has become free. It looks at the
//! former twice a second, and at the latter every ten seconds.

use crate::finlit::{
    Collection,
    expected::tables::{Kind, Table, table},
};

/// The query that counts them. `$1`: since when everything is applied.
pub(super) fn count() -> String {
    let mut sum: Vec<_> = Collection::ALL
        .into_iter()
        .flat_map(|collection| {
            let table = table(collection);
            table.unique.iter().map(|columns| free(table, columns))
        })
        .collect();
    for parent in Collection::ALL {
        let mut nobody = String::new();
        for child in Collection::ALL.map(table) {
            for (column, to) in child.references().filter(|(_, to)| to.collection == parent) {
                debug_assert_eq!(to.collection, parent);
                nobody += &format!(
                    " and not exists (select 1 from \"{}\" c where c.\"{}\" = h.key and c.\"{}\" <> h.key)",
                    child.name,
                    column.name,
                    child.key()
                );
            }
        }
        sum.push(format!(
            "(select count(*) from (select encode(row_key, 'hex')::uuid as key from leafcutter.held \
             where table_name = '{}') h where true{nobody})",
            table(parent).name
        ));
    }
    format!("select {}", sum.join(" + "))
}

/// Counts the documents that were given up for a value of these columns that is free now, and were
/// not tried since `$1`.
fn free(table: &Table, columns: &[&str]) -> String {
    let value = columns.iter().map(|&name| {
        let column = table.columns.iter().find(|column| column.name == name);
        let is_text = column.is_some_and(|column| matches!(column.kind, Kind::Text { .. }));
        let send = if is_text { "textsend" } else { "uuid_send" };
        format!("int4send(octet_length({send}(x.\"{name}\"))) || {send}(x.\"{name}\")")
    });
    format!(
        "(select count(*) from leafcutter.parked p where p.reason = 'unique' and p.tried_at < $1 \
         and p.table_name = '{name}' and p.wait_column = '{first}' \
         and not exists (select 1 from \"{name}\" x where {value} = p.wait_key))",
        name = table.name,
        first = columns.first().unwrap_or(&""),
        value = value.collect::<Vec<_>>().join(" || "),
    )
}
