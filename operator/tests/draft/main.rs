//! `leafcutter draft` on real servers: what it drafts runs as it is, in the real producer and consumer, and
//! exactly what it announced is rejected. Needs all three servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

mod documents;
mod world;

use bson::{Document, doc};
use documents::{documents, insert};
use leafcutter_finlit::FinLit;
use leafcutter_systems::smartdiet::SMARTDIET;
use world::{Drafted, Drafting, is_from_elsewhere};

#[tokio::test(flavor = "multi_thread")]
async fn awkward_documents_arrive_or_are_rejected_as_announced() {
    let drafting = Drafting::new("awkward").await;
    let files = documents();
    assert!(!files.is_empty());
    let drafted = drafting
        .draft(async |database| {
            for (name, documents) in &files {
                insert(database, name, documents).await;
            }
        })
        .await;
    if !is_from_elsewhere() {
        says_what_is_in_data(&drafted);
    }
    drafted.runs().await;
}

/// What nobody could take is announced, and nothing else is; references are found by number and by ObjectId,
/// as they are and as text, one by one and in arrays.
fn says_what_is_in_data(drafted: &Drafted) {
    let announced: Vec<String> = drafted.announced().into_keys().collect();
    assert_eq!(
        announced,
        [
            "ids missing ids.id",
            "refused nul refused.extra",
            "refused nul refused.tags",
            "refused nul refused.title",
            "refused out-of-range refused.at",
        ]
    );
    for line in [
        "pupil_id: { type: bigint, references: { table: pupils } }",
        "pupil_id: { type: bigint, references: { table: pupils, on_missing: keep } }",
        "friend: { type: text, convert: text, references: { table: people } }",
        "person: { type: text, convert: text, references: { table: people } }",
        "people: { path: \".\", type: text, convert: text, references: { table: people } }",
    ] {
        assert!(
            drafted.mapping.contains(line),
            "{line}\n{}",
            drafted.mapping
        );
    }
    assert!(!drafted.mapping.contains("class_id: { type: bigint, ref"));
}

#[tokio::test(flavor = "multi_thread")]
async fn finlit_arrives_or_is_rejected_as_announced() {
    let finlit = FinLit::new(7, 0.01);
    let drafting = Drafting::new("finlit").await;
    let load = async |database: &mongodb::Database| {
        leafcutter_finlit::load::load(&finlit, database, |_| {})
            .await
            .unwrap();
    };
    drafting.draft(load).await.runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smartdiet_arrives_or_is_rejected_as_announced() {
    let drafting = Drafting::new("smartdiet").await;
    let documents = (SMARTDIET.documents)();
    let load = async |database: &mongodb::Database| {
        for (collection, document) in &documents {
            insert(database, collection, std::slice::from_ref(document)).await;
        }
    };
    drafting.draft(load).await.runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_others_are_never_overwritten() {
    let drafting = Drafting::new("files").await;
    insert(&drafting.database, "a", &[doc! { "_id": 1, "x": 1 }]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mapping.yaml");
    let path = file.to_str().unwrap();
    drafting.says(&["--out", path], 0, "leafcutter check --mapping");
    drafting.says(&["--out", path], 3, "may hold somebody's edits");

    // What a person wrote stays, and only what is new is added.
    let edited = std::fs::read_to_string(&file).unwrap();
    let edited = edited.replace("type: integer", "type: numeric, required: true");
    std::fs::write(&file, &edited).unwrap();
    insert(&drafting.database, "b", &[doc! { "_id": 1, "x": "y" }]).await;
    drafting.says(&["--into", path], 0, "+   b:");
    let merged = std::fs::read_to_string(&file).unwrap();
    assert!(merged.starts_with(&edited), "{merged}");
    assert!(merged.contains("\n  b:\n"));
    drafting.says(&["--into", path], 1, "has all of its collections already");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), merged);

    drafting.says(&["--collection", "c"], 2, "Choose one of these");
    drafting.says(&["--database", "nobody"], 1, "it has no collections");
    let away = [
        "--mongodb-uri",
        "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300",
    ];
    drafting.says(&away, 4, "could not read MongoDB");
    drafting.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_says_that_it_is_one_and_views_and_series_are_said() {
    let drafting = Drafting::new("sample").await;
    let many: Vec<Document> = (0..500)
        .map(|n| doc! { "_id": n, "a": n, "other_id": n })
        .collect();
    insert(&drafting.database, "many", &many).await;
    insert(&drafting.database, "others", &many).await;
    let series = doc! { "create": "series", "timeseries": { "timeField": "t" } };
    drafting.database.run_command(series).await.unwrap();
    let view = doc! { "create": "view", "viewOn": "many", "pipeline": [] };
    drafting.database.run_command(view).await.unwrap();
    let said = drafting.says(
        &["--sample", "100"],
        1,
        "100 of about 500 documents were read",
    );
    for text in ["series: a time series", "view: a view", "on_missing: keep"] {
        assert!(said.contains(text), "{text} in {said}");
    }
    let whole = drafting.says(&["--all"], 1, "500 documents, all read");
    assert!(!whole.contains("on_missing"), "{whole}");
    drafting.close().await;
}
