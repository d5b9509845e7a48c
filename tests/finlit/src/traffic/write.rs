//! One write.

use crate::Collection;
use bson::{Bson, Document, doc};
use mongodb::{ClientSession, Database};

/// One write to one collection.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A new document.
    Insert(Collection, Document),
    /// A change of the first document that the filter finds; no document, no change.
    Update(Collection, Document, Document),
    /// Another document under the same `_id`, if there is one.
    Replace(Collection, Document),
    /// A deletion by `_id`.
    Delete(Collection, Bson),
    /// A deletion of all that the filter finds.
    DeleteAll(Collection, Document),
}

impl Write {
    /// A change of the document with this `_id`.
    pub fn update(collection: Collection, id: Bson, change: Document) -> Self {
        Self::Update(collection, doc! { "_id": id }, change)
    }

    pub(super) async fn run(
        &self,
        database: &Database,
        session: &mut ClientSession,
    ) -> mongodb::error::Result<()> {
        let on = |collection: Collection| database.collection::<Document>(collection.name());
        match self {
            Self::Insert(collection, document) => {
                on(*collection)
                    .insert_one(document)
                    .session(session)
                    .await?;
            }
            Self::Update(collection, filter, change) => {
                on(*collection)
                    .update_one(filter.clone(), change.clone())
                    .session(session)
                    .await?;
            }
            Self::Replace(collection, document) => {
                let filter = doc! { "_id": document.get("_id") };
                on(*collection)
                    .replace_one(filter, document)
                    .session(session)
                    .await?;
            }
            Self::Delete(collection, id) => {
                on(*collection)
                    .delete_one(doc! { "_id": id })
                    .session(session)
                    .await?;
            }
            Self::DeleteAll(collection, filter) => {
                on(*collection)
                    .delete_many(filter.clone())
                    .session(session)
                    .await?;
            }
        }
        Ok(())
    }
}
