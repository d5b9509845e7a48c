//! What the target swallows without an error, by a trigger or a rule: it is not called applied, and nobody else is
//! harmed.

use crate::world::{Made, World, delete_by, put, read};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::{change::Outcome, retry::Retried};

const MAPPING: &str = "
version: 1
database: shop
collections:
  parents:
    table: parents
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
    children:
      - table: words
        from: words
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          word: { path: ., type: text }
  kids:
    table: kids
    key: id
    columns:
      id: { path: _id, type: bigint }
      parent: { type: bigint, references: { table: parents } }
      name: { type: text }
  soft:
    table: soft
    delete: { soft: gone_at }
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
  codes:
    table: codes
    key: code
    columns:
      code: { type: text, required: true }
      name: { type: text }
";

/// A trigger on `table` that runs before `event` and gives `result` where `condition` holds.
fn trigger(table: &str, event: &str, condition: &str, result: &str) -> String {
    format!(
        "create or replace function swallow_{table}() returns trigger language plpgsql as $$ begin \
         if {condition} then return {result}; end if; \
         if tg_op = 'DELETE' then return old; end if; return new; end $$; \
         create trigger swallow before {event} on {table} for each row execute function swallow_{table}()"
    )
}

fn parent(version: i64, id: i64, name: &str, words: &[&str]) -> Made {
    put(
        "parents",
        version,
        doc! { "_id": id, "name": name, "words": words.to_vec() },
    )
}

const PARENTS: &str = "select id, name, lc_version from parents order by 1";
const WORDS: &str = "select id, word from words order by 1, n";

/// The outcomes of a batch, of the one collection in it.
async fn outcomes(world: &mut World, records: &[Made]) -> Vec<(Outcome, i64)> {
    let applied = world.apply(records).await.unwrap();
    let counts = applied.counts.values().next().unwrap();
    let all = Outcome::ALL
        .into_iter()
        .map(|outcome| (outcome, counts.of(outcome)));
    all.filter(|(_, records)| *records > 0).collect()
}

async fn prepared(sql: &str) -> World {
    let world = World::with(MAPPING).await;
    world.execute_all(sql).await;
    world
}

/// Rows that go straight into their tables are counted.
#[tokio::test]
async fn a_snapshots_rows_that_are_swallowed_are_not_applied() {
    for table in ["parents", "words"] {
        let condition = if table == "parents" {
            "new.id % 10 = 0"
        } else {
            "new.word = 'bad'"
        };
        let mut world = prepared(&trigger(table, "insert", condition, "null")).await;
        let row = |id: i64| {
            let words = [if id % 10 == 0 { "bad" } else { "good" }];
            read(
                "parents",
                1,
                doc! { "_id": id, "name": "a", "words": words.to_vec() },
            )
        };
        let rows: Vec<Made> = (0..300).map(row).collect();
        let counted = outcomes(&mut world, &rows).await;
        assert_eq!(
            counted,
            [(Outcome::Applied, 270), (Outcome::Suppressed, 30)],
            "{table}"
        );
        let there = format!("select count(*), bool_and({condition}) as good from {table} new");
        assert_eq!(world.rows(&there).await, rows![{ count: 270, good: false }]);
    }
}

/// Each way in which a root row can be swallowed: its neighbours and their child rows are written, and its own
/// child rows stay as they were.
#[tokio::test]
async fn a_root_row_that_is_swallowed_harms_no_neighbour() {
    let cases = [
        ("insert", "null", false),
        ("update", "null", true),
        // What the command says it wrote is no proof.
        ("update", "old", true),
    ];
    for (event, result, before) in cases {
        let mut world = World::with(MAPPING).await;
        if before {
            let first: Vec<Made> = (1..=3).map(|id| parent(1, id, "a", &["x"])).collect();
            world.write(&first).await;
        }
        world
            .execute_all(&trigger("parents", event, "new.name = 'bad'", result))
            .await;
        let batch = [
            parent(2, 1, "b", &["y", "z"]),
            parent(2, 2, "bad", &["y", "z"]),
            parent(2, 3, "c", &[]),
        ];
        let counted = outcomes(&mut world, &batch).await;
        let case = format!("{event} {result}");
        assert_eq!(
            counted,
            [(Outcome::Applied, 2), (Outcome::Suppressed, 1)],
            "{case}"
        );
        let (rows, words) = if before {
            (
                rows![
                    { id: 1, name: "b", lc_version: 2 },
                    { id: 2, name: "a", lc_version: 1 },
                    { id: 3, name: "c", lc_version: 2 },
                ],
                rows![
                    { id: 1, word: "y" },
                    { id: 1, word: "z" },
                    { id: 2, word: "x" },
                ],
            )
        } else {
            (
                rows![
                    { id: 1, name: "b", lc_version: 2 },
                    { id: 3, name: "c", lc_version: 2 },
                ],
                rows![{ id: 1, word: "y" }, { id: 1, word: "z" }],
            )
        };
        assert_eq!(world.rows(PARENTS).await, rows, "{case}");
        assert_eq!(world.rows(WORDS).await, words, "{case}");
        // Alone, too, and again.
        assert_eq!(
            world.each(&[parent(2, 2, "bad", &["y"])]).await,
            [Outcome::Suppressed],
            "{case}"
        );
    }
}

/// Of a version that is there already, a repair.
#[tokio::test]
async fn a_repair_that_is_swallowed_is_told() {
    let mut world = World::with(MAPPING).await;
    world
        .write(&[parent(1, 1, "a", &[]), parent(1, 2, "a", &[])])
        .await;
    world.execute("update parents set name = 'edited'").await;
    world
        .execute_all(&trigger("parents", "update", "new.id = 2", "null"))
        .await;
    let batch = [parent(1, 1, "a", &[]), parent(1, 2, "a", &[])];
    let counted = outcomes(&mut world, &batch).await;
    assert_eq!(counted, [(Outcome::Applied, 1), (Outcome::Suppressed, 1)]);
}

/// Child rows: written anew, changed, and those that the document no longer has.
#[tokio::test]
async fn child_rows_that_are_swallowed_are_told() {
    let cases = [
        ("insert", "new.word = 'bad'", "null"),
        ("update", "new.word = 'bad'", "null"),
        ("delete", "old.id = 2", "null"),
    ];
    for (event, condition, result) in cases {
        let mut world = World::with(MAPPING).await;
        if event != "insert" {
            world
                .write(&[
                    parent(1, 1, "a", &["x", "x"]),
                    parent(1, 2, "a", &["x", "x"]),
                ])
                .await;
        }
        world
            .execute_all(&trigger("words", event, condition, result))
            .await;
        let word = if event == "delete" { "z" } else { "bad" };
        let batch = [parent(2, 1, "b", &["y"]), parent(2, 2, "b", &[word])];
        let counted = outcomes(&mut world, &batch).await;
        assert_eq!(
            counted,
            [(Outcome::Applied, 1), (Outcome::Suppressed, 1)],
            "{event}"
        );
        let words = match event {
            "insert" => rows![{ id: 1, word: "y" }],
            "update" => rows![{ id: 1, word: "y" }, { id: 2, word: "x" }],
            _ => rows![
                { id: 1, word: "y" },
                { id: 2, word: "z" },
                { id: 2, word: "x" },
            ],
        };
        assert_eq!(world.rows(WORDS).await, words, "{event}");
    }
}

/// A trigger that only changes rows, and rows that a trigger puts into a table that inherits.
#[tokio::test]
async fn rows_that_are_changed_or_put_elsewhere_are_applied() {
    let lower = "create function lower_name() returns trigger language plpgsql as $$ begin \
                 new.name = lower(new.name); return new; end $$; \
                 create trigger lower before insert or update on parents for each row \
                 execute function lower_name()";
    let mut world = prepared(lower).await;
    let batch = [parent(1, 1, "A", &["x"]), parent(1, 2, "B", &["y"])];
    assert_eq!(outcomes(&mut world, &batch).await, [(Outcome::Applied, 2)]);
    assert_eq!(
        world.rows(PARENTS).await,
        rows![
            { id: 1, name: "a", lc_version: 1 },
            { id: 2, name: "b", lc_version: 1 },
        ]
    );

    let elsewhere = "create table kids_2 () inherits (kids); \
                     create function put_elsewhere() returns trigger language plpgsql as $$ begin \
                     insert into kids_2 select new.*; return null; end $$; \
                     create trigger elsewhere before insert on kids for each row \
                     execute function put_elsewhere()";
    let mut world = prepared(elsewhere).await;
    let kid = |id: i64| put("kids", 1, doc! { "_id": id, "name": "a" });
    assert_eq!(
        outcomes(&mut world, &[kid(1), kid(2)]).await,
        [(Outcome::Applied, 2)]
    );
    assert_eq!(world.count("kids_2").await, 2);
}

/// Deletes: by a trigger, by a rule, of the row and of those below it.
#[tokio::test]
async fn a_delete_that_is_swallowed_is_told() {
    let of_row = trigger("parents", "delete", "old.id = 2", "null");
    let rule =
        "create rule stay as on delete to parents where old.id = 2 do instead nothing".to_owned();
    for sql in [of_row, rule] {
        let mut world = World::with(MAPPING).await;
        let first: Vec<Made> = (1..=3).map(|id| parent(1, id, "a", &["x"])).collect();
        world.write(&first).await;
        world.execute_all(&sql).await;
        let batch: Vec<Made> = (1..=3).map(|id| delete_by("parents", 2, id)).collect();
        let counted = outcomes(&mut world, &batch).await;
        assert_eq!(
            counted,
            [(Outcome::Deleted, 2), (Outcome::Suppressed, 1)],
            "{sql}"
        );
        assert_eq!(
            world.rows(PARENTS).await,
            rows![{ id: 2, name: "a", lc_version: 1 }]
        );
        // The document is gone: nothing older comes back over it.
        assert_eq!(
            world.each(&[parent(1, 2, "old", &[])]).await,
            [Outcome::Stale]
        );
    }
}

#[tokio::test]
async fn a_soft_delete_that_is_swallowed_is_told() {
    let mut world = World::with(MAPPING).await;
    let row = |id: i64| put("soft", 1, doc! { "_id": id, "name": "a" });
    world.write(&[row(1), row(2)]).await;
    world
        .execute_all(&trigger("soft", "update", "old.id = 2", "null"))
        .await;
    let batch = [delete_by("soft", 2, 1_i64), delete_by("soft", 2, 2_i64)];
    let counted = outcomes(&mut world, &batch).await;
    assert_eq!(counted, [(Outcome::Deleted, 1), (Outcome::Suppressed, 1)]);
}

/// A held row that the target keeps when its turn comes stays held.
#[tokio::test]
async fn a_held_row_that_is_kept_stays_held() {
    let mut world = World::with(MAPPING).await;
    let kid = |id: i64| put("kids", 1, doc! { "_id": id, "parent": id });
    world
        .write(&[parent(1, 1, "a", &[]), parent(1, 2, "a", &[])])
        .await;
    world.write(&[kid(1), kid(2)]).await;
    world
        .write(&[
            delete_by("parents", 2, 1_i64),
            delete_by("parents", 2, 2_i64),
        ])
        .await;
    world
        .execute_all(&trigger("parents", "delete", "old.id = 2", "null"))
        .await;
    world
        .write(&[delete_by("kids", 3, 1_i64), delete_by("kids", 3, 2_i64)])
        .await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(
        world.rows(PARENTS).await,
        rows![{ id: 2, name: "a", lc_version: 1 }]
    );
    assert_eq!(world.count("leafcutter.held").await, 1);
}

fn kid(version: i64, id: i64, name: &str) -> Made {
    let fields: Document = doc! { "_id": id, "parent": 1_i64, "name": name };
    put("kids", version, fields)
}

const LETTERS: &str = "select \"offset\", reason, state from leafcutter.dead_letters order by 1";

/// What waited is counted already: it becomes a dead letter, whoever places it.
#[tokio::test]
async fn a_waiting_document_that_is_swallowed_becomes_a_dead_letter() {
    for by_batch in [true, false] {
        let mut world = prepared(&trigger("kids", "insert", "new.name = 'bad'", "null")).await;
        world
            .write(&[kid(2, 1, "a"), kid(2, 2, "bad"), kid(2, 3, "c")])
            .await;
        if by_batch {
            let counted = outcomes(
                &mut world,
                &[parent(1, 1, "p", &[]), parent(1, 2, "q", &[])],
            )
            .await;
            assert_eq!(counted, [(Outcome::Applied, 2)]);
        } else {
            world
                .execute("insert into parents (id, lc_version) values (1, 1)")
                .await;
        }
        world.settle().await;
        assert_eq!(
            world.rows("select id from kids order by 1").await,
            rows![{ id: 1 }, { id: 3 }]
        );
        assert_eq!(
            world.rows(LETTERS).await,
            rows![{ offset: 1, reason: "suppressed", state: "open" }]
        );
        let state = "select state from leafcutter.parked";
        assert_eq!(world.rows(state).await, rows![{ state: "refused" }]);
        let again = world.retry(&kid(2, 2, "bad"), 1).await;
        assert!(matches!(again, Retried::Refused(_)), "{again:?}");
        world.execute_all("drop trigger swallow on kids").await;
        assert_eq!(world.retry(&kid(2, 2, "bad"), 1).await, Retried::Applied);
        assert_eq!(
            world.rows("select id from kids order by 1").await,
            rows![{ id: 1 }, { id: 2 }, { id: 3 }]
        );
        assert_eq!(
            world.rows(LETTERS).await,
            rows![{ offset: 1, reason: "suppressed", state: "retried" }]
        );
    }
}

/// Where the key does not follow from `_id`: who is swallowed has no row, and another may have it.
#[tokio::test]
async fn a_row_with_a_natural_key_that_is_swallowed_belongs_to_nobody() {
    let mut world = prepared(&trigger("codes", "insert", "new.name = 'bad'", "null")).await;
    let code = |version: i64, id: i64, code: &str, name: &str| {
        put(
            "codes",
            version,
            doc! { "_id": id, "code": code, "name": name },
        )
    };
    let batch = [
        code(1, 1, "x", "a"),
        code(1, 2, "y", "bad"),
        code(1, 3, "z", "c"),
    ];
    let counted = outcomes(&mut world, &batch).await;
    assert_eq!(counted, [(Outcome::Applied, 2), (Outcome::Suppressed, 1)]);
    assert_eq!(
        world.each(&[code(1, 4, "y", "d")]).await,
        [Outcome::Applied]
    );
    assert_eq!(
        world.rows("select code, name from codes order by 1").await,
        rows![
            { code: "x", name: "a" },
            { code: "y", name: "d" },
            { code: "z", name: "c" },
        ]
    );
}

/// An orphan whose parent came after all, and of which a child row is swallowed then: its dead letter stays.
#[tokio::test]
async fn an_orphan_of_which_a_row_is_swallowed_keeps_its_dead_letter() {
    let mapping = MAPPING.replace(
        "  soft:\n",
        "    children:\n      - table: toys\n        from: toys\n        key: [id, n]\n        columns:\n          \
         id: { parent: id }\n          n: { position: true, type: integer }\n          \
         toy: { path: ., type: text }\n  soft:\n",
    );
    let mut world = World::with(&mapping).await;
    world
        .execute_all(&trigger("toys", "insert", "new.toy = 'bad'", "null"))
        .await;
    let kid = doc! { "_id": 1_i64, "parent": 1_i64, "toys": ["good", "bad"] };
    world.write(&[put("kids", 2, kid)]).await;
    world.settle_at_once().await;
    assert_eq!(world.text(LETTERS).await, "0|orphan|open");
    world.write(&[parent(3, 1, "p", &[])]).await;
    world.settle().await;
    assert_eq!(world.text(LETTERS).await, "0|suppressed|open");
    let state = "select state from leafcutter.parked";
    assert_eq!(world.text(state).await, "refused");
}
