//! What has to hold within PostgreSQL, whether a constraint holds it or not: references have parents,
//! unique keys are, required columns are not null.
//!
//! What is found is looked for again, since a row may be on its way: only what is there at several looks
//! counts. A reference that may stay without a parent (`on_missing: keep`) is left out.

use super::{
    board::Board,
    difference::{Difference, Kind},
    target::Target,
    work::Work,
};
use leafcutter_schemas::mapping::{OnMissing, Table};
use leafcutter_sink::names::{literal, qualified, quote};
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};
use tokio_postgres::Error;

/// Looks before it counts.
const LOOKS: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(2);
/// Rows that are named at most.
const NAMED: i64 = 1_000;

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Integrity {
    /// References that were looked at.
    pub references: u64,
    /// Unique keys that were.
    pub unique: u64,
    /// Required columns that were.
    pub required: u64,
    /// Rows whose parents are not there.
    pub orphans: u64,
    /// Values that stand in several rows.
    pub twice: u64,
    /// Nulls where none may be.
    pub nulls: u64,
}

impl Integrity {
    /// Adds what was found in other tables.
    pub fn add(&mut self, other: &Self) {
        self.references += other.references;
        self.unique += other.unique;
        self.required += other.required;
        self.orphans += other.orphans;
        self.twice += other.twice;
        self.nulls += other.nulls;
    }
}

/// One thing that has to hold: what selects the rows that break it, and how to call it.
struct Rule {
    kind: Kind,
    table: String,
    column: String,
    sql: String,
}

fn key_text(table: &Table, alias: &str) -> String {
    let columns = table.key.iter();
    let columns = columns.map(|&p| format!("{alias}.{}::text", quote(&table.columns[p].name)));
    format!(
        "concat_ws(', ', {})",
        columns.collect::<Vec<_>>().join(", ")
    )
}

fn rules(work: &Work, found: &mut Integrity) -> Vec<Rule> {
    let mut rules = Vec::new();
    for plan in &work.plan.tables {
        let table = &plan.table;
        let (name, target) = (table.name.to_string(), qualified(&table.name));
        let key = key_text(table, "x");
        let mut rule = |kind, column: &str, sql: String| {
            rules.push(Rule {
                kind,
                table: name.clone(),
                column: column.to_owned(),
                sql,
            });
        };
        // Rows that were there before are the application's own.
        let ours = if plan.parent.is_none() {
            " and x.lc_version > 0"
        } else {
            ""
        };
        for column in &table.columns {
            let own = quote(&column.name);
            if let Some(reference) = column
                .reference
                .as_ref()
                .filter(|r| r.on_missing != OnMissing::Keep)
            {
                found.references += 1;
                let (parent, of_parent) = (qualified(&reference.table), quote(&reference.column));
                rule(
                    Kind::Orphan,
                    &column.name,
                    format!(
                        "select {key}, x.{own}::text from {target} x where x.{own} is not null{ours} and \
                     not exists (select 1 from {parent} p where p.{of_parent} = x.{own}) order by 1 limit {NAMED}"
                    ),
                );
            }
            if column.required {
                found.required += 1;
                rule(
                    Kind::Null,
                    &column.name,
                    format!(
                        "select {key}, null::text from {target} x where x.{own} is null{ours} order by 1 limit {NAMED}"
                    ),
                );
            }
        }
        for unique in std::iter::once(&table.key).chain(&table.unique) {
            found.unique += 1;
            let names: Vec<&str> = unique
                .iter()
                .map(|&p| table.columns[p].name.as_str())
                .collect();
            let columns: Vec<String> = names
                .iter()
                .map(|name| format!("x.{}", quote(name)))
                .collect();
            let there: Vec<String> = columns
                .iter()
                .map(|column| format!("{column} is not null"))
                .collect();
            let texts: Vec<String> = columns
                .iter()
                .map(|column| format!("{column}::text"))
                .collect();
            // What PostgreSQL keeps by itself need not be counted.
            let listed: Vec<String> = names.iter().map(|name| literal(name)).collect();
            let kept = format!(
                "exists (select 1 from pg_index i where i.indrelid = {}::regclass and i.indisunique \
                 and i.indisvalid and i.indpred is null and i.indexprs is null \
                 and (select array_agg(a.attname::text order by a.attname::text) from pg_attribute a \
                 where a.attrelid = i.indrelid and a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])) \
                 = (select array_agg(n order by n) from unnest(array[{}]) n))",
                literal(&target),
                listed.join(", ")
            );
            rule(
                Kind::Twice,
                &names.join(", "),
                format!(
                    "select concat_ws(', ', {0}), count(*)::text || ' rows' from {target} x where {1} \
                 and not {kept} group by {2} having count(*) > 1 order by 1 limit {NAMED}",
                    texts.join(", "),
                    there.join(" and "),
                    columns.join(", ")
                ),
            );
        }
    }
    rules
}

/// Looks at a collection's tables, and puts what breaks a rule on the board.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn check(target: &mut Target, work: &Work, board: &Board) -> Result<Integrity, Error> {
    let mut found = Integrity::default();
    for rule in rules(work, &mut found) {
        let mut broken = ask(target, &rule.sql).await?;
        for _ in 1..LOOKS {
            if broken.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let again = ask(target, &rule.sql).await?;
            broken = broken.intersection(&again).cloned().collect();
        }
        let count = u64::try_from(broken.len()).unwrap_or(u64::MAX);
        match rule.kind {
            Kind::Orphan => found.orphans += count,
            Kind::Null => found.nulls += count,
            _ => found.twice += count,
        }
        let differences = broken.into_iter().map(|(row, value)| Difference {
            collection: work.full_name(),
            kind: rule.kind,
            id: None,
            table: rule.table.clone(),
            row,
            column: Some(rule.column.clone()),
            source: None,
            target: value,
        });
        board.add(work.index, &differences.collect::<Vec<_>>());
    }
    Ok(found)
}

async fn ask(target: &mut Target, sql: &str) -> Result<BTreeSet<(String, Option<String>)>, Error> {
    let rows = target.session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
