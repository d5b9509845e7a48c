//! References in child tables: a row whose parent is missing waits alone, its document does not.

use crate::world::{Made, World, delete, id, put};
use bson::doc;
use leafcutter_harness::{rows, rows::Rows};
use leafcutter_sink::change::Outcome;

const USERS: &str = "
version: 1
database: diet
collections:
  events:
    table: events
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  users:
    table: users
    key: id
    columns: { id: { path: _id, type: text, convert: text }, name: text }
    children:
      - table: user_events
        from: events
        key: [user_id, event_id]
        columns:
          user_id: { parent: id }
          event_id: { path: event, type: text, convert: text, required: true, references: { table: events } }
          note: text
        children:
          - table: user_event_tags
            from: tags
            key: [user_id, event_id, n]
            columns:
              user_id: { parent: user_id }
              event_id: { parent: event_id }
              n: { position: true, type: integer }
      - table: user_wishes
        from: wishes
        key: [user_id, n]
        columns:
          user_id: { parent: id }
          n: { position: true, type: integer }
          event_id: { path: ., type: text, convert: text, references: { table: events, on_missing: keep } }
";

fn event(number: u8) -> Made {
    put("events", 1, doc! { "_id": id(number) })
}

fn user(version: i64, events: &[u8]) -> Made {
    let events: Vec<_> = events
        .iter()
        .map(|&event| doc! { "event": id(event), "tags": ["a", "b"] })
        .collect();
    let user = doc! { "_id": id(1), "name": version.to_string(), "events": events };
    put("users", version, user)
}

async fn state(world: &World) -> Rows {
    let sql = "select (select max(name) from users) as name, \
               (select string_agg(right(event_id, 2), ',' order by event_id) from user_events) as events, \
               (select count(*) from user_event_tags) as tags, (select count(*) from leafcutter.parked) as parked";
    world.rows(sql).await
}

#[tokio::test]
async fn a_row_without_its_parent_waits_and_its_document_is_there() {
    let mut world = World::with(USERS).await;
    world.each(&[event(11)]).await;
    assert_eq!(
        world.each(&[user(2, &[11, 12, 13])]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b", tags: 2, parked: 1 }]
    );
    let parked =
        "select table_name, incomplete, wait_column, wait_table, version from leafcutter.parked";
    assert_eq!(
        world.rows(parked).await,
        rows![{
            table_name: "users",
            incomplete: true,
            wait_column: "user_events.event_id",
            wait_table: "events",
            version: 2,
        }]
    );
    // The parent brings its row along; the document waits for the other one.
    let applied = world.apply(&[event(12)]).await.unwrap();
    assert_eq!(applied.released, 0, "its record is counted already");
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b,0c", tags: 4, parked: 1 }]
    );
    // The record once more finds the same, and forgets nothing.
    assert_eq!(
        world.each(&[user(2, &[11, 12, 13])]).await,
        [Outcome::Unchanged]
    );
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b,0c", tags: 4, parked: 1 }]
    );
    world.each(&[event(13)]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b,0c,0d", tags: 6, parked: 0 }]
    );
    assert_eq!(
        world
            .rows("select sum(applied) as applied, sum(parked) as parked from leafcutter.offsets")
            .await,
        rows![{ applied: 4, parked: 0 }]
    );
}

#[tokio::test]
async fn a_newer_document_decides_what_waits() {
    let mut world = World::with(USERS).await;
    world.each(&[event(11), user(2, &[11, 12])]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b", tags: 2, parked: 1 }]
    );
    // An older one is stale, a newer one waits for what it lacks itself.
    assert_eq!(world.each(&[user(1, &[11])]).await, [Outcome::Stale]);
    world.each(&[user(3, &[13])]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "3", events: null, tags: 0, parked: 1 }]
    );
    world.each(&[event(12)]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "3", events: null, tags: 0, parked: 1 }]
    );
    world.each(&[user(4, &[11])]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "4", events: "0b", tags: 2, parked: 0 }]
    );
    world.each(&[user(5, &[13])]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "5", events: null, tags: 0, parked: 1 }]
    );
    world.each(&[delete("users", 6, 1)]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: null, events: null, tags: 0, parked: 0 }]
    );
}

#[tokio::test]
async fn a_child_row_holds_its_parent() {
    let mut world = World::with(USERS).await;
    world.each(&[event(11), user(2, &[11])]).await;
    assert_eq!(
        world.each(&[delete("events", 3, 11)]).await,
        [Outcome::Held]
    );
    world.each(&[user(4, &[])]).await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(
        state(&world).await,
        rows![{ name: "4", events: null, tags: 0, parked: 0 }]
    );
    // What comes back to it waits again.
    world.each(&[user(5, &[11])]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "5", events: null, tags: 0, parked: 1 }]
    );
}

/// `keep` neither waits nor has a constraint, in batches that look first as well.
#[tokio::test]
async fn what_is_kept_without_its_parent_is_written_at_once() {
    let mut world = World::with(USERS).await;
    for version in [2, 3] {
        // The first one makes the next batches look first.
        let both = doc! {
            "_id": id(1), "name": "x", "events": [{ "event": id(12) }], "wishes": [id(13), id(14)],
        };
        assert_eq!(
            world.each(&[put("users", version, both)]).await,
            [Outcome::Applied]
        );
        assert_eq!(world.count("user_wishes").await, 2);
    }
}

/// The settling task gives a row up like an orphan: a dead letter of its document, which is there.
#[tokio::test]
async fn a_row_whose_parent_never_comes_becomes_a_dead_letter() {
    let mut world = World::with(USERS).await;
    world.each(&[event(11), user(2, &[11, 12])]).await;
    world.settle_at_once().await;
    assert_eq!(
        world
            .rows("select state, incomplete from leafcutter.parked")
            .await,
        rows![{ state: "orphan", incomplete: true }]
    );
    let letters =
        "select state, reason, table_name, column_name, message from leafcutter.dead_letters";
    assert_eq!(
        world.rows(letters).await,
        rows![{
            state: "open",
            reason: "orphan",
            table_name: "users",
            column_name: "event_id",
            message: "the row of `events` that `user_events.event_id` points to does not exist in the source",
        }]
    );
    let counted = "select sum(applied) as applied, sum(dead_lettered) as dead_lettered \
                   from leafcutter.offsets";
    assert_eq!(
        world.rows(counted).await,
        rows![{ applied: 2, dead_lettered: 0 }]
    );
    // It is placed all the same if it comes, and the letter is done with.
    world.each(&[event(12)]).await;
    assert_eq!(
        state(&world).await,
        rows![{ name: "2", events: "0b,0c", tags: 4, parked: 0 }]
    );
    assert_eq!(
        world
            .rows("select state from leafcutter.dead_letters")
            .await,
        rows![{ state: "superseded" }]
    );
}

const MEMBERS: &str = "
version: 1
database: diet
collections:
  clubs:
    table: clubs
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  events:
    table: events
    key: id
    columns: { id: { path: _id, type: text, convert: text } }
  users:
    table: users
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      club_id: { type: text, convert: text, references: { table: clubs, on_missing: null } }
    children:
      - table: user_events
        from: events
        key: [user_id, event_id]
        columns:
          user_id: { parent: id }
          event_id: { path: event, type: text, convert: text, required: true, references: { table: events } }
          club_id: { path: club, type: text, convert: text, references: { table: clubs, on_missing: null } }
";

/// A reference that becomes null settles nothing for a row that may not be without its parent: that
/// one still becomes a dead letter, whichever of them was looked at first.
#[tokio::test]
async fn a_row_without_its_parent_is_told_of_beside_references_that_become_null() {
    let state = "select (select string_agg(coalesce(club_id, 'none'), ',') from users) as club, \
        (select string_agg(right(event_id, 2) || coalesce(club_id, 'none'), ',' order by event_id) from user_events) as event_club, \
        (select string_agg(state || incomplete::text, ',') from leafcutter.parked) as state_incomplete, \
        (select string_agg(state || ' ' || column_name, ',') from leafcutter.dead_letters) as dead_letter";
    for (club, of_event) in [("gone", "gone"), ("gone", "here"), ("here", "gone")] {
        let mut world = World::with(MEMBERS).await;
        let events = [11, 12].map(|event| doc! { "event": id(event), "club": of_event });
        let user = doc! { "_id": id(1), "club_id": club, "events": events.to_vec() };
        let here = put("clubs", 1, doc! { "_id": "here" });
        world.each(&[here, event(11), put("users", 2, user)]).await;
        for _ in 0..2 {
            world.settle_at_once().await;
        }
        let none = |name: &'static str| if name == "gone" { "none" } else { name };
        let (own, other) = (none(club), none(of_event));
        assert_eq!(
            world.rows(state).await,
            rows![{
                club: own,
                event_club: (format!("0b{other}")),
                state_incomplete: "orphantrue",
                dead_letter: "open event_id",
            }],
            "{club} {of_event}"
        );
        // Everything is mended if it comes.
        let gone = put("clubs", 3, doc! { "_id": "gone" });
        world.each(&[event(12), gone]).await;
        world.settle_at_once().await;
        assert_eq!(
            world.rows(state).await,
            rows![{
                club: club,
                event_club: (format!("0b{of_event},0c{of_event}")),
                state_incomplete: null,
                dead_letter: "superseded event_id",
            }],
            "{club} {of_event}"
        );
    }
}
