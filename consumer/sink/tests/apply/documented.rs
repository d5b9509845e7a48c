//! `docs/mapping.md` shows columns, documents and rows: they become these rows on PostgreSQL.
//!
//! An example is a block of columns and, right after it, a table whose first column is `document`
//! and whose others are columns of the block.

use crate::world::{World, put};
use bson::RawDocumentBuf;
use leafcutter_harness::shell;
use leafcutter_sink::transform::Rows;

pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/mapping.md");

struct Example<'d> {
    columns: &'d str,
    names: Vec<&'d str>,
    /// The document, and what is in its row.
    rows: Vec<(&'d str, Vec<&'d str>)>,
}

/// The cells of a line of a table. `|` within code is written `\|`.
pub(crate) fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells = inner.split(" | ").map(|cell| cell.trim().trim_matches('`'));
    cells.collect()
}

fn examples() -> Vec<Example<'static>> {
    let mut examples = Vec::new();
    for block in DOCUMENT.split("```yaml\n").skip(1) {
        let (columns, after) = block.split_once("```\n").unwrap();
        let mut lines = after
            .trim_start()
            .lines()
            .take_while(|line| line.starts_with('|'));
        let header = lines.next().unwrap_or_default();
        if columns.starts_with("version:") || !header.starts_with("| document |") {
            continue;
        }
        let rows = lines.skip(1).map(|line| {
            let cells = cells(line);
            (cells[0], cells[1..].to_vec())
        });
        examples.push(Example {
            columns,
            names: cells(header)[1..].to_vec(),
            rows: rows.collect(),
        });
    }
    examples
}

/// Gives the row that each document becomes, or why it becomes none.
async fn rows(example: &Example<'_>) -> Vec<Vec<String>> {
    let columns: String = example
        .columns
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    let mut world = World::with(&format!(
        "version: 1
database: shop
collections:
  people:
    table: people
    key: the_key
    columns:
      the_key: {{ path: _id, type: text, convert: text }}
{columns}"
    ))
    .await;
    let mut rows = Vec::new();
    for (number, (text, _)) in (0..).zip(&example.rows) {
        let mut document = shell::document(text);
        if !document.contains_key("_id") {
            document.insert("_id", number);
        }
        let raw = RawDocumentBuf::try_from(&document).unwrap();
        let plan = &world.model.collections[0].plan;
        if let Err(reason) = plan.transform(&raw, &mut Rows::default()) {
            let letter = format!("dead letter: {}", reason.code);
            rows.push(vec![letter; example.names.len()]);
            continue;
        }
        world.apply(&[put("people", 1, document)]).await.unwrap();
        rows.push(row(&world, &example.names).await);
        world.execute("delete from people").await;
    }
    rows
}

async fn row(world: &World, names: &[&str]) -> Vec<String> {
    let columns: Vec<_> = names
        .iter()
        .map(|name| format!("\"{name}\"::text"))
        .collect();
    let sql = format!(
        "set timezone to 'UTC'; select {} from people",
        columns.join(", ")
    );
    world.rows(&sql).await.values()
}

#[tokio::test]
async fn the_documented_rows_are_the_rows() {
    let examples = examples();
    assert!(examples.len() >= 8, "only {} examples", examples.len());
    for example in &examples {
        let found = rows(example).await;
        for ((document, expected), found) in example.rows.iter().zip(found) {
            assert_eq!(&found, expected, "{document}\nin\n{}", example.columns);
        }
    }
}
