//! What a batch reaches: the rows that it names, whatever the target is, and no more of a table than that, whatever
//! its statements were planned for.

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

const FILL: &str = "
insert into groups (id, name, lc_version) select i, 'g', 1 from generate_series(100, 20000) i;
insert into lists (id, code, group_id, lc_version) select i, 'c' || i, i, 1 from generate_series(100, 20000) i;
insert into items (list_id, n, group_id)
  select i, n, i from generate_series(100, 20000) i, generate_series(0, 2) n";

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

/// The writer tells the statistics now what it has read.
async fn tell(world: &mut World) {
    let session = world.writer.connection().session().await.unwrap();
    // At the end of the transaction in which it is asked for.
    let asked = session.batch("select pg_stat_force_next_flush()").await;
    asked.unwrap();
}

/// Plans are kept: one that was made while a table was empty has to serve, as has one that was made of a full one.
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
    world.execute_all(FILL).await;
    until_told(&world, "items", "n_tup_ins", FILLED).await;
    for (version, planned) in [
        (10, "while the tables were empty"),
        (20, "after an analysis"),
    ] {
        if version > 10 {
            world.execute_all("analyze").await;
        }
        tell(&mut world).await;
        world.execute_all("select pg_stat_reset()").await;
        let first = 100 * version;
        let changed = (first..first + 5).map(|id| list(version, id, id, 2));
        let mut batch: Vec<Made> = changed.collect();
        batch.push(delete_by("lists", version, first + 6));
        world.write(&batch).await;
        tell(&mut world).await;
        until_told(&world, "lists", "n_tup_upd", 5).await;
        for table in ["groups", "lists", "items"] {
            let sql = format!("{READ}'{table}'");
            let read: i64 = world.rows(&sql).await.only().parse().unwrap();
            assert!(read < READ_MAX, "planned {planned}: {read} of {table}");
        }
        // Of each of five one row is gone, of the sixth nothing, of the seventh all.
        let left = format!("items where list_id between {first} and {first} + 6");
        assert_eq!(world.count(&left).await, 5 * 2 + 3, "planned {planned}");
    }
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
