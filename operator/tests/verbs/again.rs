//! `resnapshot`: what differs is mended, what the source no longer has goes, and nothing else is touched,
//! while the source is written to.

use crate::{
    live::{Live, Running},
    world::Said,
};
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub(crate) const MAPPING: &str = "
  authors:
    table: authors
    key: id
    poll_by: [changed]
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      title: { type: text }
      author_id: { type: bigint, references: { table: authors } }
";

/// With a column and a child table more.
pub(crate) const WIDER: &str = "
  authors:
    table: authors
    key: id
    poll_by: [changed]
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
      born: { type: integer }
    children:
      - table: author_tags
        from: tags
        key: [author_id, tag]
        columns:
          author_id: { parent: id }
          tag: { path: ., type: text, required: true }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      title: { type: text }
      author_id: { type: bigint, references: { table: authors } }
";

/// The child table alone.
const CHILD: &str = "    children:
      - table: author_tags
        from: tags
        key: [author_id, tag]
        columns:
          author_id: { parent: id }
          tag: { path: ., type: text, required: true }
";

pub(crate) fn author(id: i64) -> Document {
    let changed = bson::DateTime::from_millis(1_700_000_000_000 + id * 1_000);
    doc! {
        "_id": id, "name": format!("author {id}"), "born": 1900 + (id % 100), "changed": changed,
        "tags": [format!("t{}", id % 7), format!("u{}", id % 5)],
    }
}

fn book(id: i64) -> Document {
    doc! { "_id": id, "title": format!("book {id}"), "author_id": id % 50 }
}

/// The authors as the wider mapping has them.
async fn expected(live: &Live) -> (String, String) {
    let authors = live.collection("authors");
    let found = authors.find(doc! {}).sort(doc! { "_id": 1 });
    let all: Vec<Document> = found.await.unwrap().try_collect().await.unwrap();
    let (mut rows, mut tags) = (Vec::new(), Vec::new());
    for document in all {
        let id = document.get_i64("_id").unwrap();
        let name = document.get_str("name").unwrap().replace(' ', "_");
        rows.push(format!("{id}|{name}|{}", document.get("born").unwrap()));
        let mut own: Vec<&str> = document
            .get_array("tags")
            .unwrap()
            .iter()
            .filter_map(|tag| tag.as_str())
            .collect();
        own.sort_unstable();
        tags.extend(own.iter().map(|tag| format!("{id}|{tag}")));
    }
    (rows.join(" "), tags.join(" "))
}

const ROWS: &str =
    "select id, replace(name, ' ', '_'), born from authors where lc_version > 0 order by id";
const TAGS: &str = "select author_id, tag from author_tags order by author_id, tag collate \"C\"";
const BOOKS: &str =
    "select md5(string_agg(ctid::text || xmin::text || b::text, ' ' order by id)) from books b";

/// Waits until the authors are as in the source.
pub(crate) async fn converges(live: &Live) {
    let (rows, tags) = expected(live).await;
    live.wait_for(ROWS, &rows).await;
    live.wait_for(TAGS, &tags).await;
    let dead = "select count(*) from leafcutter.dead_letters where state = 'open'";
    assert_eq!(live.text(dead).await, "0");
}

pub(crate) async fn filled(live: &Live) {
    let authors = (0..400).map(author);
    live.collection("authors")
        .insert_many(authors)
        .await
        .unwrap();
    let books = (0..400).map(book);
    live.collection("books").insert_many(books).await.unwrap();
}

/// Writes to the authors until it is told to stop: new ones, changed ones, deleted ones.
pub(crate) fn writer(live: &Live) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, authors) = (Arc::clone(&stop), live.collection("authors"));
    let task = tokio::spawn(async move {
        let mut turn = 0;
        while !told.load(Ordering::Relaxed) {
            turn += 1;
            let id = 100 + (turn * 37) % 300;
            let change = doc! { "$set": { "name": format!("changed {turn}") } };
            authors
                .update_one(doc! { "_id": id }, change)
                .await
                .unwrap();
            authors.insert_one(author(1_000 + turn)).await.unwrap();
            let gone = doc! { "_id": 1_000 + turn - 5 };
            authors.delete_one(gone).await.unwrap();
            // One that is deleted and comes back.
            authors.delete_one(doc! { "_id": id }).await.unwrap();
            authors.insert_one(author(id)).await.unwrap();
        }
    });
    (stop, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_read_again_while_everything_runs() {
    let (live, producer, consumer) = running(MAPPING).await;
    consumer.stop();
    // The mapping gets a column and a child table, and somebody works on the rows.
    live.map(WIDER);
    live.leafcutter(&["plan", "--apply", "--yes"])
        .await
        .ends_with(0);
    let consumer = live.consumer();
    live.text(
        "update authors set name = 'wrong' where id in (60, 61, 350);
         delete from authors where id between 70 and 79;
         insert into authors (id, name, lc_version) select 5000 + n, 'ghost', 7 from generate_series(1, 20) n;
         insert into author_tags values (5001, 'ghost');
         insert into authors (id, name, lc_version) values (9000, 'the application''s own', 0);
         insert into books (id, title, author_id, lc_version) values (9000, 'keeps a ghost', 5003, 0)",
    )
    .await;
    let books = live.text(BOOKS).await;
    let dry = live
        .leafcutter(&["resnapshot", "authors", "--dry-run", "--json"])
        .await;
    assert_eq!(dry.ends_with(0).whole()["gone"], 20);
    let (stop, writing) = writer(&live);
    let said = again(&live, &["--json"]).await;
    let told = said.ends_with(0).whole();
    assert_eq!(
        (&told["done"], &told["refused"]),
        (&true.into(), &0.into()),
        "{told}"
    );
    // Deletes of the traffic may be among them, which are under way.
    let number = |name: &str| told[name].as_i64().unwrap();
    assert!(number("deleted") >= 19 && number("held") >= 1, "{told}");
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    // Nothing refers to the last ghost any more.
    assert_eq!(live.text(BOOKS).await, books, "another collection");
    live.text("delete from books where id = 9000").await;
    converges(&live).await;
    assert_eq!(
        live.text("select name from authors where id = 9000").await,
        "the application's own"
    );
    let unfinished = "select count(*) from leafcutter.resnapshots where finished_at is null";
    assert_eq!(live.text(unfinished).await, "0");
    // Once more: there is nothing left to do.
    let said = again(&live, &["--json"]).await;
    assert_eq!(said.ends_with(0).whole()["gone"], 0);
    converges(&live).await;
    ended(live, [consumer, producer]).await;
}

/// With documents, of which nothing is applied yet.
pub(crate) async fn started(mapping: &str) -> Live {
    let live = Live::new().await;
    live.map(mapping);
    filled(&live).await;
    live
}

/// A migration that runs, with everything applied.
async fn running(mapping: &str) -> (Live, Running, Running) {
    let live = started(mapping).await;
    let (producer, consumer) = (live.producer(&[]), live.consumer());
    filled_up(&live).await;
    (live, producer, consumer)
}

/// Waits until the books are written and the tables have their foreign keys: until then every deleted author stays.
pub(crate) async fn filled_up(live: &Live) {
    live.wait_for("select count(*) from books", "400").await;
    let to_come = "select count(*) from leafcutter.deferred_constraints";
    live.wait_for(to_come, "0").await;
}

async fn ended(live: Live, programs: impl IntoIterator<Item = Running>) {
    programs.into_iter().for_each(Running::stop);
    live.end().await;
}

/// Reads the authors again.
async fn again(live: &Live, more: &[&str]) -> Said {
    let words = [&["resnapshot", "authors", "--yes"], more].concat();
    live.leafcutter(&words).await
}

/// Rows that differ from their documents, in ways that no change will tell.
async fn disturbed(live: &Live) {
    live.text(
        "update authors set name = 'wrong' where id in (60, 61, 350);
         delete from author_tags where author_id = 70;
         delete from authors where id = 70;
         insert into authors (id, name, lc_version) select 5000 + n, 'ghost', 7 from generate_series(1, 20) n",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_read_again_and_nothing_else() {
    let (live, producer, consumer) = running(WIDER).await;
    disturbed(&live).await;
    let wrong = "select count(*) from authors where name = 'wrong'";
    let ghosts = "select count(*) from authors where name = 'ghost'";
    let said = again(&live, &["--ids", "60,5001,70", "--json"]).await;
    let told = said.ends_with(0).whole();
    assert_eq!(
        (&told["documents"], &told["deleted"]),
        (&2.into(), &1.into()),
        "{told}"
    );
    assert_eq!(
        (live.text(wrong).await, live.text(ghosts).await),
        ("2".into(), "19".into())
    );
    // A row that another one refers to stays until that one is gone.
    let keeps =
        "insert into books (id, title, author_id, lc_version) values (9000, 'keeps', 5002, 0)";
    live.text(keeps).await;
    let said = again(&live, &["--ids", "5002", "--json"]).await;
    let told = said.ends_with(0).whole();
    assert_eq!(
        (&told["gone"], &told["deleted"], &told["held"]),
        (&1.into(), &0.into(), &1.into()),
        "{told}"
    );
    live.text("delete from books where id = 9000").await;
    live.wait_for(ghosts, "18").await;
    let said = again(
        &live,
        &["--where", "{\"_id\": {\"$gt\": 300}}", "--no-sweep"],
    )
    .await;
    said.ends_with(0).says("99 documents read again");
    assert_eq!(
        (live.text(wrong).await, live.text(ghosts).await),
        ("1".into(), "18".into())
    );
    // The date of number 61.
    let said = again(&live, &["--since", "2023-11-14T22:14:21Z"]).await;
    said.ends_with(0)
        .says("339 documents read again")
        .says("18 deleted");
    converges(&live).await;
    for (words, says) in [
        (["--where", "{"], "could not understand the query"),
        (["--where", "{\"$nonsense\": 1}"], "Correct the filter"),
        (["--ids", "{\"$oid\": 1}"], "could not understand an `_id`"),
    ] {
        let words = [&["resnapshot", "authors", "--yes"], &words[..]].concat();
        live.leafcutter(&words).await.ends_with(2).says(says);
    }
    let pause = ["pause", "authors", "--reason", "an index is made"];
    live.leafcutter(&pause).await.ends_with(0);
    again(&live, &[])
        .await
        .ends_with(4)
        .says("an index is made")
        .says("leafcutter resume authors");
    live.leafcutter(&["resume", "authors"]).await.ends_with(0);
    live.leafcutter(&["resnapshot", "books", "--since", "2024-01-01", "--yes"])
        .await
        .ends_with(2)
        .says("names no dates");
    live.leafcutter(&["resnapshot", "authors"])
        .await
        .ends_with(2)
        .says("Say --yes");
    ended(live, [consumer, producer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_would_take_too_much_takes_nothing() {
    let (live, producer, consumer) = running(WIDER).await;
    producer.stop();
    // It looks as if the source were another: nobody tells of these deletes.
    let most = doc! { "_id": { "$gt": 50 } };
    live.collection("authors").delete_many(most).await.unwrap();
    let said = again(&live, &[]).await;
    said.ends_with(6)
        .says("--sweep-max is 20 %")
        .says("87 % of 400 rows");
    assert_eq!(live.text("select count(*) from authors").await, "400");
    let status = live.leafcutter(&["status"]).await;
    status.says("not to the end: leafcutter resnapshot authors");
    let words = ["resnapshot", "authors", "--yes", "--sweep-max", "100"];
    live.leafcutter(&words)
        .await
        .ends_with(0)
        .says("349 deleted");
    converges(&live).await;
    consumer.stop();
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_slate_ends_with_the_same_rows() {
    let (live, producer, consumer) = running(WIDER).await;
    disturbed(&live).await;
    let books = live.text(BOOKS).await;
    let (stop, writing) = writer(&live);
    let said = again(&live, &["--truncate-first"]).await;
    said.ends_with(0).says("rows deleted before the read");
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    converges(&live).await;
    assert_eq!(live.text(BOOKS).await, books, "another collection");
    live.wait_for("select count(*) from leafcutter.held", "0")
        .await;
    ended(live, [consumer, producer]).await;
}

/// Nothing is lost, and it can be begun again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_interrupted_is_told_and_begun_again() {
    let (live, producer, consumer) = running(WIDER).await;
    disturbed(&live).await;
    let slow = [
        "resnapshot",
        "authors",
        "--yes",
        "--max-docs-per-second",
        "20",
    ];
    let mut child = live.started(&slow);
    let begun = "select count(*) from leafcutter.resnapshots where finished_at is null";
    live.wait_for(begun, "1").await;
    live.leafcutter(&["status"])
        .await
        .says("authors is being read again");
    live.leafcutter(&slow)
        .await
        .ends_with(4)
        .says("somebody else is at it");
    child.kill().unwrap();
    child.wait().unwrap();
    let broken_off = "select count(*) from pg_stat_activity where application_name = 'leafcutter' \
                      and datname = current_database()";
    live.wait_for(broken_off, "0").await;
    let status = live.leafcutter(&["status"]).await;
    status.says("not to the end: leafcutter resnapshot authors");
    again(&live, &[]).await.ends_with(0);
    converges(&live).await;
    assert_eq!(live.text(begun).await, "0");
    ended(live, [consumer, producer]).await;
}

/// A child table is filled though row and version are the same: a polled document's version is its date.
#[tokio::test(flavor = "multi_thread")]
async fn a_polled_collection_gets_its_new_child_table() {
    let live = Live::new().await;
    // All columns are there: the rows will be the same.
    live.map(&WIDER.replace(CHILD, ""));
    filled(&live).await;
    let poll = [
        "--capture",
        "poll",
        "--only",
        "authors",
        "--poll-interval",
        "200ms",
    ];
    let producer = live.producer(&poll);
    let rest = live.producer(&["--except", "authors"]);
    let consumer = live.consumer();
    filled_up(&live).await;
    consumer.stop();
    live.map(WIDER);
    live.leafcutter(&["plan", "--apply", "--yes"])
        .await
        .ends_with(0);
    let consumer = live.consumer();
    let versions = "select sum(lc_version) from authors";
    let before = live.text(versions).await;
    // A poll does not see a delete.
    let authors = live.collection("authors");
    authors.delete_one(doc! { "_id": 399 }).await.unwrap();
    let said = again(&live, &[]).await;
    said.ends_with(0).says("1 deleted");
    converges(&live).await;
    let last = bson::DateTime::from_millis(1_700_000_000_000 + 399 * 1_000).timestamp_millis();
    let last = ((last / 1_000) << 31) + last % 1_000;
    let now: i128 = live.text(versions).await.parse().unwrap();
    assert_eq!(
        now + i128::from(last),
        before.parse::<i128>().unwrap(),
        "no version moved"
    );
    consumer.stop();
    producer.stop();
    rest.stop();
    live.end().await;
}
