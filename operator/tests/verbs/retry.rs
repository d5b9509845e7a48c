//! A dead letter is looked at, its cause is mended, and it is tried again.

use crate::world::{World, author, book};

const STATES: &str = "select string_agg(topic_end || ':' || state || ':' || reason, ' ' order by topic_end) \
    from (select split_part(topic, '.', 3) || '/' || partition || '/' || \"offset\" as topic_end, \
    state, reason from leafcutter.dead_letters) as dead_letters";
/// Documents that wait now.
const WAITING: &str = "select count(*) from leafcutter.parked";
/// Dead letters that are open now.
const DEAD: &str = "select count(*) from leafcutter.dead_letters where state = 'open'";
const BOOKS: &str = "select id, title, author_id from books order by 1";
const AUTHORS: &str = "select id, name, lc_version >> 31 from authors order by 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_and_applied_once_its_cause_is_mended() {
    let mut world = World::new().await;
    world.send(0, &author(1, 10, "Ada")).await;
    world.send(1, &author(2, 11, 7_654_321)).await;
    world.send(0, &book(1, 12, "On Machines", 2)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;

    let list = world.leafcutter(&["dead-letters", "list"]).ends_with(0);
    list.says("shop.authors/1/0")
        .says("wrong-type")
        .says("1 open dead letter");
    let json = world.leafcutter(&["dead-letters", "list", "--json", "--reason", "wrong-type"]);
    assert_eq!(json.json()[0]["table"], "authors");
    let none = world.leafcutter(&["dead-letters", "list", "--collection", "books"]);
    none.ends_with(0).says("no open dead letters");
    world
        .leafcutter(&["dead-letters", "list", "--collection", "nobody"])
        .ends_with(2);

    let shown = world
        .leafcutter(&["dead-letters", "show", "authors/1/0"])
        .ends_with(0);
    shown
        .says("wrong-type")
        .says("number:2")
        .says("transform")
        .says_nothing_of("7654321");
    let shown = world.leafcutter(&["dead-letters", "show", "shop.authors/1/0", "--document"]);
    shown.ends_with(0).says("7654321");
    world
        .leafcutter(&["dead-letters", "show", "authors/1/99"])
        .ends_with(1);
    world
        .leafcutter(&["dead-letters", "show", "authors"])
        .ends_with(2);

    let same = world
        .leafcutter(&["dead-letters", "retry", "--all"])
        .ends_with(1);
    same.says("failed again");
    assert_eq!(world.text(STATES).await, "authors/1/0:open:wrong-type");
    let mended = world.file("mended.yaml");
    let other = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    other
        .ends_with(7)
        .says("could not try dead letters again")
        .says("it differs in shop.authors (the conversion of authors.name)");
    let dry = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all", "--dry-run"]);
    dry.ends_with(0)
        .says("1 would be applied")
        .says("nothing was changed");
    assert_eq!(world.text(STATES).await, "authors/1/0:open:wrong-type");
    assert_eq!(world.text(AUTHORS).await, "1|Ada|10");

    world.stop();
    world
        .apply("mended.yaml")
        .says("leafcutter dead-letters retry --collection authors");
    let done = world.leafcutter_with(&mended, &["dead-letters", "retry", "authors/1/0", "--json"]);
    assert_eq!(done.ends_with(0).json()[0]["outcome"], "applied");
    assert_eq!(world.text(AUTHORS).await, "1|Ada|10 2|7654321|11");
    // Its book waited for it, and was placed in the same transaction.
    assert_eq!(world.text(BOOKS).await, "1|On Machines|2");
    assert_eq!(world.text(STATES).await, "authors/1/0:retried:wrong-type");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("0".into(), "0".into())
    );
    let again = world.leafcutter_with(&mended, &["dead-letters", "retry", "authors/1/0"]);
    again.ends_with(0).says("not open");
    let again = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    again.ends_with(0).says("no open dead letters");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_tried_again_never_beats_what_is_there() {
    let mut world = World::new().await;
    for (id, second) in [(1, 10), (2, 10), (3, 10), (4, 10)] {
        world.send(0, &author(id, second, id)).await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.send(0, &author(1, 20, "newer")).await;
    world.applied().await;
    // The newer record superseded the dead letter by itself.
    let states = "authors/0/0:superseded:wrong-type authors/0/1:open:wrong-type \
                  authors/0/2:open:wrong-type authors/0/3:open:wrong-type";
    assert_eq!(world.text(STATES).await, states);
    world.stop();
    let at = |second: i64| second << 31;
    world
        .text(&format!(
            "update leafcutter.dead_letters set state = 'open';
             insert into authors (id, name, lc_version) values (2, 'equal', {});
             insert into leafcutter.tombstones values ('authors', int8send(3), {}), \
             ('authors', int8send(4), {})",
            at(10),
            at(10),
            at(9)
        ))
        .await;
    world.apply("mended.yaml");
    let mended = world.file("mended.yaml");
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all", "--json"]);
    let outcomes: Vec<String> = retried
        .ends_with(0)
        .json()
        .iter()
        .map(|l| l["outcome"].to_string())
        .collect();
    let expected = [
        "\"superseded\"",
        "\"superseded\"",
        "\"superseded\"",
        "\"applied\"",
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(world.text(AUTHORS).await, "1|newer|20 2|equal|10 4|4|10");
    assert_eq!(world.text(DEAD).await, "0");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_without_its_parent_waits_and_is_placed_with_it() {
    let mut world = World::new().await;
    world.send(0, &book(1, 10, 1984, 5)).await;
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    world.apply("mended.yaml");
    let mended = world.file("mended.yaml");
    let retry = ["dead-letters", "retry", "--collection", "books"];
    let waits = world.leafcutter_with(&mended, &retry).ends_with(0);
    waits
        .says("1 waiting for parent")
        .says("waits for the row of `authors`");
    assert_eq!(world.text(STATES).await, "books/0/0:open:waiting");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("1".into(), "1".into())
    );
    // A second time changes nothing.
    let parked = "select version, state, parked_at from leafcutter.parked";
    let before = world.text(parked).await;
    world
        .leafcutter_with(&mended, &retry)
        .ends_with(0)
        .says("1 waiting for parent");
    assert_eq!(world.text(parked).await, before);
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("1".into(), "1".into())
    );
    world.send(0, &author(5, 12, "Orwell")).await;
    world.start("mended.yaml");
    world.applied().await;
    world
        .wait_for("select count(*) from leafcutter.parked", "0")
        .await;
    assert_eq!(world.text(BOOKS).await, "1|1984|5");
    assert_eq!(world.text(STATES).await, "books/0/0:superseded:waiting");
    assert_eq!(
        (world.text(WAITING).await, world.text(DEAD).await),
        ("0".into(), "0".into())
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_dead_letters_are_tried_without_the_one_that_postgresql_refuses() {
    let mut world = World::new().await;
    for id in 0..500 {
        world
            .send(i32::from(id % 2 == 0), &author(id, 10, id))
            .await;
    }
    world.complete().await;
    world.start("strict.yaml");
    world.applied().await;
    world.stop();
    world
        .text("alter table authors add constraint not_13 check (id <> 13)")
        .await;
    world.apply("mended.yaml");
    let mended = world.file("mended.yaml");
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--all"]);
    retried
        .ends_with(1)
        .says("499 applied")
        .says("1 failed again")
        .says("not_13");
    assert_eq!(world.text("select count(*) from authors").await, "499");
    let open = "select reason, sqlstate from leafcutter.dead_letters where state = 'open'";
    assert_eq!(world.text(open).await, "refused|23514");
    world
        .text("alter table authors drop constraint not_13")
        .await;
    let retried = world.leafcutter_with(&mended, &["dead-letters", "retry", "--reason", "refused"]);
    retried.ends_with(0).says("1 applied");
    world.end().await;
}
