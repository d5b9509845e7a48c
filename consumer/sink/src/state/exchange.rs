//! What the state knows of tables that are exchanged: the new ones' takes the place of the old ones'
//! (docs/decisions/exchanging-tables.md).
//!
//! Both are known in the same tables of the state, under two groups and two names of each table. In one
//! transaction what is known of the old ones goes, and what is known of the new ones gets their group and their
//! names. Positions get an epoch above both, so that no consumer works under it yet: who owns a partition is
//! fenced, takes it over again and reads where the new tables stand (F3, F4).

use super::{offsets, stagings};
use crate::session::Session;
use tokio_postgres::Error;

/// What is exchanged.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// The schema that the new tables were filled in.
    pub schema: String,
    /// The group of the old tables.
    pub live: String,
    /// The group that has filled the new ones.
    pub staged: String,
    /// The topics of the new tables.
    pub topics: Vec<String>,
    /// The old tables, as people write them.
    pub old: Vec<String>,
    /// The new tables, as people write them: until now, and from now on.
    pub new: Vec<(String, String)>,
}

/// Which columns of the state name tables of the application, and which name columns of theirs.
const NAMES: [(&str, &[&str], &[&str]); 6] = [
    ("tombstones", &["table_name"], &[]),
    ("parked", &["table_name", "wait_table"], &["wait_column"]),
    ("held", &["table_name"], &[]),
    (
        "cascaded_rows",
        &["table_name", "parent_table"],
        &["column_name"],
    ),
    ("key_map", &["table_name"], &[]),
    ("retained_records", &["table_name"], &[]),
];

/// Tables of the state that know a group and a topic.
const GROUPS: [&str; 5] = [
    "offsets",
    "gates",
    "breakers",
    "unmapped_fields",
    "older_rows",
];

const DEAD_LETTERS: &str = "dead_letters";

/// Whether a name is a table's in the state: `table`, `table from collection`, and of either `… by key`.
fn is_table(name: &str, table: &str) -> String {
    format!(
        "({name} in ({table}, {table} || ' by key') or starts_with({name}, {table} || ' from '))"
    )
}

/// Whether a name is that of a column of a table: `table.column`.
fn is_column(name: &str, table: &str) -> String {
    format!("starts_with({name}, {table} || '.')")
}

/// A name as it is from now on; `$1` are the new tables' names until now, `$2` from now on.
fn renamed(column: &str, is: impl Fn(&str, &str) -> String) -> String {
    format!(
        "{column} = coalesce((select n.place || substr(x.{column}, length(n.staged) + 1) \
         from unnest($1::text[], $2::text[]) as n(staged, place) \
         where {} order by length(n.staged) desc limit 1), x.{column})",
        is(&format!("x.{column}"), "n.staged")
    )
}

/// Whether a row is of one of the tables `$1`, as a condition.
fn is_of_these() -> String {
    format!(
        "exists (select 1 from unnest($1::text[]) as o(name) where {})",
        is_table("x.table_name", "o.name")
    )
}

/// Exchanges. Within a transaction of the caller's, who keeps everybody from writing rows.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn exchange(session: &mut Session, parts: &Exchange) -> Result<(), Error> {
    let names = parts.new.iter();
    let (until, from): (Vec<&str>, Vec<&str>) = names
        .map(|(until, from)| (until.as_str(), from.as_str()))
        .unzip();
    for (table, tables, columns) in NAMES {
        let of_these = is_of_these();
        let gone = format!("delete from leafcutter.{table} x where {of_these}");
        session.execute(&gone, &[&parts.old]).await?;
        let set = set(tables, columns);
        let sql = format!("update leafcutter.{table} x set {set} where {of_these}");
        session.execute(&sql, &[&until, &from]).await?;
    }
    dead_letters(session, parts, &until, &from).await?;
    let (live, staged, topics) = (&parts.live, &parts.staged, &parts.topics);
    let epoch = offsets::lock_epochs(session, live, topics).await?;
    for table in GROUPS {
        let gone =
            format!("delete from leafcutter.{table} where consumer_group = $1 and topic = any($2)");
        session.execute(&gone, &[live, topics]).await?;
    }
    for table in GROUPS.iter().chain(&["parked"]) {
        let sql =
            format!("update leafcutter.{table} set consumer_group = $1 where consumer_group = $2");
        session.execute(&sql, &[live, staged]).await?;
    }
    offsets::fence(session, live, topics, epoch).await?;
    stagings::end(session, &parts.schema).await
}

/// What is set so that names of tables, and of their columns, are those from now on.
fn set(tables: &[&str], columns: &[&str]) -> String {
    let tables = tables.iter().map(|name| renamed(name, is_table));
    let columns = columns.iter().map(|name| renamed(name, is_column));
    tables.chain(columns).collect::<Vec<_>>().join(", ")
}

/// The new tables' dead letters take the place of the old ones'. A record that a person has given up for the old
/// tables is given up for the new ones.
async fn dead_letters(
    session: &mut Session,
    parts: &Exchange,
    until: &[&str],
    from: &[&str],
) -> Result<(), Error> {
    let again = format!(
        "update leafcutter.{DEAD_LETTERS} n set state = o.state, discard_reason = o.discard_reason, \
         discarded_at = o.discarded_at from leafcutter.{DEAD_LETTERS} o \
         where n.staged_in = $1 and n.state = 'open' and o.staged_in = '' and o.state = 'discarded' \
         and (o.topic, o.partition, o.\"offset\") = (n.topic, n.partition, n.\"offset\")"
    );
    session.execute(&again, &[&parts.schema]).await?;
    let gone =
        format!("delete from leafcutter.{DEAD_LETTERS} where staged_in = '' and topic = any($1)");
    session.execute(&gone, &[&parts.topics]).await?;
    let set = set(&["table_name"], &["column_name"]);
    let sql = format!(
        "update leafcutter.{DEAD_LETTERS} x set {set}, staged_in = '', consumer_group = $3 \
         where x.staged_in = $4"
    );
    session
        .execute(&sql, &[&until, &from, &parts.live, &parts.schema])
        .await
        .map(drop)
}

/// Forgets all that is known of the new tables, which are given up.
///
/// # Errors
/// As [`exchange`].
pub async fn give_up(session: &mut Session, parts: &Exchange) -> Result<(), Error> {
    let names: Vec<&str> = parts.new.iter().map(|(until, _)| until.as_str()).collect();
    for (table, ..) in NAMES {
        let sql = format!("delete from leafcutter.{table} x where {}", is_of_these());
        session.execute(&sql, &[&names]).await?;
    }
    let sql = format!("delete from leafcutter.{DEAD_LETTERS} where staged_in = $1");
    session.execute(&sql, &[&parts.schema]).await?;
    for table in GROUPS {
        let sql = format!("delete from leafcutter.{table} where consumer_group = $1");
        session.execute(&sql, &[&parts.staged]).await?;
    }
    stagings::end(session, &parts.schema).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::TABLES;

    /// Tables that know nothing of one collection's tables, or whose callers take care of them.
    const OTHERS: [&str; 10] = [
        DEAD_LETTERS,
        "meta",
        "consumers",
        "resnapshots",
        "pauses",
        "mappings",
        "origins",
        "undo",
        "stagings",
        "deferred_constraints",
    ];

    #[test]
    fn no_table_of_the_state_is_forgotten_here() {
        for table in TABLES {
            let named = NAMES.iter().any(|(name, ..)| *name == table);
            let places = [named, GROUPS.contains(&table), OTHERS.contains(&table)];
            let times = places.iter().filter(|there| **there).count();
            assert_eq!(times, 1, "{table}");
        }
    }
}
