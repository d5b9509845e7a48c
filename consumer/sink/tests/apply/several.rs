//! One collection into several tables by condition.

use crate::world::{Made, World, delete, id, put};
use bson::{Document, doc};
use leafcutter_harness::{rows, rows::Rows};
use leafcutter_sink::change::Outcome;

const THINGS: &str = "
version: 1
database: shop
collections:
  makers:
    table: makers
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  things:
    tables:
      - table: books
        where: { kind: [book, both] }
        key: id
        columns:
          id: { path: _id, type: text, convert: text }
          pages: { type: integer }
          maker: { type: text, convert: text, references: { table: makers } }
        children:
          - table: chapters
            from: chapters
            key: [id, n]
            columns: { id: { parent: id }, n: { position: true, type: integer }, title: { path: ., type: text } }
      - table: films
        where: { kind: [film, both] }
        key: id
        columns:
          id: { path: _id, type: text, convert: text }
          minutes: { type: integer }
          maker: { type: text, convert: text, references: { table: makers } }
";

fn thing(version: i64, kind: &str, more: Document) -> Made {
    let mut thing =
        doc! { "_id": id(1), "kind": kind, "pages": 10, "minutes": 90, "chapters": ["a", "b"] };
    thing.extend(more);
    put("things", version, thing)
}

const STATE: &str = "select (select count(*) from books) as books, (select count(*) from chapters) as chapters, \
                     (select count(*) from films) as films";

/// Whether records are counted once each; how many waited, and how many wait now.
async fn accounts(world: &World) -> Rows {
    let counted = "select sum(next_offset) = sum(applied + unchanged + stale + deleted + held + filtered \
                   + parked + ignored + dead_lettered) as counted_once, sum(parked) as parked, \
                   (select count(distinct \"offset\") from leafcutter.parked where not incomplete) \
                   as waiting from leafcutter.offsets";
    world.rows(counted).await
}

#[tokio::test]
async fn a_document_is_in_the_tables_whose_conditions_it_meets() {
    let mut world = World::with(THINGS).await;
    let records = [
        thing(1, "book", doc! {}),
        thing(2, "both", doc! {}),
        thing(2, "both", doc! {}),
        thing(3, "film", doc! {}),
        thing(2, "book", doc! {}),
        thing(4, "none", doc! {}),
        thing(4, "none", doc! {}),
        thing(3, "both", doc! {}),
        thing(5, "both", doc! {}),
        delete("things", 6, 1),
        delete("things", 6, 1),
    ];
    let states = [
        rows![{ books: 1, chapters: 2, films: 0 }],
        rows![{ books: 1, chapters: 2, films: 1 }],
        rows![{ books: 1, chapters: 2, films: 1 }],
        rows![{ books: 0, chapters: 0, films: 1 }],
        rows![{ books: 0, chapters: 0, films: 1 }],
        rows![{ books: 0, chapters: 0, films: 0 }],
        rows![{ books: 0, chapters: 0, films: 0 }],
        rows![{ books: 0, chapters: 0, films: 0 }],
        rows![{ books: 1, chapters: 2, films: 1 }],
        rows![{ books: 0, chapters: 0, films: 0 }],
        rows![{ books: 0, chapters: 0, films: 0 }],
    ];
    let expected = [
        Outcome::Applied,
        Outcome::Applied,
        Outcome::Unchanged,
        Outcome::Applied,
        Outcome::Stale,
        Outcome::Filtered,
        Outcome::Unchanged,
        Outcome::Stale,
        Outcome::Applied,
        Outcome::Deleted,
        Outcome::Unchanged,
    ];
    for ((record, state), outcome) in records.iter().zip(states).zip(expected) {
        let told = world.each(std::slice::from_ref(record)).await;
        assert_eq!(told, [outcome]);
        assert_eq!(world.rows(STATE).await, state);
    }
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 0, waiting: 0 }]
    );
}

/// All in one batch: every record has one outcome.
#[tokio::test]
async fn records_of_one_batch_are_counted_once() {
    let mut world = World::with(THINGS).await;
    let batch = [
        thing(1, "book", doc! {}),
        thing(2, "film", doc! {}),
        put("things", 1, doc! { "_id": id(2), "kind": "both" }),
    ];
    let applied = world.apply(&batch).await.unwrap();
    let counts = applied.counts.values().next().unwrap();
    assert_eq!(counts.total(), 3);
    assert_eq!(counts.of(Outcome::Stale), 1);
    assert_eq!(counts.of(Outcome::Applied), 2);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ books: 1, chapters: 0, films: 2 }]
    );
}

/// It waits in both tables, and is settled when it waits in none.
#[tokio::test]
async fn a_document_that_waits_in_two_tables_is_one_record() {
    let mut world = World::with(THINGS).await;
    let by = |version| thing(version, "both", doc! { "maker": id(9) });
    assert_eq!(world.each(&[by(1)]).await, [Outcome::Parked]);
    let parked = "select table_name from leafcutter.parked order by 1";
    assert_eq!(
        world.rows(parked).await,
        rows![{ table_name: "books" }, { table_name: "films" }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 1, waiting: 1 }]
    );
    // One of them first, as if the other were worked on.
    world
        .execute("update leafcutter.parked set wait_key = '\\x00' where table_name = 'films'")
        .await;
    let maker = |version| put("makers", version, doc! { "_id": id(9) });
    world.each(&[maker(2)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ books: 1, chapters: 2, films: 0 }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 1, waiting: 1 }]
    );
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ books: 1, chapters: 2, films: 1 }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 1, waiting: 0 }]
    );
    // Overtaken, both at once; and placed, both at once.
    world
        .each(&[delete("things", 3, 1), delete("makers", 3, 9)])
        .await;
    world.each(&[by(4), by(5)]).await;
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 3, waiting: 1 }]
    );
    world.each(&[maker(6)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ books: 1, chapters: 2, films: 1 }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked: 3, waiting: 0 }]
    );
}

/// What fits one table and not the other is refused as a whole.
#[tokio::test]
async fn a_document_is_refused_by_all_tables_or_none() {
    let mut world = World::with(THINGS).await;
    let bad = thing(1, "both", doc! { "minutes": "long" });
    assert_eq!(world.each(&[bad]).await, [Outcome::DeadLettered]);
    assert_eq!(
        world.rows(STATE).await,
        rows![{ books: 0, chapters: 0, films: 0 }]
    );
    let letters = "select table_name, column_name, state from leafcutter.dead_letters";
    assert_eq!(
        world.rows(letters).await,
        rows![{ table_name: "books", column_name: "minutes", state: "open" }]
    );
    // Outside the filter of the table that it does not fit it is no matter.
    let fine = thing(2, "book", doc! { "minutes": "long" });
    assert_eq!(world.each(&[fine]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows(letters).await,
        rows![{ table_name: "books", column_name: "minutes", state: "superseded" }]
    );
}
