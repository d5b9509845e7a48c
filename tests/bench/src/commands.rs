//! Writes to MongoDB in commands of many, some commands at a time.
//!
//! A command that did less than it was told is a failure: the backlog would be smaller than its figure says.

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use leafcutter_harness::failure::{Attempt, Failure, Result};
use mongodb::{Database, options::InsertManyOptions};

/// Writes in one command.
pub const COMMAND: usize = 1_000;
/// Bytes of documents in one command, about.
const COMMAND_BYTES: usize = 4 << 20;
/// Commands under way at once.
const AT_ONCE: usize = 4;

/// How many documents of so many bytes are written in one command.
pub fn size(bytes: usize) -> usize {
    (COMMAND_BYTES / bytes.max(1)).clamp(1, COMMAND)
}

/// Inserts documents.
///
/// # Errors
/// When MongoDB refuses one.
pub async fn insert(
    database: &Database,
    collection: &str,
    documents: Vec<RawDocumentBuf>,
) -> Result<()> {
    let target = database.collection::<RawDocumentBuf>(collection);
    let options = InsertManyOptions::builder().ordered(false).build();
    let inserted = target.insert_many(documents).with_options(options).await;
    inserted.attempt("insert documents").map(|_| ())
}

/// Sends updates, each with `q` and `u`; gives how many documents changed.
///
/// # Errors
/// When MongoDB refuses one, or a document is not there.
pub async fn update(database: &Database, collection: &str, updates: Vec<Document>) -> Result<u64> {
    let count = updates.len();
    let command = doc! { "update": collection, "updates": updates, "ordered": false };
    let reply = run(database, command, count).await?;
    number(&reply, "nModified")
}

/// Deletes documents by their `_id`.
///
/// # Errors
/// When MongoDB refuses, or a document is not there.
pub async fn delete(database: &Database, collection: &str, ids: Vec<Bson>) -> Result<()> {
    let deletes = ids
        .into_iter()
        .map(|id| doc! { "q": { "_id": id }, "limit": 1 });
    let deletes: Vec<_> = deletes.collect();
    let count = deletes.len();
    let command = doc! { "delete": collection, "deletes": deletes, "ordered": false };
    run(database, command, count).await.map(drop)
}

/// Does them, some at a time.
///
/// # Errors
/// When one of them fails.
pub async fn at_once<T>(
    commands: impl Iterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    stream::iter(commands)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn run(database: &Database, command: Document, count: usize) -> Result<Document> {
    let reply = database.run_command(command).await;
    let reply = reply.attempt("write to MongoDB")?;
    let done = number(&reply, "n")?;
    if done == u64::try_from(count)? && !reply.contains_key("writeErrors") {
        return Ok(reply);
    }
    Err(Failure::new(format!(
        "MongoDB did {done} of {count} writes"
    )))
}

fn number(reply: &Document, name: &str) -> Result<u64> {
    let number = reply.get_i32(name).unwrap_or_default();
    Ok(u64::try_from(number)?)
}
