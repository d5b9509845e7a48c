use crate::world::{Made, World, component, delete, delete_by, id, learner, progress, put};
use bson::doc;
use leafcutter_harness::rows;
use leafcutter_sink::{ApplyError, change::Outcome};

const EMAILS: &str = "select email, lc_version from learners order by email";
const PARKED: &str =
    "select table_name, reason, state, version from leafcutter.parked order by 1, 4";

#[tokio::test]
async fn highest_version_wins_whatever_the_order() {
    let mut world = World::new().await;
    let records = [
        learner(5, 1, "five"),
        learner(3, 1, "three"),
        learner(5, 1, "five"),
        learner(5, 1, "FIVE"),
        delete("learners", 7, 1),
        learner(6, 1, "six"),
        delete("learners", 7, 1),
        learner(7, 1, "seven"),
        learner(9, 1, "nine"),
        // The version rises though the content is the same.
        learner(11, 1, "nine"),
        learner(10, 1, "ten"),
    ];
    let outcomes = world.each(&records).await;
    assert_eq!(
        outcomes,
        [
            Outcome::Applied,
            Outcome::Stale,
            Outcome::Unchanged,
            Outcome::Applied,
            Outcome::Deleted,
            Outcome::Stale,
            Outcome::Unchanged,
            Outcome::Applied,
            Outcome::Applied,
            Outcome::Applied,
            Outcome::Stale,
        ]
    );
    assert_eq!(
        world.rows(EMAILS).await,
        rows![{ email: "nine", lc_version: 11 }]
    );
    assert_eq!(world.count("leafcutter.tombstones").await, 0);
}

/// What was deleted does not come back until its delete is read again.
#[tokio::test]
async fn fresh_group_begins_on_the_tombstones_of_the_others() {
    let mut world = World::new().await;
    let records = [learner(5, 1, "five"), delete("learners", 7, 1)];
    world.each(&records).await;
    world.as_group("fresh");
    let outcomes = world.each(&records).await;
    assert_eq!(outcomes, [Outcome::Stale, Outcome::Unchanged]);
}

#[tokio::test]
async fn one_batch_is_as_many() {
    let mut world = World::new().await;
    let records = [
        learner(5, 1, "a"),
        delete("learners", 6, 1),
        learner(8, 1, "b"),
        learner(7, 1, "late"),
    ];
    let applied = world.apply(&records).await.unwrap();
    let counts = applied.counts.values().next().unwrap();
    assert_eq!(counts.of(Outcome::Applied), 1);
    assert_eq!(counts.of(Outcome::Stale), 3);
    assert_eq!(
        world.rows(EMAILS).await,
        rows![{ email: "b", lc_version: 8 }]
    );
}

#[tokio::test]
async fn child_waits_and_comes_with_its_parent() {
    let mut world = World::new().await;
    assert_eq!(world.each(&[progress(3, 10, 1)]).await, [Outcome::Parked]);
    assert_eq!(
        world.rows(PARKED).await,
        rows![{ table_name: "daily_progress", reason: "parent", state: "waiting", version: 3 }]
    );
    // A late, older record of the child changes nothing.
    assert_eq!(world.each(&[progress(2, 10, 1)]).await, [Outcome::Stale]);
    let applied = world.apply(&[learner(4, 1, "a")]).await.unwrap();
    assert_eq!(applied.released, 1);
    assert_eq!(
        world.rows("select lc_version from daily_progress").await,
        rows![{ lc_version: 3 }]
    );
    assert_eq!(world.rows(PARKED).await, rows![]);
}

#[tokio::test]
async fn delete_removes_what_is_parked() {
    let mut world = World::new().await;
    world
        .each(&[
            progress(3, 10, 1),
            delete("daily_progress", 4, 10),
            learner(5, 1, "a"),
        ])
        .await;
    assert_eq!(world.count("daily_progress").await, 0);
    assert_eq!(world.rows(PARKED).await, rows![]);
    assert_eq!(world.each(&[progress(3, 10, 1)]).await, [Outcome::Stale]);
}

#[tokio::test]
async fn settling_finds_what_batches_miss() {
    let mut world = World::new().await;
    world.each(&[progress(3, 10, 1)]).await;
    // As if the parent's batch had not seen the parked child.
    world
        .execute("update leafcutter.parked set wait_key = '\\x00'")
        .await;
    world.each(&[learner(4, 1, "a")]).await;
    assert_eq!(world.count("daily_progress").await, 0);
    assert_eq!(world.settle().await.placed, 1);
    assert_eq!(world.count("daily_progress").await, 1);
}

/// The delete of the parent may have overtaken one of the child, in another partition (O4).
#[tokio::test]
async fn no_orphan_is_called_before_the_deletes_behind_the_heartbeat() {
    let mut world = World::new().await;
    let answer = |version, item| {
        let document = doc! { "_id": id(1), "learner_id": id(1), "item_id": id(item) };
        put("interactions", version, document)
    };
    world.each(&[learner(1, 1, "one"), answer(2, 9)]).await;
    world.each(&[delete("learning_items", 6, 9)]).await;
    for early in [1, 2, 5] {
        world.settle_at(early).await;
        assert_eq!(
            world.rows(PARKED).await,
            rows![{ table_name: "interactions", reason: "parent", state: "waiting", version: 2 }]
        );
    }
    assert_eq!(world.settle_at(6).await.placed, 1);
    let row = "select item_id is null as has_no_item, lc_version from interactions";
    assert_eq!(
        world.rows(row).await,
        rows![{ has_no_item: true, lc_version: 2 }]
    );
}

#[tokio::test]
async fn chains_and_cycles_of_one_table_are_placed() {
    let mut world = World::new().await;
    // A chain, the deepest first, then the root.
    let chain = [
        component(1, 4, Some(3)),
        component(1, 3, Some(2)),
        component(1, 2, Some(1)),
    ];
    assert_eq!(world.each(&chain).await, [Outcome::Parked; 3]);
    let applied = world.apply(&[component(2, 1, None)]).await.unwrap();
    assert_eq!(applied.released, 3);
    // A cycle, one after the other.
    world
        .each(&[component(3, 11, Some(12)), component(3, 12, Some(13))])
        .await;
    let applied = world.apply(&[component(4, 13, Some(11))]).await.unwrap();
    assert_eq!(applied.released, 2);
    assert_eq!(world.count("knowledge_components").await, 7);
    // A cycle within one batch, and a document that points to itself.
    let batch = [
        component(5, 21, Some(22)),
        component(5, 22, Some(21)),
        component(5, 23, Some(23)),
    ];
    world.apply(&batch).await.unwrap();
    assert_eq!(world.count("knowledge_components").await, 10);
    assert_eq!(world.rows(PARKED).await, rows![]);
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
    let mapping = "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: integer }
      mail: { type: text, unique: true }
      phone: { type: text, unique: true, required: true }
";
    let mut world = World::with(mapping).await;
    let person = |version, id: i32, mail: &str, phone: &str| {
        put(
            "people",
            version,
            doc! { "_id": id, "mail": mail, "phone": phone },
        )
    };
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
    let mapping = "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: integer }
      mail: { type: text, unique: true, required: true }
      merged_into: { type: integer, references: { table: people } }
";
    let person = |version, id: i32, mail: &str, into: Option<i32>| {
        let person = doc! { "_id": id, "mail": mail, "merged_into": into };
        put("people", version, person)
    };
    let old = || person(3, 1, "gone", Some(2));
    let new = || person(2, 2, "m", None);
    for order in [
        vec![vec![old(), new()]],
        vec![vec![old()], vec![new()]],
        vec![vec![new()], vec![old()]],
    ] {
        let mut world = World::with(mapping).await;
        world.apply(&[person(1, 1, "m", None)]).await.unwrap();
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

#[tokio::test]
async fn deleted_parent_is_held_until_the_last_child_goes() {
    let mut world = World::new().await;
    world
        .each(&[learner(1, 1, "a"), progress(2, 10, 1), progress(2, 11, 1)])
        .await;
    assert_eq!(
        world.each(&[delete("learners", 5, 1)]).await,
        [Outcome::Held]
    );
    assert_eq!(
        world.rows(EMAILS).await,
        rows![{ email: "a", lc_version: 1 }]
    );
    // Its row is older than a delete that comes late; its tombstone is not.
    assert_eq!(
        world.each(&[delete("learners", 4, 1)]).await,
        [Outcome::Stale]
    );
    assert_eq!(world.settle().await.let_go, 0);
    world
        .each(&[
            delete("daily_progress", 6, 10),
            delete("daily_progress", 7, 11),
        ])
        .await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(world.count("learners").await, 0);
    assert_eq!(world.count("leafcutter.held").await, 0);
    assert_eq!(world.count("leafcutter.tombstones").await, 3);
    // A held row is released by a newer document, not by an older one.
    world
        .each(&[
            learner(10, 2, "b"),
            progress(11, 12, 2),
            delete("learners", 12, 2),
        ])
        .await;
    assert_eq!(
        world.each(&[learner(11, 2, "late")]).await,
        [Outcome::Stale]
    );
    assert_eq!(
        world.each(&[learner(13, 2, "again")]).await,
        [Outcome::Applied]
    );
    assert_eq!(world.count("leafcutter.held").await, 0);
}

#[tokio::test]
async fn parents_and_children_deleted_together_in_any_order() {
    let mut world = World::new().await;
    world
        .each(&[
            component(1, 1, None),
            component(1, 2, Some(1)),
            component(1, 3, Some(2)),
        ])
        .await;
    let kc = "knowledge_components";
    world
        .apply(&[delete(kc, 2, 1), delete(kc, 3, 2), delete(kc, 4, 3)])
        .await
        .unwrap();
    assert_eq!(world.count("knowledge_components").await, 0);
    assert_eq!(world.count("leafcutter.held").await, 0);
}

fn item(version: i64, number: u8, tags: &[&str]) -> Made {
    put(
        "learning_items",
        version,
        doc! { "_id": id(number), "title": "t", "tags": tags },
    )
}

#[tokio::test]
async fn children_follow_the_array_and_only_differences_are_written() {
    let mut world = World::new().await;
    world
        .each(&[item(1, 1, &["a", "b", "c"]), item(1, 2, &["x"])])
        .await;
    assert_eq!(world.count("learning_item_tags").await, 4);
    let before = world
        .rows("select xmin from learning_item_tags where tag in ('a', 'x') order by tag")
        .await;
    world.each(&[item(2, 1, &["a", "B"])]).await;
    let tags = "select tag from learning_item_tags where item_id <> \
                (select item_id from learning_item_tags where tag = 'x') order by position";
    assert_eq!(world.rows(tags).await, rows![{ tag: "a" }, { tag: "B" }]);
    let after = world
        .rows("select xmin from learning_item_tags where tag in ('a', 'x') order by tag")
        .await;
    assert_eq!(before, after, "an unchanged child row was written");
    // A stale array changes nothing; a delete takes the children along.
    assert_eq!(world.each(&[item(1, 1, &["old"])]).await, [Outcome::Stale]);
    world.each(&[delete("learning_items", 3, 1)]).await;
    assert_eq!(
        world.rows("select tag from learning_item_tags").await,
        rows![{ tag: "x" }]
    );
}

#[tokio::test]
async fn lost_answer_of_a_commit_is_recognised() {
    let mut world = World::new().await;
    world.each(&[learner(1, 1, "a")]).await;
    // The same batch once more, as after a lost answer: position 1 was committed already.
    let topic = world
        .model
        .collection(world.collection("learners"))
        .topic
        .clone();
    world
        .execute(&format!(
            "update leafcutter.offsets set next_offset = 2 where topic = '{topic}'"
        ))
        .await;
    let applied = world.apply(&[learner(2, 1, "b")]).await.unwrap();
    assert!(applied.committed_before);
    assert_eq!(
        world.rows(EMAILS).await,
        rows![{ email: "a", lc_version: 1 }]
    );
    // Somebody else's epoch: fenced.
    world
        .execute(&format!(
            "update leafcutter.offsets set epoch = epoch + 1 where topic = '{topic}'"
        ))
        .await;
    assert!(matches!(
        world.apply(&[learner(3, 1, "c")]).await,
        Err(ApplyError::Fenced(_))
    ));
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
