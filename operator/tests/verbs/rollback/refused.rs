//! What a rollback refuses, what it leaves to the application, and where not everything can come back.

use super::{assert_same, dump};
use crate::world::{BACK_TO_13, Said, World, author, book};
use leafcutter_sink::state::schema::LAYOUT;

/// The application's tables, with rows of its own.
const TABLES: &str = "\
    create table authors (id bigserial primary key, name varchar(20) not null, email text unique); \
    create table books (id bigint primary key, title varchar(20) not null, author_id bigint \
        references authors (id)); \
    create table reviews (id bigint primary key, book_id bigint references books (id) on delete cascade); \
    insert into authors values (1, 'mine', 'one'), (2, 'mine', 'two'), (3, 'mine', 'three'); \
    insert into books values (1, 'mine', 1), (2, 'mine', 2)";

/// A migration over these tables, which has written authors 1, 2 and 10, and books 1 and 10; nothing runs.
async fn written() -> (World, String) {
    let mut world = World::new().await;
    world.text(TABLES).await;
    let before = dump(world.uri());
    write(&mut world).await;
    (world, before)
}

async fn write(world: &mut World) {
    world.start("strict.yaml");
    for id in [1, 2, 10] {
        world.send(0, &author(id, 1, "theirs")).await;
    }
    for (id, of) in [(1, 10), (10, 10)] {
        world.send(0, &book(id, 1, "theirs", of)).await;
    }
    world.complete().await;
    world.applied().await;
    let there = "select count(*) from books where title = 'theirs'";
    world.wait_for(there, "2").await;
    // A foreign key between tables that a consumer has made comes at the end.
    let to_come = "select count(*) from leafcutter.deferred_constraints";
    world.wait_for(to_come, "0").await;
    world.stop();
}

const ROWS: &str = "select (select string_agg(id || ' ' || name, ', ' order by id) from authors), \
    (select string_agg(id || ' ' || title || ' ' || coalesce(author_id, 0), ', ' order by id) from books)";

#[tokio::test(flavor = "multi_thread")]
async fn one_collection_goes_when_nothing_refers_to_it() {
    let (mut world, before) = written().await;
    let during = dump(world.uri());
    let authors = ["rollback", "--yes", "--collection", "authors"];
    let refused = world.leafcutter(&authors).ends_with(4);
    refused
        .says("table books")
        .says("2 rows of it point to rows of authors that would go")
        .says("(foreign key books_author_id_fkey)")
        .says("Nothing was changed.");
    let dry = world
        .leafcutter(&[&authors[..], &["--dry-run"]].concat())
        .ends_with(6);
    dry.says("It would refuse, since this is in the way")
        .says("authors: 1 row of Leafcutter's goes")
        .says("2 rows get their values back, 1 stays as it is");
    assert_same(&during, &dump(world.uri()));

    // A row of the application's own, in a table outside the mapping, refers to a row that would go.
    world.text("insert into reviews values (1, 10)").await;
    let books = ["rollback", "--yes", "--collection", "shop.books"];
    world
        .leafcutter(&books)
        .ends_with(4)
        .says("table reviews")
        .says("foreign key reviews_book_id_fkey");
    world.text("delete from reviews").await;

    world
        .leafcutter(&books)
        .ends_with(0)
        .says("1 row of Leafcutter's gone, 1 row of the application's as before")
        .says("apply shop.books from the first record on");
    assert_eq!(
        world.text(ROWS).await,
        "1 theirs, 2 theirs, 3 mine, 10 theirs|1 mine 1, 2 mine 2"
    );
    let state = "select (select string_agg(distinct topic, ' ') from leafcutter.offsets) like '%.authors', \
        (select count(*) from leafcutter.undo where table_name like '%books%')";
    assert_eq!(world.text(state).await, "t|0");

    // It begins anew, and what it takes is kept again.
    world.start("strict.yaml");
    world
        .wait_for("select count(*) from books where title = 'theirs'", "2")
        .await;
    world.stop();
    world
        .leafcutter(&[&books[..], &["--collection", "authors"]].concat())
        .ends_with(0);
    world.leafcutter(&["rollback", "--yes"]).ends_with(0);
    assert_same(&before, &dump(world.uri()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_does_meanwhile_is_its_own() {
    let (world, _) = written().await;
    world
        .text(
            "update authors set name = 'edited' where id = 3; insert into authors values (4, 'fresh', 'four'); \
             insert into books values (4, 'fresh', 3); delete from books where id = 2; \
             alter table authors add column later text default 'new'; \
             update authors set later = 'set' where id = 1; alter table authors rename column email to mail; \
             select setval('authors_id_seq', 40)",
        )
        .await;
    // A row of the application's has a number behind the place of the sequence.
    world
        .leafcutter(&["rollback", "--yes"])
        .ends_with(0)
        .says("Sequence public.authors_id_seq stood at 1, and was left at 40")
        .says("a row that stays has the number 4");
    assert_eq!(
        world.text(ROWS).await,
        "1 mine, 2 mine, 3 edited, 4 fresh|1 mine 1, 4 fresh 3"
    );
    let columns = "select string_agg(mail || ' ' || later, ', ' order by id) from authors";
    assert_eq!(
        world.text(columns).await,
        "one set, two new, three new, four new"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_place_is_taken_is_named() {
    let (world, _) = written().await;
    // The application writes a row of its own where one was taken over, and takes a unique value.
    world
        .text(
            "update books set author_id = null where id = 1; delete from authors where id = 1; \
             insert into authors values (1, 'anew', 'other'); \
             update authors set email = null where id = 2; insert into authors values (9, 'taker', 'two')",
        )
        .await;
    let during = dump(world.uri());
    let refused = world.leafcutter(&["rollback", "--yes"]).ends_with(6);
    refused
        .says("1 row of table authors cannot come back (key 1)")
        .says("has written a row of its own with that key since")
        .says("1 row of table authors cannot come back (key 2)")
        .says("another row has its value of unique index authors_email_key now");
    assert_same(&during, &dump(world.uri()));
    // Nothing is left in their place, so nothing may refer to it.
    world
        .leafcutter(&["rollback", "--yes", "--force"])
        .ends_with(4)
        .says("1 row of it points to rows of authors that would go");
    world.text("delete from books where id = 2").await;
    let json = ["rollback", "--yes", "--force", "--json"];
    let told = world.leafcutter(&json).whole();
    assert_eq!(told["done"], true);
    assert_eq!(told["cannot_come_back"].as_array().unwrap().len(), 2);
    assert_eq!(world.text(ROWS).await, "1 anew, 3 mine, 9 taker|1 mine 1");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_it_created_go_when_asked_and_empty() {
    let mut world = World::new().await;
    let before = dump(world.uri());
    write(&mut world).await;
    world.text("insert into authors values (77, 'mine')").await;
    let both = ["rollback", "--collection", "books", "--drop-tables"];
    assert_eq!(world.leafcutter(&both).code, 2);
    let done = world
        .leafcutter(&["rollback", "--drop-tables", "--yes"])
        .ends_with(0);
    done.says("Dropped: books.")
        .says("Created by Leafcutter, and still there: authors.");
    assert_eq!(world.text("select * from authors").await, "77|mine");
    world.text("drop table authors").await;
    assert_same(&before, &dump(world.uri()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_one_which_stays_refers_to_stays_with_it() {
    let mut world = World::new().await;
    write(&mut world).await;
    world.text("insert into books values (77, 'mine')").await;
    world
        .leafcutter(&["rollback", "--drop-tables", "--yes"])
        .ends_with(0)
        .says("Done: 5 rows of Leafcutter's gone")
        .says("still there: authors, books.");
    assert_eq!(world.text("select * from books").await, "77|mine|null");
    assert_eq!(world.text("select count(*) from authors").await, "0");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_version_has_not_kept_is_told() {
    let (mut world, _) = written().await;
    world.text(BACK_TO_13).await;
    world
        .leafcutter(&["rollback", "--yes"])
        .ends_with(4)
        .says("its layout is 13");
    world.start("strict.yaml");
    world
        .wait_for(
            "select max(layout) from leafcutter.meta",
            &LAYOUT.to_string(),
        )
        .await;
    world
        .wait_for(
            "select count(*) from leafcutter.origins where found = 'unknown'",
            "2",
        )
        .await;
    world.stop();
    let during = dump(world.uri());
    let refused = world.leafcutter(&["rollback", "--yes"]).ends_with(6);
    refused
        .says("an earlier version has written to table authors")
        .says("an earlier version has written to table books")
        .says("--force");
    assert_same(&during, &dump(world.uri()));
    let forced = world.leafcutter(&["rollback", "--yes", "--force", "--drop-tables"]);
    forced
        .ends_with(4)
        .says("1 row of it points to rows of authors that would go");
    world
        .text("update books set author_id = null where id = 2")
        .await;
    world
        .leafcutter(&["rollback", "--yes", "--force", "--drop-tables"])
        .ends_with(0)
        .says_nothing_of("Dropped");
    assert_eq!(world.text(ROWS).await, "3 mine|2 mine 0");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_consumers_may_not_keep_is_told() {
    let mut world = World::new().await;
    world.text(TABLES).await;
    let plan = world.leafcutter(&["plan"]);
    world.text(&plan.out).await;
    world.start_with("strict.yaml", &["--ddl", "check"]);
    world.send(0, &author(1, 1, "theirs")).await;
    world.complete().await;
    world.applied().await;
    world.stop();
    world
        .leafcutter(&["rollback", "--yes"])
        .ends_with(6)
        .says("what was overwritten or deleted in table authors was not kept")
        .says("--ddl check");
    world
        .leafcutter(&["rollback", "--yes", "--force"])
        .ends_with(4)
        .says("table books");
    world.text("delete from books").await;
    world
        .leafcutter(&["rollback", "--yes", "--force"])
        .ends_with(0);
    let left = "select string_agg(id || ' ' || name, ', ' order by id) from authors";
    assert_eq!(world.text(left).await, "2 mine, 3 mine");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_needs_the_locks_and_what_was_shown() {
    let (world, before) = written().await;
    let during = dump(world.uri());
    let yes = ["rollback", "--yes"];
    // While somebody uses a table, nothing is done.
    let held = world.session("begin; select count(*) from authors").await;
    held.batch_execute("update authors set name = name where id = 3")
        .await
        .unwrap();
    world
        .leafcutter(&yes)
        .ends_with(4)
        .says("somebody has used one of the tables");
    held.batch_execute("rollback").await.unwrap();
    assert_same(&during, &dump(world.uri()));
    // A consumer that comes at the last moment is seen under the locks, and so is a row.
    for (change, back, words) in [
        (
            "insert into leafcutter.consumers (id, consumer_group, host, program, mapping, partitions, \
             started_at, seen_at) values ('late', 'other', 'h', 'p', 'm', 1, now(), now())",
            "delete from leafcutter.consumers",
            "late on h was seen",
        ),
        (
            "delete from books where id = 10",
            "insert into books (id, title, author_id, lc_version) values (10, 'theirs', 10, 1::bigint << 31)",
            "is not what was shown any more",
        ),
    ] {
        let lock = "begin; lock table leafcutter.consumers in share mode";
        held.batch_execute(lock).await.unwrap();
        let late = world.leafcutter_started(&yes);
        let waits = "select count(*) from pg_locks where not granted \
                     and relation = to_regclass('leafcutter.consumers')";
        world.wait_for(waits, "1").await;
        held.batch_execute(change).await.unwrap();
        held.batch_execute("commit").await.unwrap();
        let said = tokio::task::spawn_blocking(|| late.wait_with_output().unwrap());
        Said::of(said.await.unwrap()).ends_with(4).says(words);
        world.text(back).await;
    }
    // What others have made of it keeps it from going.
    world
        .text("create view versions as select lc_version from authors")
        .await;
    world.leafcutter(&yes).ends_with(4).says("view versions");
    world.text("drop view versions").await;
    world
        .text("insert into leafcutter.offsets (consumer_group, topic, partition, mapping) values ('other', 't', 0, 'm')")
        .await;
    world
        .leafcutter(&yes)
        .ends_with(6)
        .says("consumer group other has applied here, too");
    world
        .leafcutter(&[&yes[..], &["--force"]].concat())
        .ends_with(0);
    assert_same(&before, &dump(world.uri()));
    world.end().await;
}
