//! `on_delete: cascade` and `set-null`: through tables of their own, child tables and themselves.

use crate::world::{Made, World, delete, id, put};
use bson::{Document, doc};
use leafcutter_consumer::sink::work::Outcome;

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
    format!("right({column}, 2)")
}

async fn state(world: &World) -> Vec<String> {
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
        found.push(world.text(&sql).await);
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
        "0c",
        "16|null 19|null",
        "16|2 19|2",
        "1|19|null 2|19|0c",
        "1|0 2|0",
    ];
    assert_eq!(state(&world).await, expected);
    let lost = "select table_name, column_name, parent_table, on_delete, count(*) \
                from leafcutter.lost group by 1, 2, 3, 4 order by 1, 2, 3";
    let listed = "authors|house|houses|cascade|1 books|author|authors|cascade|1 \
                  books|house|houses|set-null|1 books|sequel_of|books|cascade|2 \
                  shelves|places.author|authors|set-null|1 shelves|places.book|books|cascade|1";
    assert_eq!(world.text(lost).await, listed);
    // Each keeps its own version, so that only what is older stays away.
    let tombstones = "select table_name, version from leafcutter.tombstones order by 1";
    let kept = "authors|2 books|3 books|3 books|3 houses|9";
    assert_eq!(world.text(tombstones).await, kept);
    // The house comes back, and what is read again with it.
    let again = [
        put("houses", 10, doc! { "_id": id(1) }),
        author(11, 1),
        book(21, 11, doc! {}),
        book(22, 12, doc! { "house": id(1) }),
        book(23, 12, doc! { "sequel_of": id(21) }),
    ];
    assert_eq!(world.each(&again).await, [Outcome::Applied; 5]);
    assert_eq!(world.text("select count(*) from books").await, "4");
    assert_eq!(
        world
            .text("select table_name from leafcutter.lost order by 1")
            .await,
        "books shelves shelves"
    );
    // What is deleted is not lost any more.
    world
        .each(&[delete("books", 11, 24), delete("shelves", 11, 31)])
        .await;
    assert_eq!(
        world.text("select count(*) from leafcutter.lost").await,
        "0"
    );
    world.end().await;
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
    assert_eq!(world.text("select count(*) from houses").await, "0");
    assert_eq!(state(&world).await, ["", "", "", "", ""]);
    assert_eq!(
        world.text("select count(*) from leafcutter.held").await,
        "0"
    );
    world.end().await;
}

/// In the source an author changes the house, and then the old house is deleted; of two partitions
/// the second was faster.
#[tokio::test]
async fn what_had_another_parent_before_the_delete_stays_with_all_below_it() {
    let mut world = library().await;
    let before = world.text("select count(*) from books").await;
    assert_eq!(world.each(&[delete("houses", 9, 1)]).await, [Outcome::Held]);
    let moved = put("authors", 8, doc! { "_id": id(11), "house": id(2) });
    assert_eq!(world.each(&[moved]).await, [Outcome::Applied]);
    assert_eq!(world.settle_at(9).await.let_go, 1);
    assert_eq!(
        world
            .text("select right(id, 2), right(house, 2) from authors order by 1")
            .await,
        "0b|02 0c|02"
    );
    assert_eq!(world.text("select count(*) from books").await, before);
    world.end().await;
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
    assert_eq!(
        world.text("select count(*) from leafcutter.held").await,
        "0"
    );
    world.end().await;
}

/// What forgets a parent, or lacks a row of its own, is as new as its document.
#[tokio::test]
async fn rows_that_change_with_a_parent_wait_for_it_too() {
    let mut world = library().await;
    let shelf =
        doc! { "_id": id(31), "places": [{ "book": id(22), "author": id(12), "marks": [] }] };
    world.each(&[put("shelves", 20, shelf)]).await;
    world.each(&[delete("books", 9, 22)]).await;
    let books = "select count(*) from books";
    assert_eq!(world.settle_at(19).await.let_go, 0);
    assert_eq!(world.text(books).await, "5");
    assert_eq!(world.settle_at(20).await.let_go, 1);
    assert_eq!(world.text(books).await, "4");
    assert_eq!(world.text("select count(*) from places").await, "0");
    world.end().await;
}
