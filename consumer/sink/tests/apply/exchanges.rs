//! Unique values that documents hand to each other: one after the other, in rings, across columns, to a parent.

use crate::world::{Made, World, delete_by, learner, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const EMAILS: &str = "select email, lc_version from learners order by email";
const PARKED: &str =
    "select table_name, reason, state, version from leafcutter.parked order by 1, 4";

const PEOPLE: &str = "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: integer }
      mail: { type: text, unique: true }
      phone: { type: text, unique: true, required: true }
      merged_into: { type: integer, references: { table: people } }
";

fn person(version: i64, id: i32, mail: &str, phone: &str) -> Made {
    let person = doc! { "_id": id, "mail": mail, "phone": phone };
    put("people", version, person)
}

fn merged(version: i64, id: i32, mail: &str, into: i32) -> Made {
    let person = doc! { "_id": id, "mail": mail, "phone": format!("p{id}"), "merged_into": into };
    put("people", version, person)
}

#[tokio::test]
async fn unique_value_goes_from_hand_to_hand() {
    let mut world = World::new().await;
    world.each(&[learner(1, 1, "x"), learner(1, 2, "y")]).await;
    // In one batch, the receiver first, both ways at once.
    world
        .apply(&[learner(2, 2, "x"), learner(3, 1, "z")])
        .await
        .unwrap();
    assert_eq!(
        world.rows(EMAILS).await,
        rows![
            { email: "x", lc_version: 2 },
            { email: "z", lc_version: 3 },
        ]
    );
    // In two batches, the receiver first.
    assert_eq!(world.each(&[learner(4, 3, "z")]).await, [Outcome::Parked]);
    assert_eq!(
        world.rows(PARKED).await,
        rows![{ table_name: "learners", reason: "unique", state: "waiting", version: 4 }]
    );
    world.each(&[learner(5, 1, "w")]).await;
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(
        world.rows(EMAILS).await,
        rows![
            { email: "w", lc_version: 5 },
            { email: "x", lc_version: 2 },
            { email: "z", lc_version: 4 },
        ]
    );
    // Twice the same in one batch: the first keeps it.
    world
        .apply(&[learner(6, 4, "v"), learner(7, 5, "v")])
        .await
        .unwrap();
    assert_eq!(
        world.rows(PARKED).await,
        rows![{ table_name: "learners", reason: "unique", state: "waiting", version: 7 }]
    );
    // The owner may change other things while somebody waits for its value.
    world
        .apply(&[learner(6, 6, "v"), learner(8, 4, "v")])
        .await
        .unwrap();
    assert_eq!(
        world
            .rows("select lc_version from learners where email = 'v'")
            .await,
        rows![{ lc_version: 8 }]
    );
}

/// In the source a swap passes through a third value, but a look-up sees only its end.
#[tokio::test]
async fn swaps_and_rings_of_unique_values_are_placed() {
    let mut world = World::new().await;
    world
        .each(&[
            learner(1, 1, "x"),
            learner(1, 2, "y"),
            learner(1, 3, "z"),
            learner(1, 4, "w"),
        ])
        .await;
    // Two in one batch, beside one that has to wait for a value of somebody else.
    let batch = [learner(2, 1, "y"), learner(3, 2, "x"), learner(3, 5, "w")];
    world.apply(&batch).await.unwrap();
    assert_eq!(
        world.rows(EMAILS).await,
        rows![
            { email: "w", lc_version: 1 },
            { email: "x", lc_version: 3 },
            { email: "y", lc_version: 2 },
            { email: "z", lc_version: 1 },
        ]
    );
    assert_eq!(
        world.rows(PARKED).await,
        rows![{ table_name: "learners", reason: "unique", state: "waiting", version: 3 }]
    );
    // A ring of three, in three batches.
    world
        .each(&[learner(4, 1, "x"), learner(5, 2, "z"), learner(6, 3, "y")])
        .await;
    world.settle().await;
    assert_eq!(
        world.rows(EMAILS).await,
        rows![
            { email: "w", lc_version: 1 },
            { email: "x", lc_version: 4 },
            { email: "y", lc_version: 6 },
            { email: "z", lc_version: 5 },
        ]
    );
    assert_eq!(
        world.rows(PARKED).await,
        rows![{ table_name: "learners", reason: "unique", state: "waiting", version: 3 }]
    );
}

/// They were parked by different batches, so each is due at a time of its own, and would be tried without the other.
#[tokio::test]
async fn who_exchanges_unique_values_is_tried_together() {
    // Of a key from `_id`, one that two `_id`s may share, and one that does not follow from `_id`.
    for (id, key) in [
        ("{ path: _id, type: integer }", "id"),
        ("{ path: _id, type: text, convert: text }", "id"),
        ("{ path: name, type: text, required: true }", "id"),
    ] {
        let mapping = format!(
            "version: 1\ndatabase: shop\ncollections:\n  people:\n    table: people\n    key: {key}\n    \
             columns: {{ id: {id}, phone: {{ type: text, unique: true, required: true }}, nick: {{ path: name, type: text, unique: true }} }}\n"
        );
        let mut world = World::with(&mapping).await;
        // What nobody exchanges may not be changed on the way.
        world
            .execute("alter table people add check (nick is not null)")
            .await;
        let person = |version, id: i32, phone: &str| {
            let name = format!("n{id}");
            let person = doc! { "_id": id, "name": name, "phone": phone };
            put("people", version, person)
        };
        let phones = |version: i64, phones: [&str; 3]| {
            let people = (1..).zip(phones);
            let people = people.map(|(id, phone)| person(version + i64::from(id), id, phone));
            people.collect::<Vec<_>>()
        };
        world.each(&phones(1, ["a", "b", "c"])).await;
        world.each(&phones(10, ["b", "c", "a"])).await;
        assert_eq!(world.count("leafcutter.parked").await, 3, "{id}");
        // One of them has rested long enough.
        let times = "update leafcutter.parked set tried_at = now() + case version when 12 \
                     then interval '-1 hour' else interval '1 hour' end";
        world.execute(times).await;
        world.settle_due().await;
        let there = "select string_agg(phone, '' order by id) as phones, \
                     (select count(*) from leafcutter.parked) as parked from people";
        assert_eq!(
            world.rows(there).await,
            rows![{ phones: "bca", parked: 0 }],
            "{id}"
        );
    }
}

/// Each has what the other wants, in another column; and beside them two of whom one wants what a third has.
#[tokio::test]
async fn unique_values_are_exchanged_across_columns_whatever_others_want() {
    let mut world = World::with(PEOPLE).await;
    let before = [
        person(1, 1, "m1", "p1"),
        person(1, 2, "m2", "p2"),
        person(1, 3, "m3", "p3"),
        person(1, 4, "m4", "p4"),
        person(1, 5, "m5", "p5"),
    ];
    world.apply(&before).await.unwrap();
    let after = [
        person(2, 1, "m2", "new1"),
        person(2, 2, "new2", "p1"),
        person(2, 3, "m4", "p5"),
        person(2, 4, "m3", "p4"),
    ];
    world.each(&after).await;
    world.settle().await;
    let there = "select string_agg(mail || phone, ' ' order by id) as values, \
                 (select count(*) from leafcutter.parked) as parked from people";
    let values = "m2new1 new2p1 m3p3 m4p4 m5p5";
    assert_eq!(
        world.rows(there).await,
        rows![{ values: values, parked: 2 }]
    );
    world.each(&[delete_by("people", 3, 5)]).await;
    world.settle().await;
    let values = "m2new1 new2p1 m4p5 m3p4";
    assert_eq!(
        world.rows(there).await,
        rows![{ values: values, parked: 0 }]
    );
}

/// An account is merged into a new one, which gets its address: one waits for the row, the other for the value.
#[tokio::test]
async fn who_gives_a_value_to_its_own_parent_is_written_with_it() {
    let old = || merged(3, 1, "gone", 2);
    let new = || person(2, 2, "m", "p2");
    for order in [
        vec![vec![old(), new()]],
        vec![vec![old()], vec![new()]],
        vec![vec![new()], vec![old()]],
    ] {
        let mut world = World::with(PEOPLE).await;
        world.apply(&[person(1, 1, "m", "p1")]).await.unwrap();
        let batches = order.len();
        for batch in order {
            world.apply(&batch).await.unwrap();
        }
        world.settle_at_once().await;
        let there = "select string_agg(id || mail || coalesce(merged_into::text, ''), ' ' order by id) as people, \
                     (select count(*) from leafcutter.parked) as parked from people";
        assert_eq!(
            world.rows(there).await,
            rows![{ people: "1gone2 2m", parked: 0 }],
            "{batches}"
        );
    }
}

/// More documents of one batch hand a value on than there are rounds: what is left waits, and is not
/// lost.
#[tokio::test]
async fn a_long_chain_of_unique_values_is_placed_in_the_end() {
    const LAST: u8 = 30;
    let mut world = World::new().await;
    let all = |version, shift: u8| {
        let numbers = 1..=LAST;
        let made = numbers.map(|n| learner(version, n, &format!("mail {:02}", n + shift)));
        made.collect::<Vec<_>>()
    };
    world.apply(&all(1, 0)).await.unwrap();
    // Everybody gets the value of the next one.
    world.apply(&all(2, 1)).await.unwrap();
    let there = "select (select count(*) from learners where lc_version = 2) as placed, \
                 (select count(*) from leafcutter.parked) as parked";
    let counts = world.rows(there).await;
    let counts = counts.values();
    let counts: Vec<u8> = counts.iter().map(|n| n.parse().unwrap()).collect();
    assert_eq!(counts[0] + counts[1], LAST, "some are lost");
    assert!(counts[1] > 0, "it took no more rounds than there are");
    while world.settle().await.placed > 0 {}
    assert_eq!(world.rows(there).await, rows![{ placed: LAST, parked: 0 }]);
}

/// S1c: what the other waits for, besides, is nobody's to give, and so neither of them can be written.
#[tokio::test]
async fn who_is_tried_for_its_value_is_not_given_up_before_its_parent() {
    let mut world = World::with(PEOPLE).await;
    let before = [person(1, 1, "m", "p1"), person(1, 3, "m3", "p3")];
    world.apply(&before).await.unwrap();
    let waiting = [merged(3, 1, "gone", 2), person(2, 2, "m", "p3")];
    assert_eq!(world.each(&waiting).await, [Outcome::Parked; 2]);
    assert_eq!(world.settle_at(1_000_000).await.decided, 1);
    let letters = "select reason, version from leafcutter.dead_letters order by 2";
    assert_eq!(
        world.rows(letters).await,
        rows![{ reason: "unique", version: 2 }]
    );
    world.settle_at_once().await;
    assert_eq!(
        world.rows(letters).await,
        rows![
            { reason: "unique", version: 2 },
            { reason: "orphan", version: 3 },
        ]
    );
    // The third one gives its value up.
    world.each(&[delete_by("people", 4, 3)]).await;
    world.settle_at_once().await;
    let there = "select string_agg(id || mail || phone, ' ' order by id) as people, \
                 (select count(*) from leafcutter.parked) as parked from people";
    assert_eq!(
        world.rows(there).await,
        rows![{ people: "1gonep1 2mp3", parked: 0 }]
    );
}
