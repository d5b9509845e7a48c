//! Fills MongoDB.
//!
//! Children go in before their parents, as they may in a database without references. One
//! collection is clustered and one keeps pre- and post-images, since both are read in ways of
//! their own.

use super::{Collection, FinLit};
use bson::{Document, doc};
use leafcutter_harness::failure::{Attempt, Failure, Result};
use mongodb::Database;

/// Documents of one `insert_many`.
const BATCH: u32 = 1_000;

/// Creates the nine collections and fills them. `progress` is told how many documents there are
/// in MongoDB after each batch.
///
/// # Errors
/// When the database already has collections, or MongoDB fails.
pub async fn load(
    finlit: &FinLit,
    database: &Database,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    let present = database
        .list_collection_names()
        .await
        .attempt("list the collections")?;
    if !present.is_empty() {
        let name = database.name();
        return Err(Failure::new(format!(
            "the database `{name}` of MongoDB is not empty: drop it, or name another one"
        )));
    }
    create(database).await?;
    let mut done = 0;
    for collection in Collection::ALL.into_iter().rev() {
        let target = database.collection::<Document>(collection.name());
        let count = finlit.count(collection);
        for start in (0..count).step_by(usize::try_from(BATCH)?) {
            let end = (start + BATCH).min(count);
            let documents: Vec<_> = (start..end)
                .map(|n| finlit.document(collection, n, 0))
                .collect();
            target
                .insert_many(documents)
                .ordered(false)
                .await
                .attempt(&format!("fill `{}`", collection.name()))?;
            done += u64::from(end - start);
            progress(done);
        }
    }
    Ok(())
}

async fn create(database: &Database) -> Result<()> {
    for collection in Collection::ALL {
        let mut command = doc! { "create": collection.name() };
        match collection {
            Collection::DailyProgress => {
                command.insert(
                    "clusteredIndex",
                    doc! { "key": { "_id": 1 }, "unique": true },
                );
            }
            Collection::LearnerSkillStates => {
                command.insert("changeStreamPreAndPostImages", doc! { "enabled": true });
            }
            _ => {}
        }
        database
            .run_command(command)
            .await
            .attempt(&format!("create the collection `{}`", collection.name()))?;
    }
    Ok(())
}
