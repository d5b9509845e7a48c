//! What it tells beside the rows, how it ends, and that it leaves nothing behind.

use crate::place::{Outcome, Place, Told};
use bson::{Document, doc};
use leafcutter_harness::topic;

const SHOP: &str = r#"
version: 1
database: shop
collections:
  people:
    table: people
    key: person_id
    columns:
      person_id: { path: _id, type: bigint }
      name: { type: varchar(5), invalid: truncate }
      email: { type: text, unique: true }
  books:
    table: books
    key: book_id
    where: { draft: missing }
    columns:
      book_id: { path: _id, type: bigint }
      owner: { type: bigint, references: { table: people } }
      lender: { type: bigint, references: { table: people, on_missing: null } }
      price: { type: "numeric(6,2)" }
      printed: { type: date, invalid: { wrong_type: null } }
    children:
      - table: book_readers
        from: readers
        key: [book_id, n]
        columns:
          book_id: { parent: book_id }
          n: { position: true, type: integer }
          person_id: { path: ., type: bigint, references: { table: people } }
  codes:
    table: codes
    key: [code]
    columns:
      code: { type: text, required: true }
      n: { type: integer }
"#;

fn people() -> [Document; 5] {
    [
        doc! { "_id": 1, "name": "Ada Lovelace", "email": "a@example.org", "age": 36 },
        doc! { "_id": 2, "name": "Bo\0", "email": "b@example.org", "home": { "city": "Turku" } },
        doc! { "_id": 3, "name": "Cy", "email": "b@example.org" },
        doc! { "_id": 4, "name": 5, "email": "d@example.org", "age": 1 },
        doc! { "_id": 5, "name": null, "email": 6 },
    ]
}

fn books() -> [Document; 6] {
    let noon = bson::DateTime::from_millis(43_200_000);
    [
        doc! { "_id": 1, "owner": 1, "lender": 1, "price": 1.25, "readers": [1, 2, 3] },
        doc! { "_id": 2, "owner": 1, "lender": 99, "price": 1.255, "printed": noon },
        // The person has the same address as another, and is not there.
        doc! { "_id": 3, "owner": 3 },
        // The person is rejected.
        doc! { "_id": 4, "owner": 5 },
        doc! { "_id": 5, "owner": 98, "readers": [1] },
        doc! { "_id": 6, "draft": true, "owner": 97 },
    ]
}

async fn shop(name: &str) -> Place {
    let place = Place::new(SHOP, name).await;
    place.insert("people", &people()).await;
    place.insert("books", &books()).await;
    let codes = [
        doc! { "_id": 1, "code": "a" },
        doc! { "_id": 2, "code": "a" },
    ];
    place.insert("codes", &codes).await;
    place
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_what_is_lost_is_told_and_comes_true() {
    let place = shop("shop").await;
    let said = place.dry_run(Told::Mongodb, &[]).ends_with(1);
    let words = [
        "1 of 5 documents, wrong-type in people.email, for example number:5",
        "3 rows, they wait, and become dead letters, for example number:3, number:4, number:5",
        "1 row, the reference becomes null, for example number:2",
        "book_readers.person_id (",
        "people.email (",
        "codes.code (",
        "people.name: 1 value, cut to the column's length, for example number:1",
        "people.name: 1 value, NUL characters taken out, for example number:2",
        "books.price: 1 value, rounded, for example number:2",
        "books.printed: 1 value, only the day, or only the time of day, is kept",
        "people: age in 2 of 5 documents",
        "people: home in 1 of 5 documents",
        "1 outside the filter",
        "Nothing was written.",
    ];
    words.into_iter().fold(said, |said, words| said.says(words));
    let report = place.report(Told::Mongodb, &[]);
    let said = Outcome::said(&report);
    place.comes_true(&said).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_looked_at_is_said() {
    let place = shop("parts").await;
    let some = ["--collection", "books"];
    place
        .dry_run(Told::Mongodb, &some)
        .ends_with(0)
        .says("its collection was not read");
    let part = ["--limit", "2", "--collection", "people"];
    place
        .dry_run(Told::Mongodb, &part)
        .ends_with(0)
        .says("2 of about 5 read");
    let sample = place.report(Told::Mongodb, &["--sample", "3"]);
    let people = &sample["collections"][0];
    assert_eq!(
        (&people["read"], &people["whole"]),
        (&3.into(), &false.into())
    );
    let owner = &sample["references"][0];
    assert_eq!(owner["not_looked"], "a part of its collection was read");
    assert_eq!(owner["rows"], 0);
    let few = ["--keys-max", "3"];
    place
        .dry_run(Told::Mongodb, &few)
        .ends_with(1)
        .says("given up: more keys than --keys-max");
    place.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_nothing_behind_and_names_what_is_in_the_way() {
    let place = shop("nothing").await;
    place.report(Told::Mongodb, &[]);
    let tables = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                  where n.nspname in ('public', 'leafcutter')";
    let tables: i64 = place
        .world
        .target
        .query_one(tables, &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(tables, 0);
    let reader = topic::reader(&place.world.place.stack.kafka()).unwrap();
    let topics = topic::list(&reader, &place.world.place.prefix).unwrap();
    assert!(topics.is_empty(), "{topics:?}");
    let names = place.world.source.list_collection_names().await.unwrap();
    assert_eq!(names.len(), 3, "{names:?}");

    let unknown = ["--collection", "book"];
    place
        .dry_run(Told::Mongodb, &unknown)
        .ends_with(2)
        .says("Known are");
    place
        .dry_run(Told::Mongodb, &["--from-topic"])
        .ends_with(2)
        .says("no broker is given");
    place
        .dry_run(Told::Kafka, &["--from-topic"])
        .ends_with(4)
        .says("Start the producer");
    place
        .dry_run(Told::Kafka, &[])
        .ends_with(3)
        .says("could not find the source");
    let both = ["--from-topic", "--sample", "3"];
    place.dry_run(Told::Kafka, &both).ends_with(2);
    place.leave().await;
}
