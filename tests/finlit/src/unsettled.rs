//! What the settling task will still change when everything is applied: rows that are held though
//! nothing points to them, documents that wait for a row that is there, and documents given up for a value
//! that has become free; and the constraints that are to be added. It looks at the first two once a second, and at the last every ten seconds.

use crate::{
    Collection,
    expected::tables::{Kind, Table, table},
};

/// The query that counts them. `$1`: since when everything is applied.
pub fn count() -> String {
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
            "(select count(*) from leafcutter.parked p join \"{name}\" x \
             on x.\"{key}\" = encode(p.wait_key, 'hex')::uuid where p.reason = 'parent' \
             and p.state <> 'refused' and p.wait_table = '{name}')",
            name = table(parent).name,
            key = table(parent).key()
        ));
        sum.push(format!(
            "(select count(*) from (select encode(row_key, 'hex')::uuid as key from leafcutter.held \
             where table_name = '{}') h where true{nobody})",
            table(parent).name
        ));
    }
    // Until then deleted rows are held, whatever points to them.
    sum.push("(select count(*) from leafcutter.deferred_constraints)".to_owned());
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
