//! Whether the source's history is still the one that was read.
//!
//! After a restore from a backup the source's time goes on, and soon lies behind every checkpoint
//! again. But what was written between the backup and the restore is gone, and a stream that is opened
//! at a time, or behind a token that stands for a time, does not notice: rows would stay whose documents
//! never were. So a checkpoint names an event that was read, the newest; before a stream is used it is
//! asked for again. Events come from a majority of the members, so an election takes none back; one that
//! is not there any more was in another history.
//!
//! It needs no privilege beside those of the stream. An event that the oplog has overwritten meanwhile
//! proves nothing; nor does a source of which no event was read yet.

use super::reply::{documents, post_batch_token, token_time};
use bson::doc;
use futures_util::StreamExt;
use leafcutter_schemas::version::Version;
use mongodb::{Client, options::ReadConcern};
use std::time::Duration;

/// How long the server may wait for events before it answers.
const AWAIT: Duration = Duration::from_millis(250);
/// Answers without a result: more than a source takes whose time stands still (a no-op every 10 s).
const ANSWERS_MAX: usize = 120;

/// Whether an event of this time is in the history.
///
/// # Errors
/// What the driver says; nothing is known then.
pub(super) async fn holds(
    client: &Client,
    database: &str,
    event: Version,
) -> mongodb::error::Result<bool> {
    if event == Version::ZERO {
        return Ok(true);
    }
    let time = event.cluster_time();
    let stages = [
        doc! { "$changeStream": { "startAtOperationTime": time } },
        doc! { "$match": { "clusterTime": time } },
        doc! { "$project": { "clusterTime": 1 } },
    ];
    let mut replies = client
        .database(database)
        .aggregate(stages)
        .read_concern(ReadConcern::majority())
        .batch_size(1)
        .max_await_time(AWAIT)
        .batch()
        .await?;
    for _ in 0..ANSWERS_MAX {
        let Some(reply) = replies.next().await.transpose()? else {
            break;
        };
        if !documents(&reply)?.is_empty() {
            return Ok(true);
        }
        let reached = post_batch_token(reply.as_raw_document()).and_then(token_time);
        if reached.is_some_and(|reached| reached > event) {
            return Ok(false);
        }
    }
    let why = format!("the source does not get to {event}, where it was before");
    Err(mongodb::error::Error::custom(why))
}
