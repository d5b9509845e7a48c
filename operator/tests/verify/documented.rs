//! `docs/mapping.md` is the specification of what verify expects: its tables of values, and its examples
//! of columns, documents and rows, become what they say. Needs no server.

use bson::{Bson, RawDocumentBuf, doc};
use leafcutter_harness::shell;
use leafcutter_operator::verify::expected::{json::Json, plan::Plan, rows::Rows};
use leafcutter_schemas::mapping::{Mapping, parse};

const DOCUMENT: &str = include_str!("../../../docs/mapping.md");

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    let cells = inner.split(" | ").map(|cell| cell.trim().trim_matches('`'));
    cells.collect()
}

fn mapping(columns: &str) -> Mapping {
    let columns: String = columns
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    let text = format!(
        "version: 1
database: shop
collections:
  people:
    table: people
    key: the_key
    columns:
      the_key: {{ path: _id, type: text, convert: text }}
{columns}"
    );
    parse::load(&text, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// The texts of these columns, or why the document is refused.
fn becomes(mapping: &Mapping, names: &[&str], document: &bson::Document) -> Vec<String> {
    let plan = Plan::of(&mapping.collections[0], mapping.uuid_namespace);
    let raw = RawDocumentBuf::try_from(document).unwrap();
    let table = &plan.tables[0].table;
    match plan.rows(&raw) {
        Err(refusal) => vec![format!("dead letter: {}", refusal.reason); names.len()],
        Ok(Rows { tables }) => {
            let row = &tables[0][0];
            let text = |name: &&str| {
                let position = table.column(name).unwrap();
                let text = row[position].text(Some(table.columns[position].pg_type));
                text.unwrap_or_else(|| "null".to_owned())
            };
            names.iter().map(text).collect()
        }
    }
}

/// `jsonb` is written with its fields in an order of its own.
fn settled(text: &str) -> String {
    match Json::read(text) {
        Some(json @ Json::Object(_)) => json.settled().to_string(),
        _ => text.to_owned(),
    }
}

#[test]
fn every_bson_type_becomes_what_the_table_says() {
    let table = DOCUMENT.split("| BSON type | ").nth(1).unwrap();
    let mut lines = table.lines().take_while(|line| line.contains('|'));
    let header = cells(lines.next().unwrap());
    let rows: Vec<_> = lines.skip(1).map(cells).collect();
    let mut compared = 0;
    for (number, column) in header[1..].iter().enumerate() {
        let column = match column.split_once(", ") {
            None => format!("v: {{ type: \"{column}\" }}"),
            Some((pg_type, convert)) => format!("v: {{ type: {pg_type}, {convert} }}"),
        };
        let mapping = mapping(&column);
        for row in &rows {
            let document = doc! { "_id": 1, "v": shell::value(row[1]) };
            let found = becomes(&mapping, &["v"], &document).remove(0);
            let found = match found.strip_prefix("dead letter: ") {
                Some("wrong-type") => "–",
                Some(reason) => reason,
                None => &found,
            };
            assert_eq!(
                settled(found),
                settled(row[2 + number]),
                "{} in {column}",
                row[1]
            );
            compared += 1;
        }
    }
    assert!(compared > 250, "only {compared} values");
}

#[test]
fn the_examples_become_the_documented_rows() {
    let mut compared = 0;
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
        let names = cells(header)[1..].to_vec();
        let mapping = mapping(columns);
        for (number, line) in (0..).zip(lines.skip(1)) {
            let row = cells(line);
            let mut document = shell::document(row[0]);
            if !document.contains_key("_id") {
                document.insert("_id", Bson::Int32(number));
            }
            let found = becomes(&mapping, &names, &document);
            let found: Vec<String> = found.iter().map(|text| settled(text)).collect();
            let expected: Vec<String> = row[1..].iter().map(|text| settled(text)).collect();
            assert_eq!(found, expected, "{}\nin\n{columns}", row[0]);
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} documents");
}
