//! `on_delete: cascade` and `set-null`: through tables of their own, child tables and themselves.

use crate::world::{Made, World, delete, id, put};
use bson::{Document, doc};
use leafcutter_harness::{rows, rows::Rows};
use leafcutter_sink::change::Outcome;

const LIBRARY: &str = "
version: 1
database: library
collections:
  houses:
    table: houses
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      house: { type: text, convert: text, references: { table: houses, on_delete: cascade } }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      author: { type: text, convert: text, references: { table: authors, on_delete: cascade } }
      house: { type: text, convert: text, references: { table: houses, on_delete: set-null } }
      sequel_of: { type: text, convert: text, references: { table: books, on_delete: cascade } }
    children:
      - table: pages
        from: pages
        key: [id, n]
        columns: { id: { parent: id }, n: { position: true, type: integer } }
  loans:
    table: loans
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      book: { type: text, convert: text, references: { table: books, on_delete: hold } }
  shelves:
    table: shelves
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
    children:
      - table: places
        from: places
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          book: { type: text, convert: text, references: { table: books, on_delete: cascade } }
          author: { type: text, convert: text, references: { table: authors, on_delete: set-null } }
        children:
          - table: marks
            from: marks
            key: [id, n, m]
            columns:
              id: { parent: id }
              n: { parent: n }
              m: { position: true, type: integer }
";

fn house(number: u8) -> Made {
    put("houses", 1, doc! { "_id": id(number) })
}

fn author(number: u8, house: u8) -> Made {
    put("authors", 2, doc! { "_id": id(number), "house": id(house) })
}

fn book(number: u8, author: u8, more: Document) -> Made {
    let mut book = doc! { "_id": id(number), "author": id(author), "pages": [1, 2] };
    book.extend(more);
    put("books", 3, book)
}

async fn library() -> World {
    let mut world = World::with(LIBRARY).await;
    let place = |book, author| doc! { "book": id(book), "author": id(author), "marks": ["x"] };
    let records = [
        house(1),
        house(2),
        author(11, 1),
        author(12, 2),
        book(21, 11, doc! {}),
        book(22, 12, doc! { "house": id(1) }),
        book(23, 12, doc! { "sequel_of": id(21) }),
        book(24, 12, doc! { "sequel_of": id(23) }),
        book(25, 12, doc! {}),
        put(
            "shelves",
            4,
            doc! { "_id": id(31), "places": [place(21, 12), place(25, 11), place(25, 12)] },
        ),
    ];
    let outcomes = world.each(&records).await;
    assert_eq!(outcomes, [Outcome::Applied; 10]);
    world
}

/// The last two digits of ids, in order.
fn short(column: &str) -> String {
    format!("right({column}, 2) as {column}")
}

async fn state(world: &World) -> Vec<Rows> {
    let mut found = Vec::new();
    for sql in [
        format!("select {} from authors order by 1", short("id")),
        format!(
            "select {}, {} from books order by 1",
            short("id"),
            short("house")
        ),
        format!(
            "select {}, count(*) from pages group by 1 order by 1",
            short("id")
        ),
        format!(
            "select n, {}, {} from places order by 1",
            short("book"),
            short("author")
        ),
        "select n, m from marks order by 1, 2".to_owned(),
    ] {
        found.push(world.rows(&sql).await);
    }
    found
}

#[tokio::test]
async fn rows_go_with_what_they_point_to() {
    let mut world = library().await;
    let before = state(&world).await;
    // House 1 takes author 0b (11) along, who takes book 15 (21) along, and its sequels 17 and 18;
    // but not before all that happened until then is applied.
    assert_eq!(world.each(&[delete("houses", 9, 1)]).await, [Outcome::Held]);
    assert_eq!(world.settle().await.let_go, 0);
    assert_eq!(world.settle_at(8).await.let_go, 0);
    assert_eq!(state(&world).await, before);
    assert_eq!(world.settle_at(9).await.let_go, 1);
    let expected = [
        rows![{ id: "0c" }],
        rows![{ id: "16", house: null }, { id: "19", house: null }],
        rows![{ id: "16", count: 2 }, { id: "19", count: 2 }],
        rows![
            { n: 1, book: "19", author: null },
            { n: 2, book: "19", author: "0c" },
        ],
        rows![{ n: 1, m: 0 }, { n: 2, m: 0 }],
    ];
    assert_eq!(state(&world).await, expected);
    let lost = "select table_name, column_name, parent_table, on_delete, count(*) \
                from leafcutter.cascaded_rows group by 1, 2, 3, 4 order by 1, 2, 3";
    let listed = rows![
        { table_name: "authors", column_name: "house", parent_table: "houses", on_delete: "cascade", count: 1 },
        { table_name: "books", column_name: "author", parent_table: "authors", on_delete: "cascade", count: 1 },
        { table_name: "books", column_name: "house", parent_table: "houses", on_delete: "set-null", count: 1 },
        { table_name: "books", column_name: "sequel_of", parent_table: "books", on_delete: "cascade", count: 2 },
        { table_name: "shelves", column_name: "places.author", parent_table: "authors", on_delete: "set-null", count: 1 },
        { table_name: "shelves", column_name: "places.book", parent_table: "books", on_delete: "cascade", count: 1 },
    ];
    assert_eq!(world.rows(lost).await, listed);
    // Each keeps its own version, so that only what is older stays away.
    let tombstones = "select table_name, version from leafcutter.tombstones \
                      where table_name not like '% by key' order by 1";
    let kept = rows![
        { table_name: "authors", version: 2 },
        { table_name: "books", version: 3 },
        { table_name: "books", version: 3 },
        { table_name: "books", version: 3 },
        { table_name: "houses", version: 9 },
    ];
    assert_eq!(world.rows(tombstones).await, kept);
    // The house comes back, and what is read again with it.
    let again = [
        put("houses", 10, doc! { "_id": id(1) }),
        author(11, 1),
        book(21, 11, doc! {}),
        book(22, 12, doc! { "house": id(1) }),
        book(23, 12, doc! { "sequel_of": id(21) }),
    ];
    assert_eq!(world.each(&again).await, [Outcome::Applied; 5]);
    assert_eq!(world.count("books").await, 4);
    assert_eq!(
        world
            .rows("select table_name from leafcutter.cascaded_rows order by 1")
            .await,
        rows![
            { table_name: "books" },
            { table_name: "shelves" },
            { table_name: "shelves" },
        ]
    );
    // What is deleted is not lost any more.
    world
        .each(&[delete("books", 11, 24), delete("shelves", 11, 31)])
        .await;
    assert_eq!(world.count("leafcutter.cascaded_rows").await, 0);
}

#[tokio::test]
async fn a_row_that_is_held_holds_all_that_it_would_go_with() {
    let mut world = library().await;
    let before = state(&world).await;
    let loan = put("loans", 5, doc! { "_id": id(41), "book": id(24) });
    world.each(&[loan]).await;
    assert_eq!(world.each(&[delete("houses", 9, 1)]).await, [Outcome::Held]);
    assert_eq!(state(&world).await, before);
    assert_eq!(world.settle_at(9).await.let_go, 0);
    // Two at once that would take the same rows along.
    let two = [delete("houses", 9, 2), delete("authors", 9, 11)];
    world.apply(&two).await.unwrap();
    assert_eq!(state(&world).await, before);
    world.each(&[delete("loans", 10, 41)]).await;
    world.settle_at(10).await;
    world.settle_at(10).await;
    assert_eq!(world.count("houses").await, 0);
    assert_eq!(state(&world).await, vec![rows![]; 5]);
    assert_eq!(world.count("leafcutter.held").await, 0);
}

/// In the source an author changes the house, and then the old house is deleted; of two partitions
/// the second was faster.
#[tokio::test]
async fn what_had_another_parent_before_the_delete_stays_with_all_below_it() {
    let mut world = library().await;
    let before = world.count("books").await;
    assert_eq!(world.each(&[delete("houses", 9, 1)]).await, [Outcome::Held]);
    let moved = put("authors", 8, doc! { "_id": id(11), "house": id(2) });
    assert_eq!(world.each(&[moved]).await, [Outcome::Applied]);
    assert_eq!(world.settle_at(9).await.let_go, 1);
    assert_eq!(
        world
            .rows("select right(id, 2) as id, right(house, 2) as house from authors order by 1")
            .await,
        rows![{ id: "0b", house: "02" }, { id: "0c", house: "02" }]
    );
    assert_eq!(world.count("books").await, before);
}

/// In the source a house is deleted and comes back, and an author moves in; the author was faster.
#[tokio::test]
async fn what_points_to_a_parent_that_comes_back_stays() {
    let mut world = library().await;
    assert_eq!(world.each(&[delete("houses", 9, 1)]).await, [Outcome::Held]);
    let moved = put("authors", 11, doc! { "_id": id(12), "house": id(1) });
    assert_eq!(world.each(&[moved]).await, [Outcome::Applied]);
    let all = state(&world).await;
    // Author 0b could go, author 0c is newer than what is known, and so the house stays.
    assert_eq!(world.settle_at(10).await.let_go, 0);
    assert_eq!(state(&world).await, all);
    let back = put("houses", 10, doc! { "_id": id(1) });
    assert_eq!(world.each(&[back]).await, [Outcome::Applied]);
    assert_eq!(world.settle_at(12).await.let_go, 0);
    assert_eq!(state(&world).await, all);
    assert_eq!(world.count("leafcutter.held").await, 0);
}

/// What forgets a parent, or lacks a row of its own, is as new as its document.
#[tokio::test]
async fn rows_that_change_with_a_parent_wait_for_it_too() {
    let mut world = library().await;
    let shelf =
        doc! { "_id": id(31), "places": [{ "book": id(22), "author": id(12), "marks": [] }] };
    world.each(&[put("shelves", 20, shelf)]).await;
    world.each(&[delete("books", 9, 22)]).await;
    assert_eq!(world.settle_at(19).await.let_go, 0);
    assert_eq!(world.count("books").await, 5);
    assert_eq!(world.settle_at(20).await.let_go, 1);
    assert_eq!(world.count("books").await, 4);
    assert_eq!(world.count("places").await, 0);
}

/// A trigger, or a rule, that swallows a part of what goes, or changes, with a deleted row. All of it stays; what
/// another delete takes along goes.
#[tokio::test]
async fn what_the_target_keeps_of_it_holds_the_row_with_all_that_goes() {
    let old = format!("right(old.id, 2) = '{:02x}'", 21);
    let cases = [
        ("books", "delete", &*old, "null"),
        ("pages", "delete", &*old, "null"),
        ("authors", "delete", "right(old.id, 2) = '0b'", "null"),
        ("books", "update", "old.house is not null", "null"),
        ("books", "update", "old.house is not null", "old"),
        ("places", "delete", "old.n = 0", "null"),
        ("marks", "delete", "old.n = 0", "null"),
        ("places", "update", "old.n = 1", "null"),
        ("houses", "delete", "right(old.id, 2) = '01'", "null"),
        ("books", "rule", &*old, ""),
    ];
    for (table, event, condition, result) in cases {
        let mut world = library().await;
        world.each(&[house(3), author(13, 3)]).await;
        // Tables that were there before may have no foreign keys.
        world.execute_all(WITHOUT_FOREIGN_KEYS).await;
        world
            .execute_all(&if event == "rule" {
                format!("create rule stay as on delete to {table} where {condition} do instead nothing")
            } else {
                format!(
                    "create function keep() returns trigger language plpgsql as $$ begin \
                     if {condition} then return {result}; end if; \
                     if tg_op = 'DELETE' then return old; end if; return new; end $$; \
                     create trigger keep before {event} on {table} for each row execute function keep()"
                )
            })
            .await;
        let before = texts(&world).await;
        let deletes = [delete("houses", 9, 1), delete("houses", 9, 3)];
        assert_eq!(world.each(&deletes).await, [Outcome::Held; 2]);
        let case = format!("{event} {table} {result}");
        assert_eq!(world.settle_at(9).await.let_go, 1, "{case}");
        let mut without = before.clone();
        without[0] = "0b 0c".to_owned();
        assert_eq!(texts(&world).await, without, "{case}");
        let held = "select encode(row_key, 'escape') ~ '01$' from leafcutter.held";
        assert_eq!(world.text(held).await, "t", "{case}");
        let gone = "select table_name, count(*) from leafcutter.tombstones \
                    where table_name not like '% by key' group by 1 order by 1";
        assert_eq!(world.text(gone).await, "authors|1 houses|2", "{case}");
    }
}

const WITHOUT_FOREIGN_KEYS: &str = "\
    do $$ declare k record; begin for k in select conrelid::regclass as t, conname from pg_constraint \
    where contype = 'f' loop execute format('alter table %s drop constraint %I', k.t, k.conname); \
    end loop; end $$";

async fn texts(world: &World) -> Vec<String> {
    state(world).await.iter().map(Rows::text).collect()
}
