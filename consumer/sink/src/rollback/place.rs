//! The tables of a rollback, and which of their rows are Leafcutter's.

use crate::{
    ids::{CollectionId, TableId},
    model::{Model, TableModel},
    names::{list, qualified, quote},
    session::Session,
    state::origins::{self, Found, Origin},
    target::{
        ddl::{child_key, tables},
        keeping::WRITTEN,
    },
};
use std::collections::BTreeMap;
use tokio_postgres::Error;

/// What says that a row is Leafcutter's.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    /// `lc_version`: zero is the application's.
    Version,
    /// `lc_written`.
    Written,
    /// The root row that it belongs to: what joins it to that row, as a condition on `x`.
    Root(String),
    /// No row is.
    Nobody,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number among the tables of this rollback.
    pub(super) n: usize,
    /// Its name as it has to be written.
    pub target: String,
    /// Its schema, quoted.
    pub(super) schema: String,
    /// Its name for people.
    pub shown: String,
    /// How it was found, as far as that is known.
    pub origin: Option<Origin>,
    mark: Mark,
    pub(super) key: Vec<String>,
}

impl Place {
    /// Whether a row `x` is Leafcutter's, as a condition.
    pub(super) fn ours(&self) -> String {
        match &self.mark {
            Mark::Version => "x.lc_version > 0".to_owned(),
            Mark::Written => format!("x.{WRITTEN}"),
            Mark::Root(condition) => condition.clone(),
            Mark::Nobody => "false".to_owned(),
        }
    }

    /// Whether two rows have the same key.
    pub(super) fn same_key(&self, left: &str, right: &str) -> String {
        let same = self.key.iter().map(|column| {
            let column = quote(column);
            format!("{left}.{column} = {right}.{column}")
        });
        let same: Vec<String> = same.collect();
        if same.is_empty() {
            "false".to_owned()
        } else {
            same.join(" and ")
        }
    }

    /// Whether no other row can have the same key.
    pub(super) fn is_keyless(&self, row: &str) -> String {
        if self.key.is_empty() {
            return "true".to_owned();
        }
        let columns = self
            .key
            .iter()
            .map(|column| format!("{row}.{}", quote(column)));
        format!("num_nulls({}) > 0", list(columns))
    }

    /// A row's key as text, for people.
    pub(super) fn shown_key(&self, row: &str) -> String {
        if self.key.is_empty() {
            return "''".to_owned();
        }
        let columns = self
            .key
            .iter()
            .map(|column| format!("{row}.{}", quote(column)));
        format!("concat_ws(', ', {})", list(columns))
    }

    /// The temporary table of rows that go.
    pub(super) fn doomed(&self) -> String {
        format!("pg_temp.lc_doomed_{}", self.n)
    }
}

/// The tables of these collections, or all of them, in the order of writing; those outside the mapping of which
/// something is kept come last, and only where everything is meant.
pub(super) async fn find(
    session: &mut Session,
    model: &Model,
    chosen: Option<&[CollectionId]>,
) -> Result<Vec<Place>, Error> {
    let mut origins = origins::all(session).await?;
    let all = tables(model);
    let own = own_columns(session, &all).await?;
    let mut places = Vec::new();
    for entry in all {
        let target = qualified(&entry.table.name);
        let origin = origins.remove(&target);
        let is_meant = chosen.is_none_or(|chosen| chosen.contains(&entry.collection));
        let Some(columns) = own.get(&target).filter(|_| is_meant) else {
            continue;
        };
        let has_version = |entry: &TableModel| {
            let columns = own.get(&qualified(&entry.table.name));
            columns.is_some_and(|columns| columns.iter().any(|name| name == "lc_version"))
        };
        let mark = if columns.iter().any(|name| name == WRITTEN) {
            Mark::Written
        } else if let Some(&root) = entry.above.first() {
            if has_version(model.table(root)) {
                Mark::Root(below(model, entry))
            } else {
                Mark::Nobody
            }
        } else if has_version(entry) {
            Mark::Version
        } else {
            Mark::Nobody
        };
        let key = entry.table.key.iter();
        places.push(Place {
            n: places.len(),
            target,
            schema: quote(&entry.table.name.schema),
            shown: entry.table.name.to_string(),
            origin,
            mark,
            key: key
                .map(|&place| entry.table.columns[place].name.clone())
                .collect(),
        });
    }
    let outside = origins.into_iter();
    let outside = outside.filter(|(_, origin)| chosen.is_none() && origin.found == Found::Outside);
    for (target, origin) in outside {
        const SHOWN: &str = "select to_regclass($1)::text";
        let shown: Option<String> = session.query_one(SHOWN, &[&target]).await?.get(0);
        // One that the application has dropped has nothing to come back to.
        let Some(shown) = shown else { continue };
        places.push(Place {
            n: places.len(),
            shown,
            schema: String::new(),
            key: origin.key.clone(),
            mark: Mark::Nobody,
            origin: Some(origin),
            target,
        });
    }
    Ok(places)
}

/// The tables that are there, each with the columns that may be Leafcutter's own.
async fn own_columns(
    session: &mut Session,
    tables: &[&TableModel],
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    const COLUMNS: &str = "\
        select w.name, array(select a.attname::text from pg_attribute a where a.attrelid = c.oid \
        and a.attname in ('lc_version', 'lc_written') and not a.attisdropped) \
        from unnest($1::text[]) w (name) join pg_class c on c.oid = to_regclass(w.name) \
        where c.relkind in ('r', 'p')";
    let names = tables.iter().map(|entry| qualified(&entry.table.name));
    let names: Vec<String> = names.collect();
    let rows = session.query(COLUMNS, &[&names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whether the root row above a row `x` is Leafcutter's.
fn below(model: &Model, entry: &TableModel) -> String {
    let chain: Vec<&TableModel> = entry
        .above
        .iter()
        .map(|&id: &TableId| model.table(id))
        .collect();
    let mut joins = Vec::new();
    let mut lower = (entry, "x".to_owned());
    let mut from = Vec::new();
    for (place, upper) in chain.iter().enumerate().rev() {
        let alias = format!("lc_above_{place}");
        from.push(format!("{} {alias}", qualified(&upper.table.name)));
        for (own, other) in child_key(&lower.0.table, &upper.table).pairs() {
            joins.push(format!(
                "{}.{} = {alias}.{}",
                lower.1,
                quote(own),
                quote(other)
            ));
        }
        lower = (upper, alias);
    }
    format!(
        "exists (select 1 from {} where {} and lc_above_0.lc_version > 0)",
        from.join(", "),
        joins.join(" and ")
    )
}
