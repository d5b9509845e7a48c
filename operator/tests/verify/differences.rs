//! Every kind of difference is found, and named by what it is, while a producer and a consumer run and the
//! source is written to; and nothing else is.

use crate::place::{Place, Said};
use bson::{Bson, doc};
use std::collections::BTreeSet;

/// One column of every type, a positional child table, and a reference.
pub(crate) const MAPPING: &str = r#"version: 1
database: shop
collections:
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      name: { type: text, required: true }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      author_id: { path: author, type: uuid, convert: uuid-v5, references: { table: authors } }
      n: { path: _id, type: integer }
      c_boolean: { path: yes, type: boolean }
      c_smallint: { path: whole, type: smallint }
      c_integer: { path: whole, type: integer }
      c_bigint: { path: whole, type: bigint }
      c_real: { path: part, type: real }
      c_double: { path: part, type: double precision }
      c_numeric: { path: part, type: numeric }
      c_limited: { path: part, type: "numeric(8,2)" }
      c_text: { path: text, type: text }
      c_varchar: { path: text, type: varchar(20) }
      c_uuid: { path: uuid, type: uuid }
      c_bytea: { path: bytes, type: bytea }
      c_date: { path: at, type: date }
      c_time: { path: at, type: time }
      c_timestamp: { path: at, type: timestamp }
      c_timestamptz: { path: at, type: timestamptz }
      c_json: { path: inner, type: json }
      c_jsonb: { path: inner, type: jsonb }
      c_texts: { path: texts, type: text array }
      c_integers: { path: integers, type: integer array }
    children:
      - table: book_tags
        from: tags
        key: [book_id, position]
        columns:
          book_id: { parent: id }
          position: { position: true, type: integer }
          tag: { path: ., type: text }
"#;

/// What is changed, for each type: the column, and an expression for another value.
const CHANGES: [(&str, &str); 20] = [
    ("c_boolean", "not c_boolean"),
    ("c_smallint", "c_smallint + 1"),
    ("c_integer", "c_integer + 1"),
    ("c_bigint", "c_bigint + 1"),
    ("c_real", "c_real + 0.5"),
    ("c_double", "c_double + 1e-12"),
    ("c_numeric", "c_numeric + 0.000000000000000000001"),
    ("c_limited", "c_limited + 0.01"),
    ("c_text", "c_text || ' '"),
    ("c_varchar", "upper(c_varchar)"),
    ("c_uuid", "gen_random_uuid()"),
    ("c_bytea", "c_bytea || '\\x00'::bytea"),
    ("c_date", "c_date + 1"),
    ("c_time", "c_time + interval '1 microsecond'"),
    ("c_timestamp", "c_timestamp + interval '1 microsecond'"),
    ("c_timestamptz", "c_timestamptz - interval '1 microsecond'"),
    ("c_json", "'{\"a\": 1, \"b\": [\"x\", 2]}'"),
    ("c_jsonb", "jsonb_set(c_jsonb, '{b,1}', '3')"),
    ("c_texts", "array_append(c_texts, null)"),
    ("c_integers", "array[2, 1]"),
];

pub(crate) fn book(n: i32) -> bson::Document {
    doc! {
        "_id": n, "author": n % 20, "yes": true, "whole": n % 1000, "part": 12.25,
        "text": format!("book {n}"), "uuid": bson::Uuid::from_bytes([7; 16]),
        "bytes": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1, 2] },
        "at": bson::DateTime::from_millis(1_736_937_000_500 + i64::from(n)),
        "inner": { "b": ["x", 2.5], "a": 1 }, "texts": ["a", Bson::Null, "b c"], "integers": [1, 2],
        "tags": [format!("first {n}"), "second", "third"],
    }
}

/// What was found, each as kind, table and column, with how often it was.
fn found(said: &Said) -> BTreeSet<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let lines = said.lines();
    let all = lines
        .iter()
        .map(|d| (text(&d["kind"]), text(&d["table"]), text(&d["column"])));
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_difference_is_found_while_both_sides_are_written_to() {
    let place = Place::new(MAPPING, "differences").await;
    for n in 0..20 {
        place
            .insert("authors", doc! { "_id": n, "name": format!("author {n}") })
            .await;
    }
    place.insert_many("books", (0..400).map(book)).await;
    place.start().await;
    place.until("select count(*) from books", "400").await;
    let traffic = place.traffic("books", 200..400);

    place.verify(&[]).ends_with(0).says("Clean:");
    // Each change on a row that nobody else writes.
    let mut expected = BTreeSet::new();
    let mut add = |kind: &str, table: &str, column: &str| {
        expected.insert((kind.to_owned(), table.to_owned(), column.to_owned()));
    };
    for (n, (column, value)) in CHANGES.iter().enumerate() {
        place
            .execute(&format!(
                "update books set {column} = {value} where n = {n}"
            ))
            .await;
        add("value", "books", column);
    }
    let of = |n: i32| format!("(select id from books where n = {n})");
    place
        .execute(&format!("delete from book_tags where book_id = {}", of(50)))
        .await;
    place.execute("delete from books where n = 50").await;
    add("missing-row", "books", "");
    place
        .execute(
            "insert into books (id, n, lc_version) select gen_random_uuid(), -1, lc_version from books where n = 51",
        )
        .await;
    add("extra-row", "books", "");
    place
        .execute(&format!(
            "delete from book_tags where book_id = {} and position = 1",
            of(52)
        ))
        .await;
    add("missing-child", "book_tags", "");
    place
        .execute(&format!(
            "insert into book_tags values ({}, 3, 'fourth')",
            of(53)
        ))
        .await;
    add("extra-child", "book_tags", "");
    place
        .execute(&format!(
            "update book_tags set position = 10 - position where book_id = {0}; \
             update book_tags set position = position - 8 where book_id = {0}",
            of(54)
        ))
        .await;
    add("value", "book_tags", "tag");
    place
        .execute(
            "update books set author_id = (select author_id from books where n = 56) where n = 55",
        )
        .await;
    add("value", "books", "author_id");
    let said = place.verify(&["--show", "100"]).ends_with(1);
    assert_eq!(found(&said), expected, "{}", said.out);
    let text = said.says("difference").says("book 8");
    // Two sides of a value are shown.
    assert!(
        text.out.contains("source") && text.out.contains("target"),
        "{}",
        text.out
    );
    // Sent again, and verified once more.
    place.verify(&["--repair"]).ends_with(0).says("Clean:");
    traffic.stop().await;

    // A row that is kept for references that there are not. A consumer would take it away.
    place.stop_consumer().await;
    place
        .execute(
            "insert into authors (id, name, lc_version) select '00000000-0000-0000-0000-000000000001', 'x', \
             max(lc_version) from authors; insert into leafcutter.held select 'authors', uuid_send(id), \
             lc_version from authors where name = 'x'",
        )
        .await;
    let said = place
        .verify(&["--collection", "authors", "--patience", "3s"])
        .ends_with(1);
    let held = ("held".to_owned(), "authors".to_owned(), String::new());
    assert_eq!(found(&said), BTreeSet::from([held]), "{}", said.out);
    place
        .execute("update books set author_id = '00000000-0000-0000-0000-000000000001' where n = 60")
        .await;
    let said = place
        .verify(&["--collection", "authors", "--patience", "3s"])
        .ends_with(0);
    said.says("1 rows kept: still referenced");
    place.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_refused_or_wait_are_named_and_nothing_is_wrong() {
    let place = Place::new(MAPPING, "named").await;
    for n in 0..20 {
        place
            .insert("authors", doc! { "_id": n, "name": format!("author {n}") })
            .await;
    }
    place
        .insert("authors", doc! { "_id": 20, "name": Bson::Null })
        .await;
    place.insert_many("books", (0..30).map(book)).await;
    let mut wrong = book(30);
    wrong.insert("whole", "seven");
    place.insert("books", wrong).await;
    let mut orphan = book(31);
    orphan.insert("author", 999);
    place.insert("books", orphan).await;
    place.start().await;
    place.until("select count(*) from books", "30").await;
    place
        .until(
            "select count(*) from leafcutter.dead_letters where state = 'open'",
            "3",
        )
        .await;

    let said = place.verify(&[]).ends_with(0);
    said.says("Clean:")
        .says("rejected, with their dead letters: missing")
        .says("rejected, with their dead letters: wrong-type")
        .says("rejected, with their dead letters: orphan");
    let json = place.verify_json(&["--collection", "books"]);
    assert_eq!(json["verdict"], "clean");
    assert_eq!(json["collections"][0]["rejected"]["wrong-type"], 1);
    assert_eq!(json["collections"][0]["same"], 30);
    assert_eq!(json["collections"][0]["children"], 90);

    // Refused, and nobody says so; and a document that is refused though it need not be.
    place
        .execute("update leafcutter.dead_letters set state = 'retried' where reason = 'missing'")
        .await;
    place.execute("update leafcutter.dead_letters set reason = 'too-long', stage = 'transform' where reason = 'orphan'").await;
    let said = place.verify(&[]).ends_with(1);
    let kinds: BTreeSet<String> = found(&said).into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(
        kinds,
        BTreeSet::from(["not-refused".to_owned(), "refused".to_owned()]),
        "{}",
        said.out
    );
    place.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_constraint_holds_is_looked_at() {
    let place = Place::new(MAPPING, "integrity").await;
    for n in 0..20 {
        place
            .insert("authors", doc! { "_id": n, "name": format!("author {n}") })
            .await;
    }
    place.insert_many("books", (0..30).map(book)).await;
    place.start().await;
    place.until("select count(*) from books", "30").await;
    place.verify(&["--counts-only"]).ends_with(0);
    place
        .execute(
            "alter table books drop constraint if exists books_author_id_fkey; \
             alter table authors alter name drop not null; alter table authors drop constraint authors_pkey cascade; \
             create index on authors (id)",
        )
        .await;
    place
        .execute("update books set author_id = gen_random_uuid() where n = 1")
        .await;
    place
        .execute("update authors set name = null where name = 'author 2'")
        .await;
    place
        .execute("insert into authors select * from authors where name = 'author 3'")
        .await;
    let said = place.verify(&[]).ends_with(1);
    let found = found(&said);
    for (kind, table, column) in [
        ("orphan", "books", "author_id"),
        ("null", "authors", "name"),
        ("twice", "authors", "id"),
    ] {
        let wanted = (kind.to_owned(), table.to_owned(), column.to_owned());
        assert!(found.contains(&wanted), "no {kind} in {}", said.out);
    }
    place
        .execute("delete from book_tags where book_id = (select id from books where n = 4); delete from books where n = 4")
        .await;
    place
        .verify(&["--counts-only"])
        .ends_with(1)
        .says("do not fit");
    place.close().await;
}
