//! The guard, twice: what is stale or the same is taken out of the batch, and whatever changed since is
//! not overwritten by the statement that writes.

use super::{columns::Names, owner::is_free};
use crate::{guard::sql, names::quote};

pub(super) fn classify(n: &Names<'_>) -> String {
    let unchanged = format!(
        "({} and not ({}{}))",
        sql::is_same("x.lc_version", "t.lc_version"),
        n.differs("t", "x"),
        claims(n, "t"),
    );
    // What became another's since it was looked for is found by the statement that writes.
    let from = format!(
        "from {} t {}",
        n.temp,
        n.each_by_key("t", &n.own("x", "t"), "")
    );
    if n.table.has_natural_key() {
        return format!("select t.lc_doc, false {from} where {unchanged}");
    }
    let mut stale = sql::is_stale("x.lc_version", "t.lc_version");
    if n.keeps_document {
        stale = format!("({stale} and not {})", is_free("x"));
    }
    format!("select t.lc_doc, {stale} {from} where {stale} or {unchanged}")
}

/// Or the row does not say yet that it is this document's.
fn claims(n: &Names<'_>, incoming: &str) -> String {
    if n.keeps_document {
        format!(" or x.lc_document <> {incoming}.lc_document")
    } else {
        String::new()
    }
}

pub(super) fn lock_same(n: &Names<'_>) -> String {
    let is_same = sql::is_same("x.lc_version", "t.lc_version");
    let and = format!(" and {is_same}{}", n.own("x", "t"));
    format!(
        "select t.lc_doc from (select * from {} order by {}) t {}",
        n.temp,
        n.key_list(""),
        n.each_by_key("t", &and, "for no key update")
    )
}

pub(super) fn upsert(n: &Names<'_>, all: &str, version: &str, key: &str) -> String {
    let mut sets: Vec<_> = n
        .table
        .columns
        .iter()
        .enumerate()
        .filter(|(position, _)| n.is_compared(*position))
        .map(|(_, column)| format!("{0} = excluded.{0}", quote(&column.name)))
        .collect();
    if !version.is_empty() {
        sets.push("lc_version = excluded.lc_version".to_owned());
    }
    let document = n.document_column();
    if n.keeps_document {
        sets.push("lc_document = excluded.lc_document".to_owned());
    }
    let (source, value) = match &n.source {
        Some(value) => {
            sets.push("lc_source = excluded.lc_source".to_owned());
            (", lc_source", format!(", {value}"))
        }
        None => ("", String::new()),
    };
    let insert = format!(
        "insert into {target} as x ({all}{version}{document}{source}) \
         select {all}{version}{document}{value} from {temp} order by {key} \
         on conflict ({key})",
        target = n.target,
        temp = n.temp,
    );
    if sets.is_empty() {
        return format!("{insert} do nothing");
    }
    let (stored, incoming) = ("x.lc_version", "excluded.lc_version");
    let differs = n.would_change();
    let free = if n.keeps_document {
        format!(" or {}", is_free("x"))
    } else {
        String::new()
    };
    let guard = if version.is_empty() {
        differs
    } else if n.table.has_natural_key() {
        format!("{} or {differs}", sql::differs(stored, incoming))
    } else {
        format!(
            "({} or ({} and ({differs}{claims})){free}){}",
            sql::is_older(stored, incoming),
            sql::is_same(stored, incoming),
            n.own("x", "excluded"),
            claims = claims(n, "excluded"),
        )
    };
    format!("{insert} do update set {} where {guard}", sets.join(", "))
}
