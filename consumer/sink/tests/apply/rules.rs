use crate::world::{Made, World, component, delete, id, learner, progress, put};
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
