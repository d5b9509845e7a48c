//! Documents that are awkward for whoever moves them, for more than one suite.

use bson::{Bson, Document};
use mongodb::Database;
use std::{collections::BTreeMap, path::Path};

/// Another folder of documents, to be tried by hand.
pub(crate) const ELSEWHERE: &str = "LEAFCUTTER_DRAFT_DATA";

/// The awkward documents of `data`, by file: one collection each.
pub(crate) fn documents() -> BTreeMap<String, Vec<Document>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("draft/data");
    let folder = std::env::var_os(ELSEWHERE).map_or(own, Into::into);
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    files
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            (name, lines.map(document).collect())
        })
        .collect()
}

fn document(line: &str) -> Document {
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    match Bson::try_from(json) {
        Ok(Bson::Document(document)) => document,
        other => panic!("{line}: {other:?}"),
    }
}

pub(crate) async fn insert(database: &Database, collection: &str, documents: &[Document]) {
    let collection = database.collection::<Document>(collection);
    collection.insert_many(documents).await.unwrap();
}
