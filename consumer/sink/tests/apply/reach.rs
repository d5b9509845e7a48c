//! What a batch reaches: the rows that it names, whatever the target is, and no more of a table than that, whatever
//! its statements were planned for.

mod meanwhile;

use crate::{
    database,
    world::{Made, World, delete_by, put},
};
use bson::{Document, doc};
use leafcutter_harness::{probe, rows};
use std::time::Duration;

const MAPPING: &str = "
version: 1
database: shop
collections:
  groups:
    table: groups
    key: id
    columns: { id: { path: _id, type: bigint }, name: { type: text } }
  lists:
    table: lists
    key: id
    unique: [[code]]
    columns:
      id: { path: _id, type: bigint }
      code: { type: text }
      group_id: { path: group, type: bigint, references: { table: groups } }
    children:
      - table: items
        from: items
        key: [list_id, n]
        columns:
          list_id: { parent: id }
          n: { position: true, type: integer }
          group_id: { path: ., type: bigint, references: { table: groups } }
";

/// A list of this group whose items name it, too.
fn list(version: i64, id: i64, group: i64, items: usize) -> Made {
    let items = vec![group; items];
    let document = doc! { "_id": id, "code": format!("c{id}"), "group": group, "items": items };
    put("lists", version, document)
}

fn group(version: i64, id: i64) -> Made {
    let document: Document = doc! { "_id": id, "name": "g" };
    put("groups", version, document)
}

/// Two rows of two partitions, or of a table and its heir, may have one place (`ctid`).
#[tokio::test]
async fn rows_of_partitions_and_heirs_with_one_place_are_told_apart() {
    let items = "items (list_id bigint, n integer, group_id bigint, primary key (list_id, n))";
    let partitions = format!(
        "create table {items} partition by list (list_id); \
         create table items_1 partition of items for values in (1); \
         create table items_2 partition of items for values in (2)"
    );
    let heirs = format!(
        "create table {items}; create table items_2 () inherits (items); \
         insert into items_2 values (2, 0, 1), (2, 1, 1)"
    );
    for (before, others) in [(partitions, true), (heirs, false)] {
        let mut world = World::prepared(MAPPING, &before).await;
        world.write(&[group(1, 1), list(1, 1, 1, 2)]).await;
        if others {
            world.write(&[list(1, 2, 1, 2)]).await;
        }
        let places = "select tableoid::regclass::text as table, ctid::text as place \
                      from items where list_id = 2 order by 2";
        let of_others = world.rows(places).await;
        let own = "select list_id, n from items order by 1, 2";
        let kept = rows![{ list_id: 1, n: 0 }, { list_id: 2, n: 0 }, { list_id: 2, n: 1 }];
        world.write(&[list(2, 1, 1, 1)]).await;
        assert_eq!(world.rows(own).await, kept, "{before}");
        world.write(&[delete_by("lists", 3, 1i64)]).await;
        let kept = rows![{ list_id: 2, n: 0 }, { list_id: 2, n: 1 }];
        assert_eq!(world.rows(own).await, kept, "{before}");
        assert_eq!(world.rows(places).await, of_others, "{before}");
    }
}

/// Rows that each table has, and those that a batch of six may read of it.
const FILLED: i64 = 20_000;
const READ_MAX: i64 = 300;

/// Rows that were read of a table, and entries of its indexes.
const READ: &str = "
select coalesce(sum(t.seq_tup_read), 0)::bigint
     + coalesce(sum((select sum(i.idx_tup_read) from pg_stat_user_indexes i where i.relid = t.relid)), 0)::bigint
from pg_stat_user_tables t where t.schemaname = 'public' and t.relname = ";

/// A session tells PostgreSQL's statistics what it did when it ends, at the latest.
async fn until_told(world: &World, table: &str, what: &str, least: i64) {
    let sql = format!(
        "select {what} from pg_stat_user_tables where schemaname = 'public' and relname = '{table}'"
    );
    let told = probe::until(Duration::from_secs(60), "the statistics", async || {
        let seen: i64 = world.rows(&sql).await.only().parse().unwrap();
        Ok((seen >= least).then_some(()))
    });
    told.await.unwrap();
}

/// The writer and the settling task tell the statistics now what they have read.
async fn tell(world: &mut World) {
    for connection in [world.writer.connection(), world.settler.connection()] {
        let session = connection.session().await.unwrap();
        // At the end of the transaction in which it is asked for.
        let asked = session.batch("select pg_stat_force_next_flush()").await;
        asked.unwrap();
    }
}

/// Tables that are filled behind the back of plans that were made while they were empty.
struct Filled<'a> {
    fill: &'a str,
    tables: &'a [&'a str],
    /// A table that is changed by each batch, and how often.
    changed: (&'a str, i64),
}

/// Plans are kept: one that was made while a table was empty has to serve, as has one that was made of a full one.
/// `changes` gives a batch with the ids from a first one on.
async fn reads_little(
    world: &mut World,
    filled: &Filled<'_>,
    changes: impl Fn(i64, i64) -> Vec<Made>,
    left: impl Fn(i64) -> Vec<(String, usize)>,
) {
    world.execute_all(filled.fill).await;
    for &table in filled.tables {
        until_told(world, table, "n_tup_ins", FILLED - 100).await;
    }
    for (version, planned) in [
        (10, "while the tables were empty"),
        (20, "after an analysis"),
    ] {
        if version > 10 {
            world.execute_all("analyze").await;
        }
        tell(world).await;
        world.execute_all("select pg_stat_reset()").await;
        let first = 100 * version;
        world.write(&changes(version, first)).await;
        world.settle_at(version).await;
        tell(world).await;
        let (table, count) = filled.changed;
        until_told(world, table, "n_tup_upd + n_tup_del", count).await;
        for table in filled.tables {
            let sql = format!("{READ}'{table}'");
            let read: i64 = world.rows(&sql).await.only().parse().unwrap();
            assert!(read < READ_MAX, "planned {planned}: {read} of {table}");
        }
        for (rows, count) in left(first) {
            assert_eq!(world.count(&rows).await, count, "planned {planned}: {rows}");
        }
    }
}

#[tokio::test]
async fn a_batch_reads_what_it_names_and_no_table_whole() {
    let mut world = World::with(MAPPING).await;
    // Each statement is planned while the tables are empty. A missing parent lets the next batches look first.
    let first = [
        group(1, 1),
        list(1, 1, 1, 3),
        list(1, 2, 1, 3),
        list(1, 3, 99, 1),
    ];
    world.write(&first).await;
    world
        .write(&[list(2, 1, 1, 1), delete_by("lists", 2, 2i64)])
        .await;
    let filled = Filled {
        fill: "
            insert into groups (id, name, lc_version) select i, 'g', 1 from generate_series(100, 20000) i;
            insert into lists (id, code, group_id, lc_version)
              select i, 'c' || i, i, 1 from generate_series(100, 20000) i;
            insert into items (list_id, n, group_id)
              select i, n, i from generate_series(100, 20000) i, generate_series(0, 2) n",
        tables: &["groups", "lists", "items"],
        changed: ("lists", 6),
    };
    let changes = |version, first| {
        let changed = (first..first + 5).map(|id| list(version, id, id, 2));
        changed
            .chain([delete_by("lists", version, first + 6)])
            .collect()
    };
    // Of each of five one row is gone, of the sixth nothing, of the seventh all.
    let left = |first| {
        let items = format!("items where list_id between {first} and {first} + 6");
        vec![(items, 5 * 2 + 3)]
    };
    reads_little(&mut world, &filled, changes, left).await;
}

const LIBRARY: &str = "
version: 1
database: library
collections:
  houses:
    table: houses
    key: id
    columns: { id: { path: _id, type: bigint } }
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: bigint }
      house: { type: bigint, references: { table: houses, on_delete: cascade } }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      author: { type: bigint, references: { table: authors, on_delete: cascade } }
      house: { type: bigint, references: { table: houses, on_delete: set-null } }
    children:
      - table: pages
        from: pages
        key: [id, n]
        columns: { id: { parent: id }, n: { position: true, type: integer } }
  loans:
    table: loans
    key: id
    columns:
      id: { path: _id, type: bigint }
      book: { type: bigint, references: { table: books, on_delete: hold } }
  shelves:
    table: shelves
    key: id
    columns: { id: { path: _id, type: bigint } }
    children:
      - table: places
        from: places
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          book: { type: bigint, references: { table: books, on_delete: cascade } }
          author: { type: bigint, references: { table: authors, on_delete: set-null } }
        children:
          - table: marks
            from: marks
            key: [id, n, m]
            columns: { id: { parent: id }, n: { parent: n }, m: { position: true, type: integer } }
";

#[tokio::test]
async fn what_goes_with_deleted_rows_is_found_by_its_keys() {
    let mut world = World::with(LIBRARY).await;
    let house = |id: i64| put("houses", 1, doc! { "_id": id });
    let author = |id: i64| put("authors", 1, doc! { "_id": id, "house": id });
    let book = |id: i64| {
        put(
            "books",
            1,
            doc! { "_id": id, "author": id, "house": id, "pages": [1, 2] },
        )
    };
    let shelf = |id: i64| {
        let place = doc! { "book": id, "author": id, "marks": ["x"] };
        put("shelves", 1, doc! { "_id": id, "places": [place] })
    };
    let loan = put("loans", 1, doc! { "_id": 2i64, "book": 2i64 });
    let first = [1, 2, 3].map(|id| [house(id), author(id), book(id), shelf(id)]);
    let first: Vec<Made> = first.into_iter().flatten().chain([loan]).collect();
    world.write(&first).await;
    // Each statement is planned while the tables are empty: one goes with all, one is held.
    let deletes = [delete_by("houses", 2, 1i64), delete_by("books", 2, 2i64)];
    world.write(&deletes).await;
    world.settle_at(2).await;
    assert_eq!(world.count("pages").await, 4);
    let filled = Filled {
        fill: "
            insert into houses (id, lc_version) select i, 1 from generate_series(100, 20000) i;
            insert into authors (id, house, lc_version) select i, i, 1 from generate_series(100, 20000) i;
            insert into books (id, author, house, lc_version)
              select i, i, i, 1 from generate_series(100, 20000) i;
            insert into pages (id, n) select i, n from generate_series(100, 20000) i, generate_series(0, 1) n;
            insert into loans (id, book, lc_version) select i, 3, 1 from generate_series(100, 20000) i;
            insert into shelves (id, lc_version) select i, 1 from generate_series(100, 20000) i;
            insert into places (id, n, book, author) select i, 0, i, i from generate_series(100, 20000) i;
            insert into marks (id, n, m) select i, 0, 0 from generate_series(100, 20000) i",
        tables: &[
            "houses", "authors", "books", "pages", "loans", "shelves", "places", "marks",
        ],
        changed: ("houses", 2),
    };
    let changes = |version, first| {
        vec![
            delete_by("houses", version, first),
            delete_by("houses", version, first + 1),
            delete_by("authors", version, first + 2),
            delete_by("books", version, first + 3),
            delete_by("shelves", version, first + 4),
        ]
    };
    let left = |first| {
        let tables = ["houses", "authors", "books", "places", "marks"];
        let left = tables.into_iter().zip([3, 2, 1, 0, 0]);
        let left = left.map(|(table, count)| {
            let rows = format!("{table} where id between {first} and {first} + 4");
            (rows, count)
        });
        left.collect()
    };
    reads_little(&mut world, &filled, changes, left).await;
}

const OTHERS: &str = "
version: 1
database: shop
collections:
  people:
    table: people
    delete: { soft: deleted_at }
    key: id
    columns: { id: { path: _id, type: text, convert: text }, name: text }
    children:
      - table: cards
        from: cards
        key: [id, n]
        unique: [[number]]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          number: { path: number, type: text }
        children:
          - table: uses
            from: uses
            key: [id, n, m]
            columns: { id: { parent: id }, n: { parent: n }, m: { position: true, type: integer } }
  teams:
    table: teams
    key: id
    columns: { id: { path: _id, type: text, convert: text }, name: text }
  players:
    table: players
    key: id
    columns:
      id: { path: _id, type: bigint }
      team: { type: text, references: { table: teams } }
";

/// A person whose cards have these numbers.
fn person(version: i64, id: i64, cards: &[i64]) -> Made {
    let cards = cards
        .iter()
        .map(|card| doc! { "number": format!("n{card}"), "uses": ["x"] });
    let cards: Vec<Document> = cards.collect();
    let document = doc! { "_id": id.to_string(), "name": "p", "cards": cards };
    put("people", version, document)
}

#[tokio::test]
async fn rows_that_stay_or_change_places_are_found_by_their_keys() {
    let mut world = World::with(OTHERS).await;
    let team = |version, id: i64, name: &str| {
        put(
            "teams",
            version,
            doc! { "_id": id.to_string(), "name": name },
        )
    };
    let player = |id: i64| put("players", 1, doc! { "_id": id, "team": id.to_string() });
    let first = [
        person(1, 1, &[11, 12]),
        person(1, 2, &[21, 22]),
        team(1, 1, "a"),
        team(1, 2, "a"),
        player(1),
    ];
    world.write(&first).await;
    let second = [
        person(2, 1, &[12, 11]),
        delete_by("people", 2, "2"),
        team(2, 1, "b"),
        delete_by("teams", 3, "1"),
        delete_by("teams", 3, "2"),
    ];
    world.write(&second).await;
    world.settle_at(3).await;
    let filled = Filled {
        fill: "
            insert into people (id, name, lc_version, lc_document)
              select i::text, 'p', 1, '' from generate_series(100, 20000) i;
            insert into cards (id, n, number)
              select i::text, n, 'n' || (10 * i + n + 1) from generate_series(100, 20000) i, generate_series(0, 1) n;
            insert into uses (id, n, m)
              select i::text, n, 0 from generate_series(100, 20000) i, generate_series(0, 1) n;
            insert into teams (id, name, lc_version, lc_document)
              select i::text, 'a', 1, '' from generate_series(100, 20000) i;
            insert into players (id, team, lc_version) select i, i::text, 1 from generate_series(100, 20000) i",
        tables: &["people", "cards", "uses", "teams", "players"],
        changed: ("people", 5),
    };
    let changes = |version, first: i64| {
        let swapped = first..first + 3;
        let swapped = swapped.map(|id| person(version, id, &[10 * id + 2, 10 * id + 1]));
        let gone = (first + 3..first + 5).map(|id| delete_by("people", version, id.to_string()));
        // The teams have players: one has another name, one stays though its document is gone.
        let teams = [
            team(version, first, "b"),
            delete_by("teams", version, (first + 1).to_string()),
        ];
        swapped.chain(gone).chain(teams).collect()
    };
    let left = |first: i64| {
        let of = |table: &str, and: &str, count| {
            let ids = format!("id::bigint between {first} and {first} + 4");
            (format!("{table} where {ids}{and}"), count)
        };
        vec![
            of("people", " and deleted_at is not null", 2),
            of("cards", " and number = 'n' || (10 * id::bigint + 2 - n)", 6),
            of("uses", "", 3 * 2 + 2 * 2),
            of("teams", "", 5),
            of(
                "teams",
                " and substring(lc_document from 1 for 1) = '\\x00'",
                1,
            ),
        ]
    };
    reads_little(&mut world, &filled, changes, left).await;
}

/// A prepared statement compares each row with each element of `= any($1)`.
#[test]
fn the_documents_of_a_batch_are_not_compared_one_by_one() {
    for mapping in [MAPPING, crate::world::MAPPING] {
        for entry in &database::model(mapping).tables {
            let statements = format!("{:?} {:?}", entry.sql, entry.cascade);
            assert!(!statements.contains("any($1)"), "{statements}");
        }
    }
}
