//! `leafcutter check`: is this mapping file sound, and do the tables that exist agree with it? Asks no
//! server unless told to.

mod grants;
mod tables;

use crate::{
    figures::counted,
    settings::CheckSettings,
    show::{Show, cut, left},
};
use leafcutter_consumer::{mapping, settings::MappingSettings};
use leafcutter_runtime::{exit::Exit, file, report::Failure};
use leafcutter_schemas::mapping::{Mapping, MappingFault, parse, tier};
use leafcutter_sink::model::Model;
use serde::Serialize;
use std::{collections::BTreeSet, fmt::Write as _};

/// What a sound mapping holds.
#[derive(Debug, Serialize)]
struct Summary {
    sound: bool,
    hash: String,
    collections: Vec<CollectionSummary>,
    tables: usize,
    references: usize,
    /// Tables in which two documents can have one key, though it follows from `_id`.
    shared_keys: Vec<SharedKey>,
    /// What the tables in PostgreSQL are like, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres: Option<tables::Report>,
}

#[derive(Debug, Serialize)]
struct CollectionSummary {
    collection: String,
    topic: String,
    tier: usize,
    tables: Vec<String>,
    /// How many of them are the collection's own; the others are child tables.
    #[serde(skip)]
    own_tables: usize,
    columns: usize,
    references_to: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SharedKey {
    table: String,
    key: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FaultLine<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    place: &'a str,
    message: &'a str,
    suggestion: Option<&'a str>,
}

/// Checks it.
///
/// # Errors
/// Every fault of the file, each with its line; that PostgreSQL cannot be asked.
pub async fn run(settings: &CheckSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let MappingSettings {
        mapping: path,
        prefix,
    } = &settings.mapping;
    let file = path.display().to_string();
    let text = file::read("mapping", path).map_err(|fault| Failure::one(Exit::Settings, fault))?;
    let mapping = match parse::load(&text, &file) {
        Ok(mapping) => mapping,
        Err(faults) => {
            tell_faults(&faults.0, &file, show);
            return Ok(Exit::Settings);
        }
    };
    let model = mapping::compile(mapping, path, prefix)?;
    if settings.grants {
        grants::tell(settings, &model, show);
        return Ok(Exit::Done);
    }
    let mut summary = summary(&model);
    if settings.postgres {
        summary.postgres = Some(tables::look(settings, &model).await?);
    }
    if show.json {
        show.json(&summary);
    } else {
        show.text(&render(&summary, &model.mapping, &file));
        if let Some(report) = &summary.postgres {
            show.text(&report.render(show.paint));
        }
    }
    Ok(summary.postgres.map_or(Exit::Done, |report| report.exit()))
}

fn tell_faults(faults: &[MappingFault], file: &str, show: &mut Show<'_>) {
    for fault in faults {
        if show.json {
            show.json_line(&FaultLine {
                file: &fault.file,
                line: fault.line,
                column: fault.column,
                place: &fault.place,
                message: &fault.message,
                suggestion: fault.suggestion.as_deref(),
            });
        } else {
            // One line as compilers write it, so that editors can jump there.
            show.line(&fault.to_string());
        }
    }
    if !show.json {
        let number = i64::try_from(faults.len()).unwrap_or(i64::MAX);
        show.line(&format!("\n{} in {file}", counted(number, "fault")));
    }
}

fn summary(model: &Model) -> Summary {
    let tiers = tier::tiers(&model.mapping);
    let mut references = 0;
    let mut collections = Vec::new();
    for (index, collection) in model.mapping.collections.iter().enumerate() {
        let tables = collection.with_descendants();
        let columns = tables.iter().flat_map(|table| &table.columns);
        let mut to: Vec<String> = columns
            .clone()
            .filter_map(|column| column.reference.as_ref())
            .map(|reference| reference.table.to_string())
            .collect();
        references += to.len();
        to.sort_unstable();
        to.dedup();
        collections.push(CollectionSummary {
            collection: format!("{}.{}", collection.database, collection.name),
            topic: model.collections[index].topic.clone(),
            tier: tiers.tier(index),
            tables: tables.iter().map(|table| table.name.to_string()).collect(),
            own_tables: collection.tables.len(),
            columns: columns.count(),
            references_to: to,
        });
    }
    // A table that several collections fill is one.
    let names: BTreeSet<&String> = collections.iter().flat_map(|c| &c.tables).collect();
    Summary {
        sound: true,
        hash: model.mapping.hash.clone(),
        tables: names.len(),
        collections,
        references,
        shared_keys: shared_keys(&model.mapping),
        postgres: None,
    }
}

fn shared_keys(mapping: &Mapping) -> Vec<SharedKey> {
    let tables = mapping.tables().map(|(_, table)| table);
    let shared = tables.filter(|table| table.documents_may_share_key());
    let shared = shared.map(|table| SharedKey {
        table: table.name.to_string(),
        key: table
            .key
            .iter()
            .map(|&position| table.columns[position].name.clone())
            .collect(),
    });
    let mut shared: Vec<SharedKey> = shared.collect();
    shared.sort_by(|one, other| one.table.cmp(&other.table));
    shared.dedup_by(|one, other| one.table == other.table);
    shared
}

/// Keys that are shown of those that two documents can have.
const SHARED_SHOWN: usize = 3;

/// What follows where two documents can have one key.
fn render_shared(shared: &[SharedKey]) -> String {
    let shown = shared.iter().take(SHARED_SHOWN);
    let shown = shown.map(|shared| format!("{} ({})", shared.table, shared.key.join(", ")));
    let mut names = shown.collect::<Vec<_>>().join(", ");
    if let more @ 1.. = shared.len().saturating_sub(SHARED_SHOWN) {
        write!(names, " and {more} more").unwrap_or_default();
    }
    format!(
        "\nTwo documents with different `_id`s can have one key in\n  {names}.\n\
         Each row says whose it is; another document waits until it is free.\n"
    )
}

fn render(summary: &Summary, mapping: &Mapping, file: &str) -> String {
    let mut out = String::new();
    let number = |n: usize, noun: &str| counted(i64::try_from(n).unwrap_or(i64::MAX), noun);
    writeln!(
        out,
        "{file} is sound: {}, {}, {}\nhash {}\n",
        number(summary.collections.len(), "collection"),
        number(summary.tables, "table"),
        number(summary.references, "reference"),
        summary.hash
    )
    .unwrap_or_default();
    let one_database = mapping.databases().len() == 1;
    writeln!(out, "tier  {} tables", left("collection", 24)).unwrap_or_default();
    let mut lines: Vec<&CollectionSummary> = summary.collections.iter().collect();
    lines.sort_by_key(|line| line.tier);
    for line in lines {
        let name = match line.collection.split_once('.') {
            Some((_, name)) if one_database => name,
            _ => &line.collection,
        };
        let children = line.tables.len() - line.own_tables;
        let mut text = line.tables[0].clone();
        if line.own_tables > 1 {
            write!(text, " and {}", number(line.own_tables - 1, "table")).unwrap_or_default();
        }
        if children > 0 {
            write!(text, " and {}", number(children, "child table")).unwrap_or_default();
        }
        if !line.references_to.is_empty() {
            write!(text, " → {}", line.references_to.join(", ")).unwrap_or_default();
        }
        let text = cut(&text, 80 - 31);
        writeln!(out, "{:>4}  {} {text}", line.tier, left(&cut(name, 24), 24)).unwrap_or_default();
    }
    if !summary.shared_keys.is_empty() {
        out.push_str(&render_shared(&summary.shared_keys));
    }
    out
}
