//! The guard, twice: what is stale or the same is taken out of the batch, and whatever changed since is
//! not overwritten by the statement that writes.

use super::names::{Names, quote};

pub(super) fn classify(n: &Names<'_>, tombstones: bool) -> String {
    let same_version = format!(
        "(x.lc_version = t.lc_version and not ({}))",
        n.differs("t", "x")
    );
    if n.table.has_natural_key() {
        return format!(
            "select t.lc_doc, false as stale from {} t join {} x on {} where {same_version}",
            n.temp,
            n.target,
            n.same_key("x", "t"),
        );
    }
    let (join, older, stale) = if tombstones {
        (
            format!(
                "left join leafcutter.tombstones s on s.table_name = {} and s.row_key = {}",
                n.literal,
                n.key_bytes("t")
            ),
            " or s.version > t.lc_version",
            " or coalesce(s.version > t.lc_version, false)",
        )
    } else {
        (String::new(), "", "")
    };
    format!(
        "select t.lc_doc, coalesce(x.lc_version > t.lc_version, false){stale} as stale \
         from {temp} t left join {target} x on {same} {join} \
         where x.lc_version > t.lc_version{older} \
         or {same_version}",
        temp = n.temp,
        target = n.target,
        same = n.same_key("x", "t"),
    )
}

pub(super) fn upsert(n: &Names<'_>, all: &str, version: &str, key: &str) -> String {
    let mut sets: Vec<_> = n
        .table
        .columns
        .iter()
        .enumerate()
        .filter(|(position, _)| !n.table.key.contains(position))
        .map(|(_, column)| format!("{0} = excluded.{0}", quote(&column.name)))
        .collect();
    if !version.is_empty() {
        sets.push("lc_version = excluded.lc_version".to_owned());
    }
    let (source, value) = match &n.source {
        Some(value) => {
            sets.push("lc_source = excluded.lc_source".to_owned());
            (", lc_source", format!(", {value}"))
        }
        None => ("", String::new()),
    };
    let insert = format!(
        "insert into {target} as x ({all}{version}{source}) \
         select {all}{version}{value} from {temp} order by {key} \
         on conflict ({key})",
        target = n.target,
        temp = n.temp,
    );
    if sets.is_empty() {
        return format!("{insert} do nothing");
    }
    let guard = if version.is_empty() {
        n.differs("x", "excluded")
    } else if n.table.has_natural_key() {
        format!(
            "x.lc_version <> excluded.lc_version or {}",
            n.differs("x", "excluded")
        )
    } else {
        format!(
            "(x.lc_version < excluded.lc_version or (x.lc_version = excluded.lc_version and ({}))){}",
            n.differs("x", "excluded"),
            n.own("x")
        )
    };
    format!("{insert} do update set {} where {guard}", sets.join(", "))
}
