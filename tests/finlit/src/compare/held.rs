//! Rows without a document: held, or extra.

use super::{
    report::{Finding, Report, Wrong},
    state::State,
    target::Rows,
};
use crate::{
    Collection,
    expected::tables::{Table, table},
};
use leafcutter_harness::failure::{Attempt, Result};
use std::collections::BTreeSet;
use tokio_postgres::Transaction;
use uuid::Uuid;

/// Checks what is left of a collection's rows when every document has taken its own.
pub(super) async fn check(
    view: &Transaction<'_>,
    collection: Collection,
    left: Rows,
    state: &State,
    report: &mut Report,
) -> Result<()> {
    let table = table(collection);
    let mut add = |wrong, id: String, detail: &str| {
        report.add(Finding {
            wrong,
            collection,
            id,
            detail: detail.to_owned(),
        });
    };
    let held: BTreeSet<Uuid> = state.held(table.name).collect();
    for key in left.root.keys().filter(|key| !held.contains(key)) {
        add(
            Wrong::Extra,
            format!("row {key}"),
            "no document has this key, and it is not held",
        );
    }
    for (child, rows) in &left.children {
        for key in rows.keys().filter(|key| !left.root.contains_key(key)) {
            add(
                Wrong::Extra,
                format!("row {key}"),
                &format!("rows of `{child}` without a parent"),
            );
        }
    }
    for key in &held {
        if !left.root.contains_key(key) {
            add(
                Wrong::Held,
                format!("row {key}"),
                "held, and it is not there",
            );
        } else if !is_referenced(view, table, collection, *key).await? {
            add(
                Wrong::Held,
                format!("row {key}"),
                "held, and no row points to it any more",
            );
        }
    }
    report.tally(collection).held = u64::try_from(held.len())?;
    Ok(())
}

async fn is_referenced(
    view: &Transaction<'_>,
    table: &Table,
    collection: Collection,
    key: Uuid,
) -> Result<bool> {
    let mut conditions = Vec::new();
    for from in Collection::ALL {
        let from = crate::expected::tables::table(from);
        for (column, parent) in from
            .references()
            .filter(|(_, p)| p.collection == collection)
        {
            debug_assert_eq!(parent.collection.name(), table.name);
            // A row's reference to itself keeps nothing.
            conditions.push(format!(
                "exists (select 1 from \"{}\" where \"{}\" = $1::text::uuid and \"{}\" <> $1::text::uuid)",
                from.name,
                column.name,
                from.key()
            ));
        }
    }
    if conditions.is_empty() {
        return Ok(false);
    }
    let sql = format!("select {}", conditions.join(" or "));
    let row = view
        .query_one(&sql, &[&key.to_string()])
        .await
        .attempt("look for references")?;
    Ok(row.get(0))
}
