//! `leafcutter list`: which collection becomes which tables, in which order, and how many there are on both
//! sides.
//!
//! The mapping says the first; the servers that are named are asked for the second. Neither is read for it
//! unless `--exact` is given: what their statistics say is marked with `~`. A table of which PostgreSQL has no
//! statistics yet is counted up to a limit; what is larger is estimated by its size, as the planner does it. A
//! server that is not named is left out.

use crate::{
    catalog::usage,
    connect,
    figures::count,
    show::{Paint, Show, cut, left, right},
    verify::{settings::MongodbSettings, source::Source, work::Work},
};
use clap::Args;
use leafcutter_consumer::{
    mapping,
    settings::{MappingSettings, PostgresSettings},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_schemas::mapping::tier;
use leafcutter_sink::{ids::CollectionId, model::Model, names::qualified, session::Session};
use serde::Serialize;
use std::fmt::Write as _;

/// What stands below the help.
pub(crate) const HELP: &str = "\
The tier is the order: 0 points to nothing, each other tier to lower ones. A
number with ~ is an estimate of the server's statistics; a table that has none
yet is counted where it is small. --exact counts, which reads everything. A server whose address is not given is left out.

Examples:
  leafcutter list --mapping mapping.yaml
  leafcutter list --exact
  leafcutter list learners --json

Exit codes: 0; 2; 3 when the mapping has faults; 4 when a server cannot be
asked.";

/// Rows that are counted where there are no statistics: a fraction of a second.
const COUNTED_MAX: i64 = 100_000;

/// The settings of `list`.
#[derive(Debug, Args)]
pub struct ListSettings {
    /// Only these collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Count, instead of asking the servers' statistics
    #[arg(long)]
    pub exact: bool,
    /// Which mapping is meant.
    #[command(flatten)]
    pub mapping: MappingSettings,
    /// Where MongoDB is.
    #[command(flatten, next_help_heading = "Servers")]
    pub mongodb: MongodbSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// A collection and its tables.
#[derive(Debug, Serialize)]
struct CollectionLine {
    collection: String,
    database: String,
    topic: String,
    tier: usize,
    /// None where MongoDB was not asked.
    documents: Option<u64>,
    tables: Vec<TableLine>,
    exact: bool,
}

/// A table.
#[derive(Debug, Serialize)]
struct TableLine {
    table: String,
    /// The table above it, of a child table.
    parent: Option<String>,
    /// None where PostgreSQL was not asked, or the table is not there.
    rows: Option<i64>,
    /// They were counted, and not estimated.
    rows_exact: bool,
    /// None where PostgreSQL was not asked.
    there: Option<bool>,
    #[serde(skip)]
    depth: usize,
}

/// Lists them.
///
/// # Errors
/// When the mapping has faults, a collection is unknown, or a server that is named cannot be asked.
pub async fn run(settings: &ListSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let model = mapping::load(&settings.mapping.mapping, &settings.mapping.prefix)?;
    let chosen = chosen(&settings.collections, &model)?;
    let mongodb = &settings.mongodb;
    let source = if mongodb.mongodb_uri.is_some() || mongodb.mongodb_uri_file.is_some() {
        Some(Source::open(mongodb).await?)
    } else {
        None
    };
    let postgres = &settings.postgres;
    let mut target = if postgres.postgres_uri.is_some() || postgres.postgres_uri_file.is_some() {
        Some(connect::session(postgres).await?)
    } else {
        None
    };
    let tiers = tier::tiers(&model.mapping);
    let mut lines = Vec::new();
    for id in chosen {
        let documents = match &source {
            Some(source) => Some(documents(source, &Work::of(0, id, &model), settings).await?),
            None => None,
        };
        let mut tables = tables(&model, id);
        if let Some((session, place)) = &mut target {
            let counted = count_rows(session, &mut tables, &model, id, settings.exact).await;
            counted.map_err(|error| refused(place, &error))?;
        }
        let collection = model.collection(id);
        lines.push(CollectionLine {
            collection: collection.name.clone(),
            database: collection.database.clone(),
            topic: collection.topic.clone(),
            tier: tiers.tier(id.0),
            documents,
            tables,
            exact: settings.exact,
        });
    }
    lines.sort_by_key(|line| line.tier);
    if show.json {
        lines.iter().for_each(|line| show.json_line(line));
    } else {
        show.text(&render(&lines, show.paint));
    }
    Ok(Exit::Done)
}

/// The collections that are meant: all, where none is named.
fn chosen(called: &[String], model: &Model) -> Result<Vec<CollectionId>, Failure> {
    let names: Vec<&str> = model.collections.iter().map(|c| c.name.as_str()).collect();
    if let Some(unknown) = called.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(usage(
            "could not find the collection",
            &format!("`{unknown}`"),
            "the mapping has none of that name",
            format!("Known are: {}.", names.join(", ")),
        ));
    }
    let is_meant =
        |id: &CollectionId| called.is_empty() || called.contains(&model.collection(*id).name);
    Ok(model.collection_ids().filter(is_meant).collect())
}

async fn documents(source: &Source, work: &Work, settings: &ListSettings) -> Result<u64, Failure> {
    if settings.exact {
        source.count(work).await
    } else {
        source.estimate(work).await
    }
}

/// Its root tables, each with the tables below it.
fn tables(model: &Model, id: CollectionId) -> Vec<TableLine> {
    let mut lines = Vec::new();
    for &root in &model.collection(id).roots {
        for table in std::iter::once(root).chain(model.table(root).children.iter().copied()) {
            let table = model.table(table);
            let parent = table.above.last().map(|&above| model.table(above));
            lines.push(TableLine {
                table: table.table.name.to_string(),
                parent: parent.map(|parent| parent.table.name.to_string()),
                rows: None,
                rows_exact: false,
                there: None,
                depth: table.above.len(),
            });
        }
    }
    lines
}

async fn count_rows(
    session: &mut Session,
    lines: &mut [TableLine],
    model: &Model,
    id: CollectionId,
    exact: bool,
) -> Result<(), tokio_postgres::Error> {
    let roots = model.collection(id).roots.iter();
    let tables = roots
        .flat_map(|&root| std::iter::once(root).chain(model.table(root).children.iter().copied()));
    for (line, table) in lines.iter_mut().zip(tables) {
        let name = qualified(&model.table(table).table.name);
        let statistics = "select reltuples::bigint, relpages = 0 from pg_class \
                          where oid = to_regclass($1)";
        let found = session.query(statistics, &[&name]).await?;
        line.there = Some(!found.is_empty());
        let Some(row) = found.first() else {
            continue;
        };
        // Nothing was ever looked at: -1, and before PostgreSQL 14 zero rows on zero pages.
        let (known, no_pages): (i64, bool) = (row.get(0), row.get(1));
        let unknown = known < 0 || (known == 0 && no_pages);
        let (rows, is_exact) = if exact {
            let counted = format!("select count(*) from {name}");
            (session.query_one(&counted, &[]).await?.get(0), true)
        } else if unknown {
            counted_or_guessed(session, &name).await?
        } else {
            (known, false)
        };
        line.rows = Some(rows);
        line.rows_exact = is_exact;
    }
    Ok(())
}

/// The rows of a table without statistics, and whether they were counted.
async fn counted_or_guessed(
    session: &mut Session,
    table: &str,
) -> Result<(i64, bool), tokio_postgres::Error> {
    let some =
        format!("select count(*) from (select from {table} limit $1::bigint + 1) first_rows");
    let rows: i64 = session.query_one(&some, &[&COUNTED_MAX]).await?.get(0);
    if rows <= COUNTED_MAX {
        return Ok((rows, true));
    }
    // The planner guesses by the size of the file and the width of a row.
    let plan = session
        .query_one(&format!("explain select from {table}"), &[])
        .await?;
    let guessed = guess(plan.get(0)).unwrap_or(rows);
    Ok((guessed.max(rows), false))
}

/// The rows that a line of a plan expects.
fn guess(plan: &str) -> Option<i64> {
    let (_, behind) = plan.split_once("rows=")?;
    behind.split_whitespace().next()?.parse().ok()
}

fn refused(place: &str, error: &tokio_postgres::Error) -> Failure {
    let fault = Fault::new(
        "could not count rows",
        place,
        causes(error),
        "Check that this user may read the tables of the mapping.",
    );
    Failure::one(Exit::Preflight, fault)
}

fn render(lines: &[CollectionLine], paint: Paint) -> String {
    const NAME: usize = 23;
    const NUMBER: usize = 12;
    let row = |tier: &str, collection: &str, documents: &str, table: &str, rows: &str| {
        let text = format!(
            "{} {} {}  {} {}",
            right(tier, 4),
            left(&cut(collection, NAME), NAME),
            right(documents, NUMBER),
            left(&cut(table, NAME), NAME),
            right(rows, NUMBER)
        );
        text.trim_end().to_owned()
    };
    let mut out = String::new();
    let head = row("tier", "collection", "documents", "table", "rows");
    writeln!(out, "{}", paint.dim(&head)).unwrap_or_default();
    for line in lines {
        let number = |number: i64, exact: bool| {
            let about = if exact { "" } else { "~" };
            format!("{about}{}", count(number))
        };
        let documents = line.documents.map_or_else(
            || "-".to_owned(),
            |documents| number(i64::try_from(documents).unwrap_or(i64::MAX), line.exact),
        );
        for (place, table) in line.tables.iter().enumerate() {
            let rows = match (table.rows, table.there) {
                (Some(rows), _) => number(rows, table.rows_exact),
                (None, Some(false)) => "not there".to_owned(),
                (None, _) => "-".to_owned(),
            };
            let name = format!("{}{}", "  ".repeat(table.depth), table.table);
            let text = if place == 0 {
                let tier = line.tier.to_string();
                row(&tier, &line.collection, &documents, &name, &rows)
            } else {
                row("", "", "", &name, &rows)
            };
            writeln!(out, "{text}").unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stand_below_their_collection_in_eighty_columns() {
        let table = |name: &str, depth, rows| TableLine {
            table: name.to_owned(),
            parent: None,
            rows,
            rows_exact: false,
            there: Some(rows.is_some()),
            depth,
        };
        let lines = [CollectionLine {
            collection: "a_collection_with_a_long_name".to_owned(),
            database: "d".to_owned(),
            topic: "t".to_owned(),
            tier: 1,
            documents: Some(12_003),
            tables: vec![
                table("learners", 0, Some(12_000)),
                table("learner_tags", 1, None),
            ],
            exact: false,
        }];
        let text = render(&lines, Paint::PLAIN);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "tier collection documents table rows \
                        1 a_collection_with_a_lo… ~12,003 learners ~12,000 \
                        learner_tags not there";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn the_rows_that_a_plan_expects_are_read() {
        let plan = "Seq Scan on learners  (cost=0.00..1443.00 rows=100120 width=0)";
        assert_eq!(guess(plan), Some(100_120));
        assert_eq!(guess("Result"), None);
    }
}
