//! Tables that get their foreign keys when they are filled.

use crate::{
    database,
    world::{Made, World, delete_by, put, read},
};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::{
    session::Session,
    state::deferred_constraints::{self, DeferredRow},
    target::{self, deferred},
};

const MAPPING: &str = "
version: 1
database: shop
collections:
  parents:
    table: parents
    key: id
    columns:
      id: { path: _id, type: bigint }
      note: { type: text }
  children:
    table: children
    key: id
    indexes: [[note]]
    columns:
      id: { path: _id, type: bigint }
      note: { type: text }
      parent_id: { type: bigint, references: { table: parents } }
  others:
    table: others
    key: id
    columns:
      id: { path: _id, type: bigint }
";

fn parent(id: i64, version: i64) -> Made {
    put("parents", version, doc! { "_id": id, "note": "p" })
}

fn child(id: i64, parent: i64) -> bson::Document {
    doc! { "_id": id, "note": "snapshot", "parent_id": parent }
}

async fn session(world: &World) -> Session {
    Session::open(&world.config, "test").await.unwrap()
}

async fn deferred_rows(world: &World) -> Vec<DeferredRow> {
    let mut session = session(world).await;
    deferred_constraints::rows(&mut session).await.unwrap()
}

/// Does every step; gives how many.
async fn add_all(world: &World) -> usize {
    let mut session = session(world).await;
    let mut steps = 0;
    while let Some(row) = deferred_rows(world).await.first() {
        deferred::step(&mut session, row).await.unwrap();
        steps += 1;
    }
    steps
}

const CONSTRAINTS: &str = "\
    select (select count(*) from pg_constraint where contype = 'f' and convalidated \
    and conrelid = 'children'::regclass) as keys, \
    (select count(*) from pg_index where indrelid = 'children'::regclass and indisvalid) as indexes";
const COUNTS: &str = "select (select count(*) from parents) as parents, \
    (select count(*) from children) as children, (select count(*) from leafcutter.parked) as parked, \
    (select count(*) from leafcutter.held) as held";

#[tokio::test]
async fn a_table_that_is_made_gets_its_constraints_later_and_they_hold_all_the_time() {
    let mut world = World::loading(MAPPING).await;
    assert_eq!(
        world.rows(CONSTRAINTS).await,
        rows![{ keys: 0, indexes: 1 }]
    );
    let parents: Vec<Made> = (0..300).map(|id| parent(id, 1)).collect();
    world.apply(&parents).await.unwrap();
    // Every third one has no parent; so many that they are copied straight into the table.
    let children = (0..900).map(|id| {
        read(
            "children",
            1,
            child(id, if id % 3 == 0 { 1_000 + id } else { id % 300 }),
        )
    });
    let children: Vec<Made> = children.collect();
    world.apply(&children).await.unwrap();
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ parents: 300, children: 600, parked: 300, held: 0 }]
    );
    // A parent that nothing points to stays all the same, until that can be told for certain.
    world
        .apply(&[delete_by("parents", 5, 0_i64)])
        .await
        .unwrap();
    world
        .apply(&[delete_by("parents", 5, 1_i64)])
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ parents: 300, children: 600, parked: 300, held: 2 }]
    );
    // What waits comes with its parent.
    world.apply(&[parent(1_000, 6)]).await.unwrap();
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ parents: 301, children: 601, parked: 299, held: 2 }]
    );
    // Two indexes, and a foreign key that is added and proven.
    assert_eq!(add_all(&world).await, 4);
    assert_eq!(
        world.rows(CONSTRAINTS).await,
        rows![{ keys: 1, indexes: 3 }]
    );
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ parents: 300, children: 601, parked: 299, held: 1 }]
    );
}

/// Steps that a crash has broken off are done again.
#[tokio::test]
async fn what_was_broken_off_is_begun_anew() {
    let world = World::loading(MAPPING).await;
    let index = "children_note_idx";
    // A build that fails leaves an index that is not valid.
    world
        .execute_all("insert into children (id, note, lc_version) values (1, 'a', 1), (2, 'a', 1)")
        .await;
    let broken = format!("create unique index concurrently {index} on children (note)");
    assert!(session(&world).await.batch(&broken).await.is_err());
    world.execute_all("delete from children").await;
    // Added by somebody who could not note it any more.
    world
        .execute_all(
            "alter table children add constraint children_parent_id_fkey foreign key (parent_id) \
             references parents (id) not valid",
        )
        .await;
    add_all(&world).await;
    assert_eq!(
        world.rows(CONSTRAINTS).await,
        rows![{ keys: 1, indexes: 3 }]
    );
}

/// A parent that a transaction has seen and written itself is not there when that is taken back.
#[tokio::test]
async fn what_was_seen_counts_when_it_is_committed() {
    let mut world = World::loading(MAPPING).await;
    world
        .execute_all(
            "create function refuse() returns trigger language plpgsql as $$ begin \
             raise exception 'not this one'; end $$; \
             create constraint trigger refuse after insert on parents deferrable initially deferred \
             for each row when (new.id = 7) execute function refuse(); \
             create trigger refuse before insert on others for each row execute function refuse()",
        )
        .await;
    world.apply(&[parent(1, 1)]).await.unwrap();
    let child = |id, parent| put("children", 1, child(id, parent));
    // The batch is taken back when its child is written already. Then the child has its turn before its parent,
    // which is refused at the very end.
    let other = put("others", 1, doc! { "_id": 1_i64 });
    world
        .isolated(&[child(1, 7), other, parent(7, 1), child(2, 1)])
        .await;
    world.isolated(&[child(3, 7)]).await;
    let rows = "select (select array_agg(id) from parents)::text as parents, \
                (select array_agg(id) from children)::text as children, \
                (select count(*) from leafcutter.parked) as parked";
    assert_eq!(
        world.rows(rows).await,
        rows![{ parents: "{1}", children: "{2}", parked: 2 }]
    );
    add_all(&world).await;
}

/// Snapshot rows are copied straight into their table beside events: what is newer, or deleted, stays so.
#[tokio::test]
async fn snapshot_rows_are_copied_beside_events() {
    for later in [false, true] {
        let mut world = if later {
            World::loading(MAPPING).await
        } else {
            World::with(MAPPING).await
        };
        let parents: Vec<Made> = (0..600).map(|id| parent(id, 1)).collect();
        world.apply(&parents).await.unwrap();
        let newer = doc! { "_id": 5_i64, "note": "newer", "parent_id": 5_i64 };
        world.apply(&[put("children", 10, newer)]).await.unwrap();
        world
            .apply(&[delete_by("children", 10, 7_i64)])
            .await
            .unwrap();
        world
            .apply(&[put("children", 2, child(8, 8))])
            .await
            .unwrap();
        let children = (0..600).map(|id| read("children", 4, child(id, id)));
        let children: Vec<Made> = children.collect();
        let applied = world.apply(&children).await.unwrap();
        let counts = applied.counts.values().next().unwrap();
        assert_eq!(
            (
                counts.of(leafcutter_sink::change::Outcome::Applied),
                counts.of(leafcutter_sink::change::Outcome::Stale)
            ),
            (598, 2)
        );
        let odd =
            "select id, note, lc_version from children where note <> 'snapshot' or lc_version <> 4";
        assert_eq!(
            world.rows(odd).await,
            rows![{ id: 5, note: "newer", lc_version: 10 }]
        );
        let there = "select count(*) as n from children where id in (7, 8)";
        assert_eq!(world.rows(there).await, rows![{ n: 1 }]);
        // Once more: nothing is written.
        let before = "select md5(string_agg(ctid::text || xmin::text, ' ' order by id)) as rows from children";
        let rows = world.rows(before).await;
        world.apply(&children).await.unwrap();
        assert_eq!(world.rows(before).await, rows);
    }
}

/// A row that was written without its parent, which never comes, says nothing of that parent.
#[tokio::test]
async fn a_parent_that_was_left_out_is_not_there() {
    let mapping = MAPPING.replace(
        "references: { table: parents }",
        "references: { table: parents, on_missing: null }",
    );
    let mut world = World::loading(&mapping).await;
    world.apply(&[parent(1, 1)]).await.unwrap();
    for id in [1, 2] {
        world
            .apply(&[put("children", 1, child(id, 9))])
            .await
            .unwrap();
        // Nobody knows yet that its parent never comes.
        world.settle().await;
        let there = format!("select count(*) as n from children where id = {id}");
        assert_eq!(world.rows(&there).await, rows![{ n: 0 }]);
        world.settle_at_once().await;
    }
    let rows = "select id, parent_id is null as alone from children order by 1";
    assert_eq!(
        world.rows(rows).await,
        rows![{ id: 1, alone: true }, { id: 2, alone: true }]
    );
    add_all(&world).await;
    assert_eq!(
        world.rows(CONSTRAINTS).await,
        rows![{ keys: 1, indexes: 3 }]
    );
}

/// A changed mapping may not want a constraint any more.
#[tokio::test]
async fn what_the_mapping_does_not_want_any_more_is_told() {
    let world = World::loading(MAPPING).await;
    let other = MAPPING
        .replace(", references: { table: parents }", "")
        .replace("    indexes: [[note]]\n", "");
    let other = database::model(&other);
    let rows = deferred_rows(&world).await;
    assert_eq!(rows.len(), 3);
    for row in &rows {
        assert!(deferred::is_wanted(&world.model, row), "{row:?}");
        assert!(!deferred::is_wanted(&other, row), "{row:?}");
    }
}

/// A table that somebody has dropped is made anew, and its constraints are to be added anew.
#[tokio::test]
async fn what_was_noted_of_a_table_that_is_gone_does_not_count() {
    let world = World::loading(MAPPING).await;
    let mut session = session(&world).await;
    let key = deferred_rows(&world)
        .await
        .into_iter()
        .find(|row| row.parent.is_some());
    deferred::step(&mut session, &key.unwrap()).await.unwrap();
    world.execute_all("drop table children").await;
    let start = target::Start {
        defer: true,
        ..database::START
    };
    target::migrate(&mut session, &world.model, start)
        .await
        .unwrap();
    let rows = deferred_rows(&world).await;
    assert!(
        rows.len() == 3 && rows.iter().all(|row| !row.is_added),
        "{rows:?}"
    );
    add_all(&world).await;
    assert_eq!(
        world.rows(CONSTRAINTS).await,
        rows![{ keys: 1, indexes: 3 }]
    );
}

/// A server that crashes may lose what it had committed: what was seen over one connection is not known over the
/// next.
#[tokio::test]
async fn what_was_seen_is_forgotten_with_the_connection() {
    let mut world = World::loading(MAPPING).await;
    world.apply(&[parent(1, 1)]).await.unwrap();
    world
        .apply(&[put("children", 1, child(1, 1))])
        .await
        .unwrap();
    // As after a crash: the rows are gone, and so is the connection.
    world
        .execute_all(
            "delete from children; delete from parents; \
             select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    let again = put("children", 1, child(2, 1));
    while world.apply(std::slice::from_ref(&again)).await.is_err() {
        world.again("children");
    }
    assert_eq!(
        world.rows(COUNTS).await,
        rows![{ parents: 0, children: 0, parked: 1, held: 0 }]
    );
}
