//! One document that PostgreSQL refuses when it is its turn, and everybody beside it: the parent that releases
//! it, its siblings, whatever else waits, rows that are held. Only that one becomes a dead letter.

use crate::world::{Made, World, delete_by, put};
use bson::{Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::retry::Retried;

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
  kids:
    table: kids
    key: id
    columns:
      id: { path: _id, type: bigint }
      parent: { type: bigint, references: { table: parents } }
      nick: { type: text }
    children:
      - table: words
        from: words
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          word: { path: ., type: text }
  nodes:
    table: nodes
    key: id
    columns:
      id: { path: _id, type: bigint }
      above: { type: bigint, references: { table: nodes } }
      name: { type: text }
";

/// What the application has that the mapping does not name, and what breaks it.
struct Fault {
    name: &'static str,
    /// Run when the tables are there.
    before: &'static str,
    nick: &'static str,
    word: &'static str,
    sqlstate: &'static str,
}

const fn of_nick(name: &'static str, before: &'static str, sqlstate: &'static str) -> Fault {
    Fault {
        name,
        before,
        nick: "bad",
        word: "good",
        sqlstate,
    }
}

const fn of_word(name: &'static str, before: &'static str, sqlstate: &'static str) -> Fault {
    Fault {
        name,
        before,
        nick: "good",
        word: "bad",
        sqlstate,
    }
}

const RAISES: &str = "
    create function judge() returns trigger language plpgsql as $$
    begin raise exception 'not that one' using errcode = '22023'; end $$;
    create trigger judge before insert on kids for each row when (new.nick = 'bad')
    execute function judge()";

/// Behind the triggers that check references, which run in the order of their names.
const RAISES_LATE: &str = "
    create function judge() returns trigger language plpgsql as $$
    begin raise exception 'not that one' using errcode = '22023'; end $$;
    create trigger zz_judge after insert on words for each row when (new.word = 'bad')
    execute function judge()";

const FAULTS: [Fault; 9] = [
    of_nick(
        "check",
        "alter table kids add constraint no_bad check (nick <> 'bad')",
        "23514",
    ),
    of_word(
        "check of a child row",
        "alter table words add check (word <> 'bad')",
        "23514",
    ),
    of_nick(
        "unique",
        "create unique index on kids (nick) where nick = 'bad'",
        "23505",
    ),
    of_word(
        "unique child row",
        "create unique index on words (word) where word = 'bad'",
        "23505",
    ),
    of_nick(
        "foreign key",
        "create table nicks (nick text primary key); insert into nicks values ('good'); \
         alter table kids add foreign key (nick) references nicks",
        "23503",
    ),
    of_word(
        "foreign key of a child row",
        "create table known (word text primary key); insert into known values ('good'); \
         alter table words add foreign key (word) references known",
        "23503",
    ),
    of_nick("trigger", RAISES, "22023"),
    of_word("trigger of a child row", RAISES_LATE, "22023"),
    of_nick("index entry", "create index on kids (nick)", "54000"),
];

/// Positions of the bad ones.
const BAD: [i64; 3] = [4, 5, 17];
const KIDS: i64 = 20;

impl Fault {
    fn nick(&self, id: i64) -> String {
        if self.sqlstate == "54000" && BAD.contains(&id) {
            // Too long for an index, and nothing that can be compressed.
            let mut seed = 1_u64;
            let mut next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b'0' + u8::try_from((seed >> 33) % 75).unwrap())
            };
            return (0..12_000).map(|_| next()).collect();
        }
        (if BAD.contains(&id) { self.nick } else { "good" }).to_owned()
    }

    fn kid(&self, id: i64, parent: i64) -> Made {
        let word = if BAD.contains(&id) { self.word } else { "good" };
        kid(
            id,
            doc! { "parent": parent, "nick": self.nick(id), "words": ["good", word] },
        )
    }

    /// A world in which all kids wait for parent 1, and somebody has the bad values already.
    async fn waiting(&self) -> World {
        let mut world = World::with(MAPPING).await;
        if self.sqlstate == "23505" {
            world
                .execute_all(
                    "insert into parents (id) values (0); \
                     insert into kids (id, parent, nick, lc_version) values (100, 0, 'bad', 1); \
                     insert into words (id, n, word) values (100, 0, 'bad')",
                )
                .await;
        }
        world.execute_all(self.before).await;
        let kids: Vec<Made> = (0..KIDS).map(|id| self.kid(id, 1)).collect();
        world.write(&kids).await;
        assert_eq!(
            world.rows(WAITING).await,
            rows![{ waiting: KIDS, refused: 0 }],
            "{}",
            self.name
        );
        world
    }

    /// Whether all are there but the bad ones, which are dead letters for this reason.
    async fn holds(&self, world: &World) {
        let name = self.name;
        let good: Vec<String> = (0..KIDS)
            .filter(|id| !BAD.contains(id))
            .map(|id| id.to_string())
            .collect();
        assert_eq!(world.rows(THERE).await.values(), good, "{name}");
        let words = "words where id < 100";
        assert_eq!(world.count(words).await, 2 * good.len(), "{name}");
        let state = self.sqlstate;
        let [one, two, three] = BAD;
        let letters = rows![
            { offset: one, reason: "refused", sqlstate: state, state: "open" },
            { offset: two, reason: "refused", sqlstate: state, state: "open" },
            { offset: three, reason: "refused", sqlstate: state, state: "open" },
        ];
        assert_eq!(world.rows(LETTERS).await, letters, "{name}");
        let waiting = rows![{ waiting: 0, refused: 3 }];
        assert_eq!(world.rows(WAITING).await, waiting, "{name}");
    }
}

fn kid(id: i64, fields: Document) -> Made {
    let mut document = doc! { "_id": id };
    document.extend(fields);
    put("kids", 2, document)
}

fn parent(id: i64) -> Made {
    put("parents", 3, doc! { "_id": id, "name": "a" })
}

const THERE: &str = "select id from kids where id < 100 order by 1";
const WAITING: &str = "\
    select count(*) filter (where state = 'waiting') as waiting, count(*) filter (where state = 'refused') as refused \
    from leafcutter.parked";
const LETTERS: &str = "\
    select \"offset\", reason, sqlstate, state \
    from leafcutter.dead_letters order by \"offset\"";

/// The parent is there at once; its children follow, but for the bad ones.
#[tokio::test]
async fn a_bad_child_harms_neither_its_parent_nor_its_siblings() {
    for fault in FAULTS {
        let mut world = fault.waiting().await;
        let others = [parent(8), parent(1), parent(9)];
        world.write(&others).await;
        let there = "select id from parents where id > 0 order by 1";
        let three = rows![{ id: 1 }, { id: 8 }, { id: 9 }];
        assert_eq!(world.rows(there).await, three, "{}", fault.name);
        assert_eq!(world.rows(LETTERS).await, rows![], "{}", fault.name);
        world.settle().await;
        fault.holds(&world).await;
        // Another change of the parent has nothing to do with it.
        world
            .write(&[put("parents", 4, doc! { "_id": 1_i64, "name": "b" })])
            .await;
        assert_eq!(world.settle().await.placed, 0);
        fault.holds(&world).await;
    }
}

/// A parent that its children's batch did not see.
#[tokio::test]
async fn a_bad_child_stops_nothing_of_what_is_settled() {
    for fault in FAULTS {
        let mut world = fault.waiting().await;
        // One that waits for something else.
        world
            .write(&[kid(
                50,
                doc! { "parent": 51_i64, "nick": "good", "words": [] },
            )])
            .await;
        world.execute("insert into parents (id) values (1)").await;
        let settled = world.settle_at(1_000).await;
        let good = usize::try_from(KIDS).unwrap() - BAD.len();
        assert_eq!(settled.placed, good, "{}", fault.name);
        // Orphans are decided all the same, and so are the bad ones given up.
        assert_eq!(settled.decided, BAD.len() + 1, "{}", fault.name);
        let orphan = "delete from leafcutter.dead_letters where reason = 'orphan'";
        assert_eq!(world.execute(orphan).await, 1);
        fault.holds(&world).await;
        assert_eq!(world.settle_at(1_000).await.decided, 0);
    }
}

/// What a trigger raises without saying what it is may be the world's fault: others go on, and the document is
/// refused after some rounds.
#[tokio::test]
async fn an_error_in_doubt_is_the_documents_after_some_rounds() {
    let raises = RAISES.replace("22023", "P0001");
    let fault = Fault {
        before: raises.leak(),
        sqlstate: "P0001",
        ..FAULTS[6]
    };
    let mut world = fault.waiting().await;
    world.write(&[parent(1)]).await;
    assert_eq!(world.rows("select id from parents").await, rows![{ id: 1 }]);
    let good = usize::try_from(KIDS).unwrap() - BAD.len();
    assert_eq!(world.settle().await.placed, good);
    for _ in 0..2 {
        assert_eq!(world.settle().await.decided, 0);
    }
    assert_eq!(world.settle().await.decided, BAD.len());
    fault.holds(&world).await;
}

/// A person's retry of the parent, and then of a bad child whose fault was mended.
#[tokio::test]
async fn a_parent_that_is_tried_again_lands_without_its_bad_child() {
    let fault = &FAULTS[0];
    let mut world = fault.waiting().await;
    world
        .execute_all("alter table parents add constraint no_a check (name <> 'a')")
        .await;
    world.write(&[parent(1)]).await;
    assert_eq!(world.count("parents").await, 0);
    world
        .execute_all("alter table parents drop constraint no_a")
        .await;
    assert_eq!(world.retry(&parent(1), 0).await, Retried::Applied);
    assert_eq!(world.rows("select id from parents").await, rows![{ id: 1 }]);
    let of_parents = "delete from leafcutter.dead_letters where table_name like '%parents'";
    assert_eq!(world.execute(of_parents).await, 1);
    world.settle().await;
    fault.holds(&world).await;
    world
        .execute_all("alter table kids drop constraint no_bad")
        .await;
    // Its image as it was, but with a parent that is not there.
    let waits = world.retry(&fault.kid(4, 9), 4).await;
    assert!(matches!(waits, Retried::Waits(_)), "{waits:?}");
    assert_eq!(world.rows(WAITING).await, rows![{ waiting: 1, refused: 2 }]);
    world.write(&[parent(9)]).await;
    assert_eq!(
        world.rows("select parent from kids where id = 4").await,
        rows![{ parent: 9 }]
    );
    assert_eq!(world.retry(&fault.kid(5, 1), 5).await, Retried::Applied);
    assert_eq!(world.rows(WAITING).await, rows![{ waiting: 0, refused: 1 }]);
    let states = "select state from leafcutter.dead_letters order by \"offset\"";
    assert_eq!(
        world.rows(states).await.values(),
        ["superseded", "retried", "open"]
    );
}

/// What is refused is part of what is stored: nothing older comes after it, and its own successor places it.
#[tokio::test]
async fn a_refused_document_is_stored_still() {
    let fault = &FAULTS[0];
    let mut world = fault.waiting().await;
    world.write(&[parent(1)]).await;
    world.settle().await;
    fault.holds(&world).await;
    let older = put(
        "kids",
        1,
        doc! { "_id": 4_i64, "parent": 1_i64, "nick": "old" },
    );
    world.write(&[older]).await;
    fault.holds(&world).await;
    let newer = put(
        "kids",
        3,
        doc! { "_id": 4_i64, "parent": 1_i64, "nick": "new" },
    );
    world.write(&[newer]).await;
    assert_eq!(
        world.rows("select nick from kids where id = 4").await,
        rows![{ nick: "new" }]
    );
    assert_eq!(world.rows(WAITING).await, rows![{ waiting: 0, refused: 2 }]);
    let states = "select state from leafcutter.dead_letters order by \"offset\"";
    assert_eq!(
        world.rows(states).await.values(),
        ["superseded", "open", "open"]
    );
}

fn node(id: i64, above: i64, name: &str) -> Made {
    put("nodes", 1, doc! { "_id": id, "above": above, "name": name })
}

/// Of documents that wait for each other one is bad: the others of its cycle wait for it, and nobody else does.
#[tokio::test]
async fn a_bad_document_in_a_cycle_is_found() {
    let mut world = World::with(MAPPING).await;
    world
        .execute_all("alter table nodes add constraint no_bad check (name <> 'bad')")
        .await;
    let cycles = [
        node(1, 2, "a"),
        node(2, 3, "bad"),
        node(3, 1, "c"),
        node(11, 12, "d"),
        node(12, 11, "e"),
        node(21, 22, "f"),
        node(22, 23, "g"),
        node(23, 21, "h"),
    ];
    for record in cycles {
        world.write(&[record]).await;
        // As if the batches had not seen each other.
        world
            .execute("update leafcutter.parked set state = 'refused'")
            .await;
    }
    world
        .execute("update leafcutter.parked set state = 'waiting'")
        .await;
    world.settle_at(1_000).await;
    assert_eq!(
        world.rows("select id from nodes order by 1").await,
        rows![
            { id: 11 },
            { id: 12 },
            { id: 21 },
            { id: 22 },
            { id: 23 },
        ]
    );
    let letters = "select encode(row_key, 'hex') as row_key, reason, sqlstate from leafcutter.dead_letters order by 1";
    assert_eq!(
        world.rows(letters).await,
        rows![{ row_key: "0000000000000002", reason: "refused", sqlstate: "23514" }]
    );
    world.settle_at_once().await;
    let given_up = rows![
        { row_key: "0000000000000001", reason: "orphan", sqlstate: null },
        { row_key: "0000000000000002", reason: "refused", sqlstate: "23514" },
        { row_key: "0000000000000003", reason: "orphan", sqlstate: null },
    ];
    assert_eq!(world.rows(letters).await, given_up);
    // Mended at the source, all are placed.
    world
        .write(&[put(
            "nodes",
            2,
            doc! { "_id": 2_i64, "above": 3_i64, "name": "b" },
        )])
        .await;
    world.settle_at_once().await;
    assert_eq!(world.count("nodes").await, 8);
}

/// A held row whose delete the application refuses, by a foreign key of its own or by a trigger.
#[tokio::test]
async fn a_held_row_that_cannot_go_keeps_no_other() {
    let mut world = World::with(MAPPING).await;
    let ids = 1..=7_i64;
    let parents: Vec<Made> = ids.clone().map(parent).collect();
    world.write(&parents).await;
    let of = |id: i64| kid(id, doc! { "parent": id, "nick": "good" });
    world.write(&ids.clone().map(of).collect::<Vec<_>>()).await;
    let gone: Vec<Made> = ids.clone().map(|id| delete_by("parents", 5, id)).collect();
    world.write(&gone).await;
    assert_eq!(world.count("leafcutter.held").await, 7);
    world
        .execute_all(
            "create table outside (parent bigint references parents); insert into outside values (2); \
             create function stay() returns trigger language plpgsql as $$ \
             begin raise exception 'not that one' using errcode = '22023'; end $$; \
             create trigger stay before delete on parents for each row when (old.id = 5) \
             execute function stay()",
        )
        .await;
    let gone: Vec<Made> = ids.map(|id| delete_by("kids", 6, id)).collect();
    world.write(&gone).await;
    assert_eq!(world.settle().await.let_go, 5);
    assert_eq!(
        world.rows("select id from parents order by 1").await,
        rows![{ id: 2 }, { id: 5 }]
    );
    assert_eq!(world.count("leafcutter.held").await, 2);
    // They have their turn later, and keep nobody from going meanwhile.
    world
        .write(&[parent(8), kid(8, doc! { "parent": 8_i64 })])
        .await;
    world.write(&[delete_by("parents", 9, 8_i64)]).await;
    world.write(&[delete_by("kids", 9, 8_i64)]).await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(
        world.rows("select id from parents order by 1").await,
        rows![{ id: 2 }, { id: 5 }]
    );
}
