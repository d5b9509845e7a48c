//! `docs/mapping.md` tells stories of tables whose keys do not follow from `_id`: what comes, one
//! record after the other, and the rows that there are then. They are true.

use crate::{
    documented::{DOCUMENT, cells},
    world::{World, delete_by, put},
};
use leafcutter_harness::{rows, shell};

/// What comes, and the rows afterwards, as they stand there.
type Step<'d> = (&'d str, String);

/// The mapping and the steps of the story under this heading.
fn story(heading: &str) -> (&'static str, Vec<Step<'static>>) {
    let (_, after) = DOCUMENT.split_once(heading).unwrap();
    let (_, after) = after.split_once("```yaml\n").unwrap();
    let (mapping, after) = after.split_once("```\n").unwrap();
    let lines = after.trim_start().lines();
    let steps = lines.take_while(|line| line.starts_with('|')).skip(2);
    let steps = steps.map(|line| {
        let [what, rows] = cells(line)[..] else {
            panic!("{line}")
        };
        (what, rows.replace('`', ""))
    });
    (mapping, steps.collect())
}

/// Tells a story: `sql` gives a row as a text. A step may name a collection of its own.
async fn tell(heading: &str, collection: &'static str, sql: &str) {
    let (mapping, steps) = story(heading);
    assert!(steps.len() >= 4, "{heading}");
    let mut world = World::with(mapping).await;
    for (version, (what, rows)) in (1..).zip(steps) {
        let (collection, what) = what.split_once("`: `").unwrap_or((collection, what));
        let record = match what.strip_prefix("deleted: `") {
            Some(gone) => {
                let gone = shell::document(&format!("{{ {} }}", gone.trim_matches('`')));
                delete_by(collection, version, gone.get("_id").unwrap().clone())
            }
            None => put(collection, version, shell::document(what)),
        };
        world.each(&[record]).await;
        let found = world.rows(sql).await.values();
        assert_eq!(found.join(" "), rows, "{what}");
    }
}

#[tokio::test]
async fn the_newest_wins() {
    let rows = "select concat_ws(' ', user_id, day, mood) from users_logbook order by 1";
    tell("**Newest wins.**", "logbooks", rows).await;
}

#[tokio::test]
async fn an_expression_says_who_has_a_row() {
    let rows = "\
        with told as (select 1 as at, 'carts ' || id as line from carts \
        union all select 2, concat_ws(' ', 'lines', id, sku, n) from lines \
        union all select 3, 'dead letter: ' || reason from leafcutter.dead_letters) \
        select coalesce(string_agg(line, ' ' order by at, line), 'none') from told";
    tell("`where` is an expression", "carts", rows).await;
}

#[tokio::test]
async fn numbers_are_generated() {
    let rows = "select concat_ws(' ', id, title) from posts order by id::text";
    tell("**Generated numbers.**", "posts", rows).await;
}

#[tokio::test]
async fn numbers_are_looked_up() {
    let rows = "select concat_ws(' ', list_id, post_id) from list_posts order by post_id";
    tell("A reference with `by: _id`", "lists", rows).await;
}

/// The steps of a key that changes, is another's, and is missing.
#[tokio::test]
async fn a_key_that_the_document_tells() {
    let (mapping, steps) = story("Any other key is");
    let mut world = World::with(mapping).await;
    let rows = "select email, name from people";
    let told: Vec<&str> = steps.iter().map(|(_, rows)| rows.as_str()).collect();
    let expected = [
        "email a@x.org, name Ada",
        "email b@x.org, name Ada; the other is gone",
        "none yet: it waits while { _id: 1 } has this key",
        "dead letter: missing",
    ];
    assert_eq!(told, expected);
    let mut seen = Vec::new();
    for (version, (what, _)) in (1..).zip(&steps) {
        world
            .each(&[put("people", version, shell::document(what))])
            .await;
        let letters = world
            .rows("select reason from leafcutter.dead_letters")
            .await;
        let waiting = world.count("leafcutter.parked").await;
        seen.push((world.rows(rows).await, waiting, letters));
    }
    let ada = |email: &str| rows![{ email: email, name: "Ada" }];
    assert_eq!(
        seen,
        [
            (ada("a@x.org"), 0, rows![]),
            (ada("b@x.org"), 0, rows![]),
            (ada("b@x.org"), 1, rows![]),
            (ada("b@x.org"), 1, rows![{ reason: "missing" }]),
        ]
    );
}
