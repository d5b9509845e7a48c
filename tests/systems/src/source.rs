//! The source: what a test writes to it, and what is in it in the end.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use leafcutter_harness::failure::Result;
use mongodb::Database;
use std::collections::BTreeMap;

/// A document's `_id`.
pub fn id(document: &Document) -> Bson {
    document.get("_id").cloned().unwrap_or(Bson::Null)
}

/// What is in the source now.
#[derive(Debug, Default)]
pub struct Source {
    documents: BTreeMap<String, Vec<Document>>,
    /// How many of them are deleted, and have rows still.
    pub held: usize,
}

impl Source {
    /// Reads everything. What is `held` was deleted, but others point to it, so that its rows stay.
    ///
    /// # Errors
    /// When MongoDB fails.
    pub async fn read(
        database: &Database,
        collections: &[String],
        held: &[(&'static str, Document)],
    ) -> Result<Self> {
        let mut documents = BTreeMap::new();
        for name in collections {
            let all = database.collection::<Document>(name);
            let all = all.find(doc! {}).sort(doc! { "_id": 1 }).await?;
            documents.insert(name.clone(), all.try_collect().await?);
        }
        for (collection, document) in held {
            let all: &mut Vec<_> = documents.entry((*collection).to_owned()).or_default();
            all.push(document.clone());
        }
        Ok(Self {
            documents,
            held: held.len(),
        })
    }

    /// The documents of a collection.
    pub fn of(&self, collection: &str) -> impl Iterator<Item = &Document> {
        self.documents.get(collection).into_iter().flatten()
    }
}
