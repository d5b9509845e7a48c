//! The source: what a test writes to it, and what is in it in the end.

use crate::failure::{Attempt, Failure, Result};
use bson::{Bson, Document, doc};
use futures_util::TryStreamExt;
use mongodb::{Collection, Database};
use std::collections::BTreeMap;

/// An application that writes. A write that finds nothing to change is a failure: the test that
/// made it proves less than it says.
#[derive(Debug, Clone)]
pub struct Writer(pub Database);

impl Writer {
    fn on(&self, collection: &str) -> Collection<Document> {
        self.0.collection(collection)
    }

    /// A new document.
    ///
    /// # Errors
    /// When MongoDB refuses it.
    pub async fn insert(&self, collection: &str, document: Document) -> Result<()> {
        let done = self.on(collection).insert_one(document).await;
        done.attempt(&format!("insert into `{collection}`"))
            .map(drop)
    }

    /// A change of the document with this `_id`.
    ///
    /// # Errors
    /// When it is not there, or nothing changes.
    pub async fn update(
        &self,
        collection: &str,
        id: impl Into<Bson>,
        change: Document,
    ) -> Result<()> {
        let id = id.into();
        let done = self.on(collection);
        let done = done.update_one(doc! { "_id": id.clone() }, change).await?;
        found(done.modified_count, "update", collection, &id)
    }

    /// Another document under the `_id` that it has.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn replace(&self, collection: &str, document: Document) -> Result<()> {
        let id = id(&document);
        let done = self.on(collection);
        let done = done.replace_one(doc! { "_id": &id }, document).await?;
        found(done.matched_count, "replace", collection, &id)
    }

    /// The end of the document with this `_id`; gives it as it was.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn delete(&self, collection: &str, id: impl Into<Bson>) -> Result<Document> {
        let id = id.into();
        let done = self.on(collection);
        let gone = done.find_one_and_delete(doc! { "_id": &id }).await?;
        found(u64::from(gone.is_some()), "delete", collection, &id)?;
        Ok(gone.unwrap_or_default())
    }

    /// The end of all documents with that value.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete_all(&self, collection: &str, filter: Document) -> Result<()> {
        let what = Bson::Document(filter.clone());
        let done = self.on(collection).delete_many(filter).await?;
        found(done.deleted_count, "delete", collection, &what)
    }
}

fn found(number: u64, what: &str, collection: &str, id: &Bson) -> Result<()> {
    if number > 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "nothing to {what} in `{collection}` at {id}"
    )))
}

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
