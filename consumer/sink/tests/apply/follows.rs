//! The newest document goes, and the next one has its row: it may wait, or be refused.

use crate::{
    newest::{DAYS, STATE, by_date, entry},
    orders::accounts,
    world::{World, delete, delete_by, put},
};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::{change::Outcome, retry::Retried};

const LETTERS: &str = "select \"offset\", reason, state from leafcutter.dead_letters order by 1";

const MENDED: &str = "\
    alter table days drop constraint if exists days_note_check; \
    drop function if exists refuse cascade";

/// The one that follows may have lost its parent meanwhile: it waits, and the one after it has the
/// row.
#[tokio::test]
async fn who_follows_may_have_to_wait() {
    let mut world = World::with(DAYS).await;
    let of = |version, number, of: i64| entry(version, number, "a", doc! { "of": of });
    let plain = |version, number| entry(version, number, "a", doc! {});
    let person = |version, number: i64| put("people", version, doc! { "_id": number });
    world
        .each(&[person(1, 7), of(3, 1, 7), plain(4, 2), plain(2, 3)])
        .await;
    world.each(&[delete_by("people", 5, 7i64)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,2v4,4",
            day_meal: "a2v4",
            owners: "1- 2 3-",
            retained: 3,
            parked: 0,
        }]
    );
    assert_eq!(
        world.each(&[delete("logbooks", 6, 2)]).await,
        [Outcome::Deleted]
    );
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,3v2,2",
            day_meal: "a3v2",
            owners: "3",
            retained: 1,
            parked: 1,
        }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
    world.each(&[person(7, 7)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,1v3,3",
            day_meal: "a1v3",
            owners: "1 3-",
            retained: 2,
            parked: 0,
        }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
}

/// The mapping may refuse who follows, since it was another when the record was kept: it waits until its topic
/// is replayed, and the one after it has the row.
#[tokio::test]
async fn who_follows_may_be_refused_by_a_changed_mapping() {
    let mut world = World::with(DAYS).await;
    let plain = |version, number| entry(version, number, "a", doc! {});
    let dated = entry(1, 3, "a", doc! { "at": 5 });
    world.each(&[plain(3, 1), plain(2, 2), dated]).await;
    world.remap(&DAYS.replace("at: integer", "at: { type: integer, required: true }"));
    world.each(&[delete("logbooks", 6, 1)]).await;
    let waits = rows![{
        day_note_version: "a,3v1,1",
        day_meal: "a3v1",
        owners: "3",
        retained: 1,
        parked: 1,
    }];
    assert_eq!(world.rows(STATE).await, waits);
    world.settle().await;
    assert_eq!(world.rows(STATE).await, waits);
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
    world.remap(DAYS);
    world.settle().await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,2v2,2",
            day_meal: "a2v2",
            owners: "2 3-",
            retained: 2,
            parked: 0,
        }]
    );
}

/// Who follows may be refused, or swallowed, where its rows are written again: that is its own fault, and
/// harms neither the record that made room nor any other.
#[tokio::test]
async fn who_follows_and_is_refused_harms_nobody() {
    let raise = |table, column| {
        format!(
            "create function refuse() returns trigger language plpgsql as $$ begin \
             if new.{column} = '2v2' then raise exception 'no'; end if; return new; end $$; \
             create trigger refuse before insert or update on {table} for each row \
             execute function refuse()"
        )
    };
    let swallow =
        |table, column| raise(table, column).replace("raise exception 'no'", "return null");
    let deferred = raise("days", "note")
        .replace("create trigger", "create constraint trigger")
        .replace(
            "before insert or update on days",
            "after insert or update on days initially deferred",
        );
    let check = "alter table days add check (note <> '2v2') not valid".to_owned();
    let first = "a,3v1,1 b,4v6,6|a3v1 b4v6|3 4|2|1";
    let first_meal = "a,2v2,2 b,4v6,6|a1v3 b4v6|2 3- 4|3|1";
    for (sql, reason, state) in [
        (check, "refused", first),
        (raise("days", "note"), "refused", first),
        (deferred, "refused", first),
        (raise("meals", "meal"), "refused", first),
        (swallow("days", "note"), "suppressed", first),
        (swallow("meals", "meal"), "suppressed", first_meal),
    ] {
        let mut world = World::with(DAYS).await;
        let plain = |version, number| entry(version, number, "a", doc! {});
        world.each(&[plain(3, 1), plain(2, 2), plain(1, 3)]).await;
        world.execute_all(&sql).await;
        let made_room = [delete("logbooks", 6, 1), entry(6, 4, "b", doc! {})];
        let (counts, failed) = world.isolated(&made_room).await;
        assert_eq!(
            (counts.of(Outcome::Deleted), counts.of(Outcome::Applied)),
            (1, 1),
            "{sql}"
        );
        assert_eq!(failed, 0, "{sql}");
        assert_eq!(world.text(STATE).await, state, "{sql}");
        // It is tried in some rounds, since the world may be at fault.
        for _ in 0..4 {
            world.settle().await;
        }
        let letter = format!("1|{reason}|open");
        assert_eq!(world.text(LETTERS).await, letter, "{sql}");
        assert_eq!(
            world.text("select state from leafcutter.parked").await,
            "refused"
        );
        assert_eq!(world.text(STATE).await, state, "{sql}");
        if reason == "suppressed" {
            let again = world.retry(&plain(2, 2), 1).await;
            assert!(matches!(again, Retried::Refused(_)), "{again:?}");
            assert_eq!(world.text(LETTERS).await, letter, "{sql}");
        }
        world.execute_all(MENDED).await;
        assert_eq!(world.retry(&plain(2, 2), 1).await, Retried::Applied);
        assert_eq!(
            world.text(STATE).await,
            "a,2v2,2 b,4v6,6|a2v2 b4v6|2 3- 4|3|0"
        );
        assert_eq!(world.text(LETTERS).await, format!("1|{reason}|retried"));
        assert_eq!(accounts(&world).await.text(), "t|t");
    }
}

/// The same where the settling task makes room: it is not the document that it places which is at fault.
#[tokio::test]
async fn who_follows_and_is_refused_does_not_keep_others_waiting() {
    let mut world = World::with(&by_date()).await;
    let of =
        |version, number, day, at: i32| entry(version, number, day, doc! { "at": at, "of": 7_i64 });
    let at = |version, number, at: i32| entry(version, number, "a", doc! { "at": at });
    world.each(&[at(1, 1, 9), at(1, 3, 1)]).await;
    let waiting = [of(2, 1, "a", 7), of(2, 4, "b", 5)];
    assert_eq!(world.each(&waiting).await, [Outcome::Parked; 2]);
    // Behind the row as it is, before it as it will be.
    assert_eq!(world.each(&[at(1, 2, 8)]).await, [Outcome::Stale]);
    world
        .execute_all(
            "alter table days add check (note <> '2v1') not valid; \
             insert into people (id, lc_version) values (7, 1)",
        )
        .await;
    assert_eq!(world.settle().await.placed, 2);
    world.settle().await;
    assert_eq!(
        world.text(STATE).await,
        "a,1v2,2 b,4v2,2|a1v2 b4v2|1 3- 4|3|1"
    );
    assert_eq!(world.text(LETTERS).await, "4|refused|open");
}
