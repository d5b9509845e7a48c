//! Which collections become which tables, and how many there are.

use crate::live::Live;
use bson::doc;

const MAPPING: &str = "
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      author_id: { path: author, type: bigint, references: { table: authors } }
    children:
      - table: chapters
        from: chapters
        key: [book_id, n]
        columns:
          book_id: { parent: id }
          n: { position: true, type: integer }
          title: { path: ., type: text }
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: bigint }
";

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_listed_with_their_tables_and_both_sides_counted() {
    let live = Live::new().await;
    live.map(MAPPING);
    let authors = (1..=3).map(|id| doc! { "_id": id });
    let inserted = live.collection("authors").insert_many(authors).await;
    inserted.unwrap();

    // No table is there yet.
    let list = live.leafcutter(&["list"]).await.ends_with(0);
    list.says("0 authors ~3 authors not there")
        .says("1 books ~0 books not there")
        .says("chapters not there");

    let plan = live.leafcutter(&["plan"]).await;
    live.text(&plan.out).await;
    live.text(
        "alter table authors set (autovacuum_enabled = false); \
         alter table books set (autovacuum_enabled = false); \
         alter table chapters set (autovacuum_enabled = false)",
    )
    .await;
    live.text("insert into authors (id) select generate_series(1, 1200)")
        .await;
    live.text("insert into books (id, author_id) values (1, 1)")
        .await;
    live.text("insert into chapters select 1, n, 'x' from generate_series(1, 2) n")
        .await;
    // No vacuum has come by yet, so PostgreSQL has no statistics: what is small is counted.
    let unknown = "select count(*) from pg_class where relname in ('authors', 'books', 'chapters') \
                   and (reltuples < 0 or relpages = 0)";
    assert_eq!(live.text(unknown).await, "3");
    let counted = live.leafcutter(&["list"]).await.ends_with(0);
    counted
        .says("0 authors ~3 authors 1,200")
        .says("1 books ~0 books 1")
        .says("chapters 2");
    let exact = live.leafcutter(&["list", "--exact"]).await.ends_with(0);
    exact
        .says("0 authors 3 authors 1,200")
        .says("1 books 0 books 1")
        .says("chapters 2")
        .says_nothing_of("~");
    live.text("analyze").await;
    let estimated = live.leafcutter(&["list", "authors"]).await.ends_with(0);
    estimated
        .says("0 authors ~3 authors ~1,200")
        .says_nothing_of("books");
    // What is larger is estimated, and marked.
    live.text(
        "create table large (like books including all) with (autovacuum_enabled = false); \
         insert into large (id) select generate_series(1, 150000)",
    )
    .await;
    live.map(&MAPPING.replace("table: books", "table: large"));
    let large = live.leafcutter(&["list", "books", "--json"]).await;
    let large = large.ends_with(0).json();
    let table = &large[0]["tables"][0];
    assert_eq!(table["rows_exact"], false, "{large:#?}");
    let rows = table["rows"].as_i64().unwrap();
    assert!((100_001..300_000).contains(&rows), "{large:#?}");
    live.map(MAPPING);
    let json = live
        .leafcutter(&["list", "books", "--exact", "--json"])
        .await;
    let json = json.ends_with(0).json();
    assert_eq!(json.len(), 1);
    assert_eq!(json[0]["collection"], "books");
    assert_eq!(json[0]["tier"], 1);
    assert_eq!(json[0]["documents"], 0);
    assert_eq!(json[0]["tables"][1]["table"], "chapters");
    assert_eq!(json[0]["tables"][1]["parent"], "books");
    assert_eq!(json[0]["tables"][1]["rows"], 2);
    assert_eq!(json[0]["tables"][1]["rows_exact"], true);
    live.leafcutter(&["list", "nobody"])
        .await
        .ends_with(2)
        .says("Known are: books, authors.");
    let away = ["list", "--postgres-uri", "postgres://127.0.0.1:1/none"];
    live.leafcutter(&away).await.ends_with(4);
    live.end().await;
}
