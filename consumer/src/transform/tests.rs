//! Documents as no driver writes them: nothing panics, and no value is changed on the way.

use super::Rows;
use crate::model::Model;
use bson::{Bson, RawDocument, RawDocumentBuf, cstr, doc, oid::ObjectId};
use leafcutter_schemas::mapping::parse;
use proptest::prelude::{any, prop_assert, proptest};

const MAPPING: &str = "version: 1
database: d
collections:
  c:
    table: t
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      first: { path: [a.x, a.y, b], type: text, convert: text, invalid: null }
      number: { path: n, type: numeric, convert: parse, invalid: null }
      time: { path: d, type: timestamptz, convert: parse, invalid: null }
      list: { path: l, type: text array, convert: text, invalid: null }
      uuid: { path: s, type: uuid, convert: uuid-v5 }
      doc: { path: o, type: jsonb }
      others: { rest: true, type: jsonb }
    children:
      - table: u
        from: u
        key: [id, place]
        columns:
          id: { parent: id }
          place: { position: true, type: integer }
          name: { path: [name, .], type: text, convert: text, invalid: null }
          others: { rest: true, type: jsonb }
";

fn model() -> Model {
    Model::compile(parse::load(MAPPING, "mapping.yaml").unwrap(), "t").unwrap()
}

/// The fields of the root row, or the code of the reason why there is none.
fn transform(model: &Model, document: &RawDocument) -> Result<Vec<Option<String>>, &'static str> {
    let plan = &model.collections[0].plan;
    let mut rows = Rows::default();
    let made = plan.transform(document, &mut rows);
    assert_eq!(made.is_err(), rows.is_empty(), "half a document");
    made.map_err(|reason| reason.code)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((0..8)
        .map(|column| rows.field(0, column).map(text))
        .collect())
}

/// A document with every BSON type in every place that a column looks at.
fn full() -> RawDocumentBuf {
    let id = ObjectId::parse_str("65a1f0c2e13f4b0012345678").unwrap();
    let decimal: bson::Decimal128 = "1.5".parse().unwrap();
    RawDocumentBuf::try_from(&doc! {
        "_id": id,
        "a": { "x": Bson::Null, "y": "text", "z": [1, 2.5, true, decimal] },
        "b": bson::DateTime::from_millis(1),
        "n": " 12e3 ",
        "d": "2025-01-15T10:00:00.123456Z",
        "l": ["a", id, 1i64, Bson::Undefined, ["nested"]],
        "s": { "deep": { "deeper": [bson::Timestamp { time: 1, increment: 2 }] } },
        "o": { "re": bson::Regex { pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap() },
               "bin": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2, 3] },
               "min": Bson::MinKey, "max": Bson::MaxKey, "code": Bson::JavaScriptCode("f()".into()) },
        "u": ["x", { "name": "y", "more": 1 }, 5],
        "other": Bson::Symbol("s".into()),
    })
    .unwrap()
}

proptest! {
    #[test]
    fn damaged_documents_never_panic(
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        cut in any::<usize>(),
    ) {
        let model = model();
        let mut bytes = full().into_bytes();
        for (at, byte) in damage {
            let at = 4 + at % (bytes.len() - 5);
            bytes[at] = byte;
        }
        if let Ok(document) = RawDocument::from_bytes(&bytes) {
            let made = transform(&model, document);
            prop_assert!(made.is_ok() || !made.unwrap_err().is_empty());
        }
        // A document that ends in the middle of a field, with a length that fits.
        bytes.truncate(5 + cut % (bytes.len() - 5));
        let length = i32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        if let Some(last) = bytes.last_mut() {
            *last = 0;
        }
        if let Ok(document) = RawDocument::from_bytes(&bytes) {
            let _made = transform(&model, document);
        }
    }
}

#[test]
fn a_whole_document_is_its_rows() {
    let found = transform(&model(), &full()).unwrap();
    let text = |at: usize| found[at].clone().unwrap_or_default();
    assert_eq!(text(1), "text");
    assert_eq!(
        text(7),
        "\u{1}{\"a\":{\"z\":[1,2.5,true,{\"$numberDecimal\":\"1.5\"}]},\
         \"b\":{\"$date\":\"1970-01-01T00:00:00.001Z\"},\"other\":{\"$symbol\":\"s\"}}"
    );
}

#[test]
fn elements_have_a_rest_of_their_own() {
    let model = model();
    let mut rows = Rows::default();
    let plan = &model.collections[0].plan;
    plan.transform(&full(), &mut rows).unwrap();
    let others = |row| rows.field(row, 3).map(|bytes| bytes[1..].to_vec());
    // A scalar is taken by `.`, of a document its name.
    for (row, rest) in [(1, "{}"), (2, "{\"more\":1}"), (3, "{}")] {
        assert_eq!(others(row).as_deref(), Some(rest.as_bytes()), "row {row}");
    }
}

#[test]
fn text_that_is_no_utf8_is_refused_where_it_is_looked_at() {
    let model = model();
    let mut bytes = full().into_bytes();
    let at = bytes.windows(4).position(|w| w == b"text").unwrap();
    bytes[at] = 0xff;
    let document = RawDocument::from_bytes(&bytes).unwrap();
    assert_eq!(transform(&model, document), Err("malformed"));
    // Within `other`, which only the rest looks at.
    let mut bytes = full().into_bytes();
    let at = bytes.windows(2).rposition(|w| w == b"s\0").unwrap();
    bytes[at] = 0xff;
    let document = RawDocument::from_bytes(&bytes).unwrap();
    assert_eq!(transform(&model, document), Err("malformed"));
}

#[test]
fn the_first_field_of_a_name_counts_and_the_second_is_not_lost() {
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), 1);
    document.append(cstr!("b"), "first");
    document.append(cstr!("b"), "second");
    let found = transform(&model(), &document).unwrap();
    assert_eq!(found[1].as_deref(), Some("first"));
    assert_eq!(found[7].as_deref(), Some("\u{1}{\"b\":\"second\"}"));
    // `jsonb` would keep one of two.
    document.append(cstr!("c"), 1);
    document.append(cstr!("c"), 2);
    assert_eq!(transform(&model(), &document), Err("duplicate-name"));
}
