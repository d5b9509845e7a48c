//! The full documents of updates, read by the batch.
//!
//! It takes the `_id`s of a collection and a cluster time, and gives the replies of one `$in`
//! read with majority concern, in a causal session advanced to that time: every document in them
//! is at least as new as the update that asks for it. Newer is safe for rows, because the event
//! behind the difference follows with a higher version (PROTOCOL §2); each reply therefore comes
//! with an upper bound of the time it was read at, which becomes `as_of`.

use bson::{Bson, RawDocumentBuf, doc};
use futures_util::StreamExt;
use leafcutter_schemas::version::Version;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{Client, Collection};

use super::reply::{documents, read_bound};

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
    client: &Client,
    collection: &Collection<RawDocumentBuf>,
    ids: Vec<Bson>,
    after: Version,
    bytes_max: usize,
) -> mongodb::error::Result<Found> {
    let alone = ids.len() == 1;
    let mut session = client.start_session().causal_consistency(true).await?;
    session.advance_operation_time(after.cluster_time());
    // One more than can be found: the reply then closes the cursor, and no second call is needed.
    let size = u32::try_from(ids.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let mut cursor = collection
        .find(doc! { "_id": { "$in": ids } })
        .read_concern(ReadConcern::majority())
        .batch_size(size)
        .session(&mut session)
        .batch()
        .await?;
    let mut replies = Vec::with_capacity(1);
    let (mut count, mut bytes) = (0, 0);
    let mut stream = cursor.stream(&mut session);
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
