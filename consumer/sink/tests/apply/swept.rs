//! What the source does not have any more is found and deleted, in every kind of table; nothing else is.

use crate::world::{World, delete_by, id, put, read};
use bson::{Bson, RawDocumentBuf, doc};
use leafcutter_harness::record::version;
use leafcutter_sink::{
    change::Outcome,
    connection::Connection,
    ids::Generation,
    session::Session,
    sweep::{Deleter, Finder, Swept},
};
use std::sync::Arc;

const MAPPING: &str = "
version: 1
database: shop
collections:
  houses:
    table: houses
    key: id
    columns: { id: { path: _id, type: bigint }, name: { type: text, required: true } }
    children:
      - table: rooms
        from: rooms
        key: [house, n]
        columns: { house: { parent: id }, n: { position: true, type: integer } }
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: bigint }
      house: { type: bigint, references: { table: houses } }
  pets:
    table: pets
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  days:
    table: days
    key: [day]
    columns: { day: { type: text, required: true }, note: text }
  notes:
    table: notes
    delete: { soft: deleted_at }
    key: id
    columns: { id: { path: _id, type: bigint } }
  cars:
    table: things
    key: id
    columns: { id: { path: _id, type: bigint }, kind: { constant: car, type: text } }
  boats:
    table: things
    key: id
    columns: { id: { path: _id, type: bigint }, kind: { constant: boat, type: text } }
";

/// Sweeps a collection of which the source has these documents, at this time; gives how many were found.
async fn sweep(world: &World, collection: &str, there: &[Bson], time: i64) -> (i64, Swept) {
    let (model, id) = (Arc::clone(&world.model), world.collection(collection));
    let session = Session::open(&world.config, "test").await.unwrap();
    let mut finder = Finder::new(session, Arc::clone(&model), id).await.unwrap();
    let ids = there
        .iter()
        .map(|id| RawDocumentBuf::try_from(&doc! { "_id": id.clone() }).unwrap());
    finder.see(&ids.collect::<Vec<_>>()).await.unwrap();
    let found = finder.find(version(time)).await.unwrap();
    let gone = finder.some(0, 1_000).await.unwrap();
    assert_eq!(i64::try_from(gone.len()).unwrap(), found);
    let connection = Connection::new(
        world.config.clone(),
        "sweep",
        "g",
        "sweep",
        (model, Generation::NONE),
    );
    let mut deleter = Deleter::new(connection, id, version(time));
    deleter.announce(1).await.unwrap();
    (found, deleter.delete(&gone).await.unwrap())
}

fn house(version: i64, number: i64) -> crate::world::Made {
    put(
        "houses",
        version,
        doc! { "_id": number, "name": "h", "rooms": [1, 2] },
    )
}

#[tokio::test]
async fn rows_that_are_gone_go_with_their_children_and_stay_away() {
    let mut world = World::with(MAPPING).await;
    let all: Vec<_> = (1..=5)
        .map(|number| {
            read(
                "houses",
                10,
                doc! { "_id": number, "name": "h", "rooms": [1, 2] },
            )
        })
        .collect();
    world.apply(&all).await.unwrap();
    world
        .apply(&[put("people", 11, doc! { "_id": 1, "house": 3 })])
        .await
        .unwrap();
    // Written after the time of the sweep, before it is found; and one that is the application's own.
    world.apply(&[house(30, 4)]).await.unwrap();
    world
        .execute("insert into houses values (9, 'own', 0)")
        .await;
    let (found, swept) = sweep(&world, "houses", &[1.into()], 20).await;
    assert_eq!(found, 3, "2, 3 and 5");
    assert_eq!(
        (
            swept.counts.of(Outcome::Deleted),
            swept.counts.of(Outcome::Held)
        ),
        (2, 1)
    );
    assert_eq!(
        world
            .rows("select id from houses order by 1")
            .await
            .values(),
        ["1", "3", "4", "9"]
    );
    assert_eq!(world.count("rooms where house in (2, 5)").await, 0);
    // What was sent before comes late, also as a snapshot's.
    let late = [read("houses", 10, doc! { "_id": 2, "name": "h" })];
    assert_eq!(world.each(&late).await, [Outcome::Stale]);
    // It is known by now, and goes when nothing refers to it.
    assert_eq!(sweep(&world, "houses", &[1.into()], 21).await.0, 0);
    world.apply(&[delete_by("people", 25, 1)]).await.unwrap();
    world.settle().await;
    assert_eq!(
        world
            .rows("select id from houses order by 1")
            .await
            .values(),
        ["1", "4", "9"]
    );
    // One that is inserted again comes back.
    assert_eq!(world.each(&[house(40, 2)]).await, [Outcome::Applied]);
}

#[tokio::test]
async fn what_waits_and_dead_letters_of_what_is_gone_go_too() {
    let mut world = World::with(MAPPING).await;
    let waiting = [
        put("people", 10, doc! { "_id": 1, "house": 7 }),
        put("people", 10, doc! { "_id": 2, "house": 7 }),
    ];
    world.apply(&waiting).await.unwrap();
    world
        .apply(&[
            house(9, 5),
            put("houses", 10, doc! { "_id": 5 }),
            put("houses", 10, doc! { "_id": 6 }),
        ])
        .await
        .unwrap();
    assert_eq!(
        (
            world.count("leafcutter.parked").await,
            world.count("leafcutter.dead_letters").await
        ),
        (2, 2)
    );
    // A row that is older than its document's dead letter is alive.
    assert_eq!(sweep(&world, "houses", &[5.into()], 20).await.0, 1);
    assert_eq!(sweep(&world, "people", &[2.into()], 20).await.0, 1);
    assert_eq!(
        world
            .count("leafcutter.dead_letters where state = 'open'")
            .await,
        1
    );
    assert_eq!(world.count("houses").await, 1);
    world.apply(&[house(12, 7)]).await.unwrap();
    world.settle().await;
    assert_eq!(world.rows("select id from people").await.values(), ["2"]);
}

#[tokio::test]
async fn rows_are_told_by_their_documents_where_keys_do_not() {
    let mut world = World::with(MAPPING).await;
    // The text of an ObjectId, and the ObjectId: one row.
    let text = id(1).to_hex();
    world
        .apply(&[put("pets", 10, doc! { "_id": &text })])
        .await
        .unwrap();
    world
        .apply(&[
            put("pets", 11, doc! { "_id": id(1) }),
            put("pets", 11, doc! { "_id": id(2) }),
        ])
        .await
        .unwrap();
    let (found, swept) = sweep(&world, "pets", &[id(1).into()], 20).await;
    assert_eq!((found, swept.counts.of(Outcome::Deleted)), (2, 2));
    world.settle().await;
    let owner = "select convert_from(lc_document, 'UTF8') from pets";
    assert_eq!(
        world.rows(owner).await.only(),
        format!("objectId:{text}"),
        "it was placed"
    );
    // A key that does not follow from `_id`.
    let day = |id: i64, day: &str| put("days", 10, doc! { "_id": id, "day": day });
    world
        .apply(&[day(1, "mo"), day(2, "tu"), day(3, "we")])
        .await
        .unwrap();
    let (found, swept) = sweep(&world, "days", &[2.into()], 20).await;
    assert_eq!((found, swept.counts.of(Outcome::Deleted)), (2, 2));
    assert_eq!(world.rows("select day from days").await.values(), ["tu"]);
    assert_eq!(world.count("leafcutter.key_map").await, 1);
}

#[tokio::test]
async fn a_soft_delete_marks_and_another_collections_rows_stay() {
    let mut world = World::with(MAPPING).await;
    world
        .apply(&[
            put("notes", 10, doc! { "_id": 1 }),
            put("notes", 10, doc! { "_id": 2 }),
        ])
        .await
        .unwrap();
    assert_eq!(sweep(&world, "notes", &[1.into()], 20).await.0, 1);
    assert_eq!(
        world
            .rows("select id from notes where deleted_at is not null")
            .await
            .values(),
        ["2"]
    );
    assert_eq!(
        sweep(&world, "notes", &[1.into()], 30).await.0,
        0,
        "it is marked already"
    );
    world
        .apply(&[put("cars", 10, doc! { "_id": 1 })])
        .await
        .unwrap();
    world
        .apply(&[put("boats", 10, doc! { "_id": 2 })])
        .await
        .unwrap();
    assert_eq!(sweep(&world, "cars", &[], 20).await.0, 1);
    assert_eq!(
        world.rows("select kind from things").await.values(),
        ["boat"]
    );
}

#[tokio::test]
async fn a_row_that_the_target_does_not_let_go_is_told_and_harms_no_other() {
    let mut world = World::with(MAPPING).await;
    let all: Vec<_> = (1..=20).map(|number| house(10, number)).collect();
    world.apply(&all).await.unwrap();
    world
        .execute_all(
            "create function no() returns trigger language plpgsql as $$ begin \
             if old.id = 7 then raise exception 'not this one'; end if; return old; end $$; \
             create trigger no before delete on houses for each row execute function no()",
        )
        .await;
    let (found, swept) = sweep(&world, "houses", &[1.into()], 20).await;
    assert_eq!((found, swept.counts.of(Outcome::Deleted)), (19, 18));
    assert!(swept.refused[0].message.contains("not this one"));
    assert_eq!(
        world
            .rows("select id from houses order by 1")
            .await
            .values(),
        ["1", "7"]
    );
}
