//! Every BSON type as the specification has it, as it should not be written but is, and as it cannot be read.
//!
//! An element of the name `x` stands in each line of `bson/`, in hexadecimal digits, behind what it is: in `valid.txt`
//! with the JSON that a `rest` column has of it, or why it has none; in `malformed.txt` with the field that is named, where
//! that is not `x` or below it. What cannot be read is a dead letter that
//! names the field, never a row and never a panic; and `leafcutter verify` reads each document as the consumer does.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is a mistake in a line of the corpus, or a finding"
)]

use bson::RawDocument;
use leafcutter_fuzz::{mappings::pool, rows::compare};
use leafcutter_schemas::mapping::parse;
use leafcutter_sink::{model::Model, transform::Rows};
use std::fmt::Write as _;

const MAPPING: &str = "version: 1
database: d
collections:
  c:
    table: t
    key: id
    columns: { id: { path: _id, type: bigint }, others: { rest: true, type: jsonb } }
";

/// `{ _id: 1, <the element> }`
fn document(element: &str) -> Vec<u8> {
    let digits = element.as_bytes().chunks(2);
    let element = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16));
    let element: Vec<u8> = element.collect::<Result<_, _>>().unwrap();
    let mut inner = b"\x10_id\0\x01\0\0\0".to_vec();
    inner.extend(element);
    inner.push(0);
    let length = i32::try_from(inner.len() + 4).unwrap();
    [length.to_le_bytes().as_slice(), &inner].concat()
}

/// What a `rest` column has of the document, or the code of the reason and the field.
fn rest(document: &[u8]) -> Result<String, (&'static str, Option<String>)> {
    let model = Model::compile(parse::load(MAPPING, "mapping.yaml").unwrap(), "t").unwrap();
    let document = RawDocument::from_bytes(document).map_err(|_| ("malformed", None))?;
    let mut rows = Rows::default();
    let made = model.collections[0].plan.transform(document, &mut rows);
    made.map_err(|reason| (reason.code, reason.path))?;
    let row = rows.all().next().unwrap();
    let field = rows.field(row, 1).unwrap();
    // A version stands before the text of `jsonb`.
    Ok(String::from_utf8(field[1..].to_vec()).unwrap())
}

fn lines(file: &str) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
    file.lines().map(|line| {
        let mut parts = line.splitn(3, " | ");
        (parts.next().unwrap(), parts.next().unwrap(), parts.next())
    })
}

fn read_in_two_ways(element: &str) {
    let document = document(element);
    if let Ok(document) = RawDocument::from_bytes(&document) {
        for mapped in pool() {
            compare(mapped, document);
        }
    }
}

#[test]
fn what_bson_allows_is_carried() {
    let mut wrong = String::new();
    for (name, element, wanted) in lines(include_str!("../bson/valid.txt")) {
        let found = rest(&document(element));
        let found = match &found {
            Ok(json) => json.as_str(),
            Err((code, _)) => code,
        };
        if Some(found) != wanted {
            writeln!(wrong, "{name} | {element} | {found}").unwrap();
        }
        read_in_two_ways(element);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_that_names_the_field() {
    let mut wrong = String::new();
    for (name, element, other) in lines(include_str!("../bson/malformed.txt")) {
        match rest(&document(element)) {
            Err(("malformed", Some(path))) => {
                let named = path == "x" || path.starts_with("x.");
                if !named && Some(&*path) != other {
                    writeln!(wrong, "{name}: the field {path:?}").unwrap();
                }
            }
            found => writeln!(wrong, "{name}: {found:?}").unwrap(),
        }
        read_in_two_ways(element);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
