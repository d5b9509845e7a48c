//! The rows of a table whose documents the source does not have.
//!
//! Rows that Leafcutter never wrote have no version above zero, and are not looked at. Where rows say whose
//! they are, one that is free or says nothing is nobody's, and left alone.

use super::{
    columns::{Names, row_key_bytes},
    owner::is_free,
};
use crate::{guard::sql, state::swept::insert_gone};

/// Adds them to what is gone; none where the key does not tell the document.
pub(super) fn gone(n: &Names<'_>) -> Option<String> {
    if n.table.has_natural_key() {
        return None;
    }
    let own = own(n);
    let older = sql::is_older("x.lc_version", "$2");
    let written = format!("x.lc_version > 0 and {older}{own}");
    let row_key = row_key_bytes(n.table, "x");
    let target = &n.target;
    Some(if n.keeps_document {
        let from = format!(
            "{target} x where {written} and x.lc_document <> '' and not {}",
            is_free("x")
        );
        insert_gone(
            &format!("x.lc_document, {row_key}, x.lc_version"),
            &from,
            "x.lc_document",
        )
    } else {
        let from = format!("{target} x where {written}");
        insert_gone(
            &format!("{row_key}, null::bytea, x.lc_version"),
            &from,
            &row_key,
        )
    })
}

/// Counts the rows that Leafcutter has written.
pub(super) fn count_written(n: &Names<'_>) -> String {
    let own = own(n);
    format!(
        "select count(*) from {} x where x.lc_version > 0{own}",
        n.target
    )
}

/// Of several collections that fill the table, this one has written the row.
fn own(n: &Names<'_>) -> String {
    let source = n.source.as_ref();
    source.map_or_else(String::new, |source| format!(" and x.lc_source = {source}"))
}
