//! The full documents of updates, read by the batch.
//!
//! It takes the `_id`s of a collection and a cluster time, and gives the replies of one `$in`
//! read with majority concern that waits for that time: every document in them
//! is at least as new as the update that asks for it. Newer is safe for rows, because the event
//! behind the difference follows with a higher version (PROTOCOL §2); each reply therefore comes
//! with an upper bound of the time it was read at, which becomes `as_of`.

use super::reply::{documents, read_bound};
use bson::{RawDocument, RawDocumentBuf, rawdoc};
use futures_util::StreamExt;
use leafcutter_schemas::{id, version::Version};
use mongodb::{Collection, raw_batch_cursor::RawBatch};

/// One reply of a look-up.
pub struct Reply {
    /// The documents.
    pub batch: RawBatch,
    /// An upper bound of the time they were read at.
    pub read: Version,
}

/// What a look-up brought.
pub enum Found {
    /// Every document that is there.
    All(Vec<Reply>),
    /// More bytes than were to be held at once; what was read is given up. Ask for fewer.
    TooMuch {
        /// Bytes of an average document in it.
        average: usize,
    },
}

/// Reads the documents with these `_id`s as of `after` or later. Those that are gone are missing.
/// Gives up beyond `bytes_max`, unless one document alone is larger.
///
/// # Errors
/// What the driver says; nothing is known then, and the read may be repeated.
pub async fn read(
    collection: &Collection<RawDocumentBuf>,
    ids: &[&RawDocument],
    after: Version,
    bytes_max: usize,
) -> mongodb::error::Result<Found> {
    let alone = ids.len() == 1;
    let database = collection.client().database(&collection.namespace().db);
    let command = command(collection.name(), ids, after)?;
    let mut stream = database.run_raw_cursor_command(command).batch().await?;
    let mut replies = Vec::with_capacity(1);
    let (mut count, mut bytes) = (0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        // A reply that cannot be read is a failed read, not documents that are gone.
        count += documents(&batch)?.len();
        bytes += batch.as_raw_document().as_bytes().len();
        if bytes > bytes_max && !alone {
            return Ok(Found::TooMuch {
                average: bytes / count.max(1),
            });
        }
        let read = read_bound(batch.as_raw_document());
        replies.push(Reply { batch, read });
    }
    Ok(Found::All(replies))
}

/// A `find` with the `_id`s as they are: the driver's own takes only what its library can read.
fn command(
    collection: &str,
    ids: &[&RawDocument],
    after: Version,
) -> mongodb::error::Result<RawDocumentBuf> {
    // One more than can be found: the reply then closes the cursor, and no second call is needed.
    let size = i32::try_from(ids.len())
        .unwrap_or(i32::MAX)
        .saturating_add(1);
    let among = id::array_of("$in", ids)
        .ok_or_else(|| mongodb::error::Error::custom("the `_id`s to look up are too large"))?;
    Ok(rawdoc! {
        "find": collection,
        "filter": { "_id": among },
        "batchSize": size,
        "readConcern": { "level": "majority", "afterClusterTime": after.cluster_time() },
    })
}
