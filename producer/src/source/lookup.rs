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

/// Reads the documents with these `_id`s as of `after` or later. Those that are gone are missing.
///
/// # Errors
/// What the driver says; nothing is known then, and the read may be repeated.
pub async fn read(
    client: &Client,
    collection: &Collection<RawDocumentBuf>,
    ids: Vec<Bson>,
    after: Version,
) -> mongodb::error::Result<Vec<Reply>> {
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
    let mut stream = cursor.stream(&mut session);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        // A reply that cannot be read is a failed read, not documents that are gone.
        documents(&batch)?;
        let read = read_bound(batch.as_raw_document());
        replies.push(Reply { batch, read });
    }
    Ok(replies)
}
