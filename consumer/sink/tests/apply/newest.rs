//! Tables where the newest of several documents is the row.

use crate::{
    orders::{accounts, forget, hurry, orders},
    world::{Made, World, delete, id, put},
};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

pub(crate) const DAYS: &str = "
version: 1
database: diet
collections:
  people:
    table: people
    key: id
    columns: { id: { path: _id, type: bigint } }
  logbooks:
    table: days
    where: { person: exists }
    key: [person, day]
    on_same_key: newest-wins
    columns:
      person: { type: bigint, required: true }
      day: { type: text, required: true }
      note: text
      at: integer
      of: { type: bigint, references: { table: people } }
    children:
      - table: meals
        from: meals
        key: [person, day, n]
        columns:
          person: { parent: person }
          day: { parent: day }
          n: { position: true, type: integer }
          meal: { path: ., type: text }
";

pub(crate) fn by_date() -> String {
    DAYS.replace("newest-wins\n", "newest-wins\n    newest_by: at\n")
}

pub(crate) fn entry(version: i64, number: u8, day: &str, more: Document) -> Made {
    let note = format!("{number}v{version}");
    let mut entry =
        doc! { "_id": id(number), "person": 1, "day": day, "note": note.as_str(), "meals": [note] };
    entry.extend(more);
    put("logbooks", version, entry)
}

pub(crate) const STATE: &str = "\
    select (select string_agg(concat_ws(',', day, note, lc_version), ' ' order by day) from days) as day_note_version, \
    (select string_agg(day || meal, ' ' order by day, n) from meals) as day_meal, \
    (select string_agg(right(convert_from(source_key, 'utf8'), 1) || \
    case when owner then '' else '-' end, ' ' order by source_key) from leafcutter.key_map) as owners, \
    (select count(*) from leafcutter.retained_records) as retained, (select count(*) from leafcutter.parked) as parked";

#[tokio::test]
async fn the_newest_is_the_row_and_the_next_one_follows() {
    let mut world = World::with(DAYS).await;
    let plain = |version, number| entry(version, number, "a", doc! {});
    let records = [
        (
            plain(3, 1),
            Outcome::Applied,
            rows![{
                day_note_version: "a,1v3,3",
                day_meal: "a1v3",
                owners: "1",
                retained: 1,
                parked: 0,
            }],
        ),
        // Older than the row: it contends.
        (
            plain(2, 2),
            Outcome::Stale,
            rows![{
                day_note_version: "a,1v3,3",
                day_meal: "a1v3",
                owners: "1 2-",
                retained: 2,
                parked: 0,
            }],
        ),
        (
            plain(2, 2),
            Outcome::Stale,
            rows![{
                day_note_version: "a,1v3,3",
                day_meal: "a1v3",
                owners: "1 2-",
                retained: 2,
                parked: 0,
            }],
        ),
        (
            plain(4, 3),
            Outcome::Applied,
            rows![{
                day_note_version: "a,3v4,4",
                day_meal: "a3v4",
                owners: "1- 2- 3",
                retained: 3,
                parked: 0,
            }],
        ),
        // Edited, it is the newest.
        (
            plain(5, 2),
            Outcome::Applied,
            rows![{
                day_note_version: "a,2v5,5",
                day_meal: "a2v5",
                owners: "1- 2 3-",
                retained: 3,
                parked: 0,
            }],
        ),
        (
            plain(5, 2),
            Outcome::Unchanged,
            rows![{
                day_note_version: "a,2v5,5",
                day_meal: "a2v5",
                owners: "1- 2 3-",
                retained: 3,
                parked: 0,
            }],
        ),
        // The winner goes, the next one is there, with its own version and children.
        (
            delete("logbooks", 6, 2),
            Outcome::Deleted,
            rows![{
                day_note_version: "a,3v4,4",
                day_meal: "a3v4",
                owners: "1- 3",
                retained: 2,
                parked: 0,
            }],
        ),
        (
            plain(5, 2),
            Outcome::Stale,
            rows![{
                day_note_version: "a,3v4,4",
                day_meal: "a3v4",
                owners: "1- 3",
                retained: 2,
                parked: 0,
            }],
        ),
        // Its key changes.
        (
            entry(7, 3, "b", doc! {}),
            Outcome::Applied,
            rows![{
                day_note_version: "a,1v3,3 b,3v7,7",
                day_meal: "a1v3 b3v7",
                owners: "1 3",
                retained: 2,
                parked: 0,
            }],
        ),
        (
            entry(8, 3, "a", doc! {}),
            Outcome::Applied,
            rows![{
                day_note_version: "a,3v8,8",
                day_meal: "a3v8",
                owners: "1- 3",
                retained: 2,
                parked: 0,
            }],
        ),
        // A loser that goes is missed by nobody.
        (
            delete("logbooks", 9, 1),
            Outcome::Deleted,
            rows![{
                day_note_version: "a,3v8,8",
                day_meal: "a3v8",
                owners: "3",
                retained: 1,
                parked: 0,
            }],
        ),
        (
            put("logbooks", 10, doc! { "_id": id(3) }),
            Outcome::Filtered,
            rows![{
                day_note_version: null,
                day_meal: null,
                owners: null,
                retained: 0,
                parked: 0,
            }],
        ),
    ];
    for (record, outcome, state) in records {
        assert_eq!(world.each(&[record]).await, [outcome], "before {state:?}");
        assert_eq!(world.rows(STATE).await, state);
    }
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
}

/// The documents of a snapshot have one version: the later `_id` is the newer one.
#[tokio::test]
async fn of_equal_versions_the_greater_id_wins() {
    let mut world = World::with(DAYS).await;
    let plain = |number| entry(1, number, "a", doc! {});
    for order in orders(3) {
        let records: Vec<Made> = order
            .iter()
            .map(|&number| plain(u8::try_from(number).unwrap()))
            .collect();
        world.each(&records).await;
        assert_eq!(
            world.rows("select note from days").await,
            rows![{ note: "2v1" }]
        );
        forget(&world).await;
    }
}

/// By the date that the document tells, whatever its version; without one it is the oldest.
#[tokio::test]
async fn the_newest_by_a_column() {
    let mut world = World::with(&by_date()).await;
    let at = |version, number, at: Option<i32>| entry(version, number, "a", doc! { "at": at });
    let note = "select note from days";
    world.each(&[at(9, 1, None), at(1, 2, Some(-5))]).await;
    assert_eq!(world.rows(note).await, rows![{ note: "2v1" }]);
    world.each(&[at(2, 3, Some(7)), at(8, 4, Some(6))]).await;
    assert_eq!(world.rows(note).await, rows![{ note: "3v2" }]);
    // The winner says that it is older than it said: the next one follows.
    assert_eq!(world.each(&[at(10, 3, Some(5))]).await, [Outcome::Stale]);
    assert_eq!(world.rows(note).await, rows![{ note: "4v8" }]);
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,4v8,8",
            day_meal: "a4v8",
            owners: "1- 2- 3- 4",
            retained: 4,
            parked: 0,
        }]
    );
    world.each(&[at(11, 4, Some(0))]).await;
    assert_eq!(world.rows(note).await, rows![{ note: "3v10" }]);
}

/// A script's last images, and the rows that follow from them.
fn expected(records: &[(i64, u8, Option<&str>)]) -> String {
    let days = ["a", "b"].into_iter().filter_map(|day| {
        let last = |number| {
            records
                .iter()
                .filter(move |r| r.1 == number)
                .max_by_key(|r| r.0)
        };
        let there = (1..=3).filter_map(last).filter(|r| r.2 == Some(day));
        let winner = there.max_by_key(|r| (r.0, r.1))?;
        Some(format!("{day},{}v{},{}", winner.1, winner.0, winner.0))
    });
    days.collect::<Vec<_>>().join(" ")
}

/// Orders in which the records of three documents can come, one by one, in two batches or all at once,
/// and a replay of each: the same rows, and the replay writes none.
#[tokio::test]
async fn in_whatever_order_they_come() {
    let scripts: [[(i64, u8, Option<&str>); 5]; 4] = [
        [
            (1, 1, Some("a")),
            (3, 1, Some("b")),
            (2, 2, Some("a")),
            (4, 2, None),
            (1, 3, Some("a")),
        ],
        [
            (1, 1, Some("a")),
            (2, 2, Some("a")),
            (3, 3, Some("a")),
            (4, 3, None),
            (5, 2, Some("b")),
        ],
        [
            (1, 1, Some("a")),
            (1, 2, Some("a")),
            (2, 2, Some("b")),
            (2, 1, Some("b")),
            (3, 1, None),
        ],
        [
            (1, 1, Some("a")),
            (2, 2, Some("b")),
            (3, 1, Some("b")),
            (3, 2, Some("a")),
            (2, 3, Some("b")),
        ],
    ];
    let mut world = World::with(DAYS).await;
    hurry(&world).await;
    for (skip, script) in scripts.into_iter().enumerate() {
        let made = script.map(|(version, number, day)| match day {
            Some(day) => entry(version, number, day, doc! {}),
            None => delete("logbooks", version, number),
        });
        let rows = expected(&script);
        // Each script by every other order; which ones, differs.
        for (turn, order) in orders(script.len())
            .into_iter()
            .enumerate()
            .skip(skip % 2)
            .step_by(2)
        {
            let records: Vec<Made> = order.iter().map(|&at| made[at].clone()).collect();
            let (before, after) = records.split_at(turn % 5);
            match turn % 3 {
                0 => drop(world.each(&records).await),
                _ => {
                    for batch in [before, after].into_iter().filter(|b| !b.is_empty()) {
                        world.apply(batch).await.unwrap();
                    }
                }
            }
            let places =
                "(select string_agg(day || ctid::text, ' ' order by day) from days) as places";
            let whole = STATE.replacen("select ", &format!("select {places}, "), 1);
            let before = world.rows(&whole).await;
            let state = before.cells().remove(0);
            assert_eq!(state[1], rows, "{script:?} {order:?}");
            assert_eq!(state.last().unwrap(), "0", "something is parked");
            world.apply(&records).await.unwrap();
            assert_eq!(world.rows(&whole).await, before, "{order:?} again");
            forget(&world).await;
        }
    }
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
}

/// A document that waits for its parent does not contend; the next one has the row meanwhile.
#[tokio::test]
async fn who_waits_does_not_contend() {
    let mut world = World::with(DAYS).await;
    let of = |version, number, of: i64| entry(version, number, "a", doc! { "of": of });
    let plain = |version, number| entry(version, number, "a", doc! {});
    let person = |version, number: i64| put("people", version, doc! { "_id": number });
    assert_eq!(world.each(&[of(9, 1, 7)]).await, [Outcome::Parked]);
    world.each(&[plain(2, 2)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,2v2,2",
            day_meal: "a2v2",
            owners: "2",
            retained: 1,
            parked: 1,
        }]
    );
    // In one batch, too: the one that waits drops out.
    world.apply(&[of(8, 3, 7), plain(3, 4)]).await.unwrap();
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,4v3,3",
            day_meal: "a4v3",
            owners: "2- 4",
            retained: 2,
            parked: 2,
        }]
    );
    // The parent comes, and the newest is the row.
    world.each(&[person(1, 7)]).await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{
            day_note_version: "a,1v9,9",
            day_meal: "a1v9",
            owners: "1 2- 3- 4-",
            retained: 4,
            parked: 0,
        }]
    );
    assert_eq!(
        accounts(&world).await,
        rows![{ counted_once: true, parked_counted: true }]
    );
}

/// A logbook edited twice, the records in either order, and all of them again.
#[tokio::test]
async fn a_day_edited_twice() {
    let mut world = World::with(DAYS).await;
    let edits = [
        entry(1, 1, "a", doc! {}),
        entry(2, 2, "a", doc! {}),
        entry(3, 1, "a", doc! {}),
        entry(4, 1, "a", doc! {}),
    ];
    for order in orders(edits.len()) {
        let records: Vec<Made> = order.iter().map(|&at| edits[at].clone()).collect();
        world.each(&records).await;
        world.each(&records).await;
        assert_eq!(
            world.rows(STATE).await,
            rows![{
                day_note_version: "a,1v4,4",
                day_meal: "a1v4",
                owners: "1 2-",
                retained: 2,
                parked: 0,
            }],
            "{order:?}"
        );
        forget(&world).await;
    }
}
