//! `leafcutter dry-run` on real servers: the rows and rejections that it tells are those of a real run over
//! the same documents, and it writes nothing. Needs all three servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

#[path = "../draft/documents.rs"]
mod documents;
mod place;
mod words;

use bson::doc;
use leafcutter_finlit::FinLit;
use leafcutter_harness::program;
use leafcutter_systems::{System, autores::AUTORES, missland::MISSLAND, smartdiet::SMARTDIET};
use place::{Outcome, Place, Told};
use std::{collections::BTreeMap, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn finlit_becomes_what_was_said_and_its_topics_say_the_same() {
    let place = Place::new(leafcutter_finlit::MAPPING, "finlit").await;
    let finlit = FinLit::new(7, 0.01);
    leafcutter_finlit::load::load(&finlit, &place.world.source, |_| {})
        .await
        .unwrap();
    for (collection, field) in [
        ("learners", "email"),
        ("knowledge_components", "slug"),
        ("achievements", "code"),
    ] {
        place.keep_one_of_each(collection, field).await;
    }
    let said = Outcome::said(&place.report(Told::Mongodb, &[]));
    let fleet = place.run(&said).await;
    let topics = Outcome::said(&place.report(Told::Kafka, &["--from-topic"]));
    assert_eq!(topics, said);

    // Older records of a document do not count, and what was deleted is not there.
    let learners = place.world.source.collection::<bson::Document>("learners");
    let longer = doc! { "$set": { "timezone": "x".repeat(60) } };
    let one = learners.find_one(doc! {}).await.unwrap().unwrap();
    let id = doc! { "_id": one.get("_id").unwrap() };
    learners.update_one(id, longer).await.unwrap();
    let daily = place
        .world
        .source
        .collection::<bson::Document>("daily_progress");
    daily.delete_many(doc! {}).await.unwrap();
    place.until_applied(&fleet).await;
    let report = place.report(Told::Kafka, &["--from-topic"]);
    let after = Outcome::said(&place.report(Told::Mongodb, &[]));
    assert_eq!(Outcome::said(&report), after);
    assert_ne!(after, said);
    let superseded = |name: &str| {
        let all = report["collections"].as_array().unwrap().iter();
        let mut one = all.filter(|one| one["collection"].as_str().unwrap().ends_with(name));
        one.next().unwrap()["superseded"].as_u64().unwrap()
    };
    assert_eq!(superseded(".learners"), 1);
    assert!(superseded(".daily_progress") > 50);
    place
        .dry_run(Told::Kafka, &["--from-topic"])
        .ends_with(1)
        .says("older records of the same documents");
    place.close(fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smartdiet_becomes_what_was_said() {
    becomes_what_was_said(SMARTDIET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missland_becomes_what_was_said() {
    becomes_what_was_said(MISSLAND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn autores_becomes_what_was_said() {
    becomes_what_was_said(AUTORES).await;
}

async fn becomes_what_was_said(system: System) {
    let place = Place::new(system.mapping, system.name).await;
    for (collection, document) in (system.documents)() {
        place.insert(collection, &[document]).await;
    }
    let said = Outcome::said(&place.report(Told::Mongodb, &[]));
    place.comes_true(&said).await;
}

/// What `draft` makes of documents that nobody would have made up.
#[tokio::test(flavor = "multi_thread")]
async fn awkward_documents_become_what_was_said() {
    let files = documents::documents();
    let mapping = drafted(&files).await;
    let place = Place::new(&mapping, "awkward").await;
    for (name, documents) in &files {
        documents::insert(&place.world.source, name, documents).await;
    }
    let said = Outcome::said(&place.report(Told::Mongodb, &[]));
    place.comes_true(&said).await;
}

async fn drafted(files: &BTreeMap<String, Vec<bson::Document>>) -> String {
    let name = leafcutter_harness::world::own_name("dry_draft");
    let stack = leafcutter_harness::stack::Stack::from_env().unwrap();
    let database = stack.mongodb().await.unwrap().database(&name);
    for (collection, documents) in files {
        documents::insert(&database, collection, documents).await;
    }
    let mut command = Command::new(program::find("leafcutter").unwrap());
    command.args(["draft", "--all", "--database", &name]);
    let output = command.output().unwrap();
    database.drop().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}
