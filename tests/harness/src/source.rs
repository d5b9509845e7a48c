//! The source, as applications use it: its time, its absences, and single writes.

use crate::failure::{Attempt, Failure, Result};
use bson::{Bson, Document, Timestamp, doc};
use mongodb::{
    Collection, Database,
    error::{Error, ErrorKind, RETRYABLE_WRITE_ERROR, WriteFailure},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long MongoDB may be away before whoever writes to it gives up.
pub const AWAY: Duration = Duration::from_secs(120);
/// Between two attempts while it is away.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Codes of a server that goes, comes or has no primary: HostUnreachable, HostNotFound,
/// NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, SocketException, NotWritablePrimary,
/// InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
/// NotPrimaryOrSecondary.
const AWAY_CODES: [i32; 11] = [
    6, 7, 89, 91, 189, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436,
];

/// A cluster time at or after everything that was written before this call.
///
/// # Errors
/// When MongoDB fails or is no replica set.
pub async fn now(database: &Database) -> Result<Timestamp> {
    let end = Instant::now() + AWAY;
    let reply = loop {
        match database.run_command(doc! { "ping": 1 }).await {
            Err(error) if is_away(&error) && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            decided => break decided.attempt("ask MongoDB for its time")?,
        }
    };
    reply
        .get_timestamp("operationTime")
        .map_err(|_| Failure::new("MongoDB tells no operation time: is it a replica set?"))
}

/// Whether an error says that MongoDB is away, not that it refuses.
pub fn is_away(error: &Error) -> bool {
    error.contains_label(RETRYABLE_WRITE_ERROR)
        || matches!(
            *error.kind,
            ErrorKind::Io(_)
                | ErrorKind::ConnectionPoolCleared { .. }
                | ErrorKind::ServerSelection { .. }
        )
        || code(error).is_some_and(|code| AWAY_CODES.contains(&code))
}

/// The code of an error of the server.
pub fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

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
        let id = document.get("_id").cloned().unwrap_or(Bson::Null);
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
