//! `leafcutter drift`: which fields documents have that no column takes, and the lines of a mapping that would
//! take them.
//!
//! The consumers count them on the way ([`leafcutter_sink::drift`]) and write them to PostgreSQL. With a
//! mapping file, what it takes by now is left out.

use crate::{
    catalog::Catalog,
    connect::State,
    draft::names::Names,
    figures::{count, counted},
    pause::topics,
    settings::Installation,
    show::{Paint, Show, cut, left, right, wrap},
};
use clap::Args;
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_sink::{
    state::unmapped_fields::{self, UnmappedFieldRow},
    transform::left::Taken,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// What stands below the help.
pub(crate) const HELP: &str = "\
The consumers count such fields while they apply records. A record that is
applied again counts again, so the numbers are near. A field inside an object
that nothing takes is told as that object. With a mapping file, fields that it
takes by now are left out; after a new column, `leafcutter resnapshot` or
`replay` fills it for the documents that are there.

Examples:
  leafcutter drift --mapping mapping.yaml
  leafcutter drift learners --json
  leafcutter drift learners --forget

Exit codes: 0, no such fields; 1, there are some; 2; 3 when the mapping has
faults; 4 when PostgreSQL cannot be asked.";

/// The settings of `drift`.
#[derive(Debug, Args)]
pub struct DriftSettings {
    /// Only these collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Forget what was counted, after showing it: what documents still have comes back
    #[arg(long)]
    pub forget: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// A field, as it is told.
#[derive(Debug, Serialize)]
struct FieldLine {
    collection: String,
    field: String,
    types: Vec<String>,
    documents: i64,
    first_seen: String,
    last_seen: String,
    /// The line of a mapping that takes it.
    column: String,
}

/// Lists them.
///
/// # Errors
/// When PostgreSQL cannot be asked, a collection is unknown, or the mapping has faults.
pub async fn run(settings: &DriftSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &mut state).await?;
    let chosen = topics(&settings.collections, &catalog)?;
    let group = &settings.installation.group;
    let rows = unmapped_fields::rows(&mut state.session, group).await;
    let mut rows = rows.map_err(|error| state.lost(&error))?;
    rows.retain(|row| {
        chosen
            .as_ref()
            .is_none_or(|chosen| chosen.contains(&row.field.topic))
    });
    let mut counted: Vec<String> = rows.iter().map(|row| row.field.topic.clone()).collect();
    counted.dedup();
    rows.retain(|row| is_unmapped(row, &catalog));
    let lines = lines(rows, &catalog);
    if show.json {
        lines.iter().for_each(|line| show.json_line(line));
    } else {
        show.text(&render(&lines, show.paint));
    }
    if settings.forget {
        let forgotten = unmapped_fields::forget(&mut state.session, group, &counted).await;
        forgotten.map_err(|error| state.lost(&error))?;
    }
    Ok(if lines.is_empty() {
        Exit::Done
    } else {
        Exit::Differences
    })
}

/// Whether the mapping that was given, if one was, takes it by now.
pub(crate) fn is_unmapped(row: &UnmappedFieldRow, catalog: &Catalog) -> bool {
    let Some(model) = &catalog.model else {
        return true;
    };
    let Some(id) = model.collection_of_topic(&row.field.topic) else {
        return false;
    };
    !Taken::of(&model.mapping.collections[id.0]).takes(&row.field.path)
}

fn lines(rows: Vec<UnmappedFieldRow>, catalog: &Catalog) -> Vec<FieldLine> {
    let mut names: BTreeMap<String, Names> = BTreeMap::new();
    let line = |row: UnmappedFieldRow| {
        let field = row.field;
        let (below, own) = match field
            .path
            .rsplit_once("[].")
            .or(field.path.rsplit_once(".*."))
        {
            Some((array, own)) => (array, own),
            None => ("", &*field.path),
        };
        let taken = names.entry(format!("{} {below}", field.topic)).or_default();
        let name = taken.take(own);
        FieldLine {
            collection: catalog.short(&field.topic).to_owned(),
            column: format!(
                "{name}: {{ path: {}, {} }}",
                quoted(own),
                column_type(&field.types)
            ),
            field: field.path,
            types: field.types,
            documents: field.documents,
            first_seen: row.first_at,
            last_seen: row.last_at,
        }
    };
    rows.into_iter().map(line).collect()
}

/// A path as YAML takes it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let starts = path.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && path.chars().all(is_plain) {
        path.to_owned()
    } else {
        serde_json::Value::from(path).to_string()
    }
}

/// The column that takes values of these BSON types without loss.
fn column_type(types: &[String]) -> &'static str {
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    let only = |some: &[&str]| types.iter().all(|t| *t == "null" || some.contains(t));
    let candidates: [(&[&str], &str); 7] = [
        (&["string"], "type: text"),
        (&["bool"], "type: boolean"),
        (&["date"], "type: timestamptz"),
        (&["int"], "type: integer"),
        (&["int", "long"], "type: bigint"),
        (&["int", "double"], "type: double precision"),
        (&["objectId"], "type: text, convert: text"),
    ];
    let fits = candidates.iter().find(|(some, _)| only(some));
    fits.map_or("type: jsonb", |(_, column)| column)
}

const FIELD: usize = 33;
const TYPES: usize = 14;
const NUMBER: usize = 11;
/// `2026-01-31 12:00` of a time.
const MINUTE: usize = 16;

fn render(lines: &[FieldLine], paint: Paint) -> String {
    if lines.is_empty() {
        return "Columns take every field that was seen.\n".to_owned();
    }
    let row = |field: &str, types: &str, documents: &str, first: &str| {
        format!(
            "  {} {} {}  {first}",
            left(&cut(field, FIELD), FIELD),
            left(&cut(types, TYPES), TYPES),
            right(documents, NUMBER)
        )
    };
    let mut out = String::new();
    let groups = lines.chunk_by(|a, b| a.collection == b.collection);
    for group in groups.clone() {
        writeln!(out, "{}", paint.bold(&group[0].collection)).unwrap_or_default();
        let head = row("field", "types", "documents", "first seen, UTC");
        writeln!(out, "{}", paint.dim(&head)).unwrap_or_default();
        for line in group {
            let first = line.first_seen.get(..MINUTE).unwrap_or_default();
            let text = row(
                &line.field,
                &line.types.join(", "),
                &count(line.documents),
                first,
            );
            writeln!(out, "{text}").unwrap_or_default();
        }
    }
    let number = counted(i64::try_from(lines.len()).unwrap_or(i64::MAX), "field");
    let text = format!(
        "No column takes {number}. Columns for them, each for the table that holds the rest of its \
         document or element:"
    );
    writeln!(out, "\n{}", wrap("", &text).trim_end()).unwrap_or_default();
    for group in groups {
        for line in group {
            writeln!(
                out,
                "  {}  {}",
                line.column,
                paint.dim(&format!("# {}", line.collection))
            )
            .unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(field: &str, types: &[&str]) -> FieldLine {
        let types: Vec<String> = types.iter().map(|t| (*t).to_owned()).collect();
        FieldLine {
            collection: "finlit.learners".to_owned(),
            field: field.to_owned(),
            column: format!("c: {{ path: {}, {} }}", quoted(field), column_type(&types)),
            types,
            documents: 12_000,
            first_seen: "2026-01-31 12:00:00 UTC".to_owned(),
            last_seen: "2026-01-31 12:00:00 UTC".to_owned(),
        }
    }

    #[test]
    fn fields_and_their_columns_in_eighty_columns() {
        let long = "a.very.long.path.of.a.field.that.nothing.takes";
        let lines = [
            line(long, &["int", "long"]),
            line("8-bit", &["object", "string"]),
        ];
        let text = render(&lines, Paint::PLAIN);
        let fields = text.lines().take_while(|line| !line.is_empty());
        assert!(
            fields.clone().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains(&format!("{{ path: {long}, type: bigint }}")),
            "{text}"
        );
        assert!(text.contains("{ path: \"8-bit\", type: jsonb }"), "{text}");
        assert!(text.contains("12,000  2026-01-31 12:00\n"), "{text}");
    }

    #[test]
    fn a_column_takes_all_types_that_were_seen() {
        let of = |types: &[&str]| {
            column_type(&types.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(of(&["int", "null"]), "type: integer");
        assert_eq!(of(&["double", "int"]), "type: double precision");
        // A double does not hold every long.
        assert_eq!(of(&["double", "long"]), "type: jsonb");
        assert_eq!(of(&["array"]), "type: jsonb");
    }
}
