//! Documents as no driver writes them: nothing panics, and no value is changed on the way.

use super::Rows;
use crate::ids::RowIndex;
use crate::model::Model;
use bson::{Bson, RawDocument, RawDocumentBuf, cstr, doc, oid::ObjectId, rawdoc};
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
        .map(|column| rows.field(RowIndex::new(0), column).map(text))
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
    let others = |row| {
        rows.field(RowIndex::new(row), 3)
            .map(|bytes| bytes[1..].to_vec())
    };
    // A scalar is taken by `.`, of a document its name.
    for (row, rest) in [(1, "{}"), (2, "{\"more\":1}"), (3, "{}")] {
        assert_eq!(others(row).as_deref(), Some(rest.as_bytes()), "row {row}");
    }
}

/// The document with the last byte of a text replaced by one that UTF-8 does not have.
fn latin1(document: &RawDocument, text: &[u8]) -> Vec<u8> {
    let mut bytes = document.as_bytes().to_vec();
    let at = bytes.windows(text.len()).rposition(|w| w == text).unwrap();
    bytes[at + text.len() - 1] = 0xe9;
    bytes
}

#[test]
fn text_that_is_no_utf8_is_refused_where_it_is_looked_at_and_the_field_is_named() {
    let model = model();
    let plan = &model.collections[0].plan;
    let mut named = rawdoc! { "_id": "cafe" };
    named.append(cstr!("b"), "text");
    let mut nested = rawdoc! { "_id": 1 };
    nested.append(cstr!("other"), rawdoc! { "list": [1, { "k": "cafe" }] });
    let mut field = rawdoc! { "_id": 1 };
    field.append(cstr!("cafe"), 1);
    for (document, text, path) in [
        (full(), "text", "a.y"),
        (full(), "s", "other"),
        (named, "cafe", "_id"),
        (nested.clone(), "cafe", "other.list.1.k"),
        (field, "cafe", "caf\u{fffd}"),
    ] {
        let bytes = latin1(&document, text.as_bytes());
        let document = RawDocument::from_bytes(&bytes).unwrap();
        let refused = plan.transform(document, &mut Rows::default()).unwrap_err();
        assert_eq!(
            (refused.code, refused.path.as_deref()),
            ("malformed", Some(path))
        );
        assert!(refused.message.contains("not UTF-8"), "{refused:?}");
    }
    // Of two, the one that the column has.
    let mut two = rawdoc! { "unmapped": { "deep": "cafe" } };
    two.append(cstr!("b"), "text");
    let bytes = latin1(&two, b"cafe");
    let bytes = latin1(RawDocument::from_bytes(&bytes).unwrap(), b"text");
    let document = RawDocument::from_bytes(&bytes).unwrap();
    let mut reason = plan.transform(document, &mut Rows::default()).unwrap_err();
    reason.path = Some("b".to_owned());
    assert_eq!(
        super::unreadable::named(reason, document).path.as_deref(),
        Some("b")
    );
    let key = latin1(&rawdoc! { "_id": "cafe" }, b"cafe");
    let root = plan.roots().next().unwrap();
    let refused = plan.root_key(root, RawDocument::from_bytes(&key).unwrap());
    assert_eq!(refused.unwrap_err().path.as_deref(), Some("_id"));
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

/// What `check` accepts as a constant, the plan can encode.
#[test]
fn a_constant_that_is_accepted_is_encoded() {
    let numbers = [
        "0",
        "-0",
        "1",
        "007",
        "+1",
        ".5",
        "1.",
        "NaN",
        "-infinity",
        "0.00",
    ];
    let exponents = [
        "",
        "e0",
        "E+5",
        "e-6176",
        "e6144",
        "e2147483647",
        "e-2147483648",
        "e99999999999",
    ];
    let texts = numbers
        .iter()
        .flat_map(|n| exponents.map(|e| format!("{n}{e}")));
    let others = [
        "",
        "true",
        "T",
        "y",
        "off",
        "{}",
        "[1, {\"a\": null}]",
        "\"x\"",
        "2024-02-29",
        "0001-01-01",
        "9999-12-31",
        "23:59",
        "23:59:59.999",
        "2024-02-29T23:59:59.999Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2024-02-29t23:59:59z",
        "2024-02-29 23:59:59Z",
        "24:00",
        "{6ba7b812-9dad-11d1-80b4-00c04fd430c8}",
        "6ba7b8129dad11d180b400c04fd430c8",
        "äöü",
        "\\x41",
    ];
    let texts: Vec<String> = texts.chain(others.map(str::to_owned)).collect();
    let types = [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "numeric",
        "numeric(6,2)",
        "text",
        "varchar(30)",
        "uuid",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "json",
        "jsonb",
        "integer array",
    ];
    let mut accepted = 0;
    for pg_type in types {
        for text in &texts {
            let constant = serde_json::to_string(text).unwrap();
            let mapping = format!(
                "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: id\n    columns:\n      \
                 id: {{ path: _id, type: uuid, convert: uuid-v5 }}\n      \
                 x: {{ type: \"{pg_type}\", constant: {constant} }}\n"
            );
            if let Ok(mapping) = parse::load(&mapping, "mapping.yaml") {
                accepted += 1;
                let compiled = Model::compile(mapping, "t");
                assert!(compiled.is_ok(), "{text} as {pg_type}: {compiled:?}");
            }
        }
    }
    assert!(accepted > 300, "{accepted}");
}
