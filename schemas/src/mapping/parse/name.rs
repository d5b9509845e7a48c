//! What tables and columns are called where the file points to them.

use super::item::Item;
use crate::mapping::{
    TableName,
    fault::{Faults, Spotted},
    raw::Names,
};

/// Reads `table` or `schema.table`.
pub(super) fn table_name(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<TableName>> {
    let text = item.text("the name of a table", faults)?;
    let (schema, name) = text
        .value
        .split_once('.')
        .unwrap_or(("public", &text.value));
    if name.contains('.') {
        faults.add(
            &text.at,
            format!("`{}` has more than a schema and a table", text.value),
        );
        return None;
    }
    let value = TableName {
        schema: schema.to_owned(),
        name: name.to_owned(),
    };
    Some(Spotted { value, at: text.at })
}

/// A list of names.
pub(super) fn names(item: &Item<'_>, faults: &mut Faults) -> Option<Spotted<Names>> {
    let items = item.list("a list of column names", faults)?;
    let count = items.len();
    let value: Names = items
        .iter()
        .filter_map(|item| item.text("the name of a column", faults))
        .collect();
    if count == 0 {
        faults.add(&item.at(), "the list names no column");
    }
    (count > 0 && value.len() == count).then(|| Spotted {
        value,
        at: item.at(),
    })
}
