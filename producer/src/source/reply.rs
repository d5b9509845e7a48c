//! What a server's reply says beside its documents: cluster times and resume tokens.
//!
//! Every reply of a replica set carries `operationTime` and `$clusterTime`. The first is a time
//! that exists in the oplog (a read can wait for it); the larger of both is an upper bound of the
//! time at which anything in the reply was read, since the server's clock is at least there when
//! it answers. A resume token begins with its cluster time, which is all that is read of it.

use bson::{Document, RawBsonRef, RawDocument, Timestamp};
use leafcutter_schemas::version::Version;
use mongodb::{
    Client,
    options::{ReadPreference, SelectionCriteria},
    raw_batch_cursor::RawBatch,
};

/// An upper bound of the time at which the documents of a reply were read.
pub(crate) fn read_bound(reply: &RawDocument) -> Version {
    let operation = reply.get_timestamp("operationTime").ok();
    let cluster = reply
        .get_document("$clusterTime")
        .and_then(|time| time.get_timestamp("clusterTime"))
        .ok();
    version(operation).max(version(cluster))
}

/// The same for a reply that was read whole.
pub(crate) fn read_bound_of(reply: &Document) -> Version {
    let operation = reply.get_timestamp("operationTime").ok();
    let cluster = reply
        .get_document("$clusterTime")
        .and_then(|time| time.get_timestamp("clusterTime"))
        .ok();
    version(operation).max(version(cluster))
}

fn version(time: Option<Timestamp>) -> Version {
    time.map_or(Version::ZERO, Version::from_cluster_time)
}

/// Times of the primary, asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTime {
    /// The last operation in its oplog: a read can wait for this time, and it will come.
    pub operation: Version,
    /// At least as late as anything that any node has answered so far.
    pub bound: Version,
}

/// Asks the primary for the time.
pub async fn server_time(client: &Client) -> mongodb::error::Result<ServerTime> {
    let reply = client
        .database("admin")
        .run_command(bson::doc! { "ping": 1 })
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .await?;
    Ok(ServerTime {
        operation: version(reply.get_timestamp("operationTime").ok()),
        bound: read_bound_of(&reply),
    })
}

/// The documents of a reply, borrowed.
pub(crate) fn documents(batch: &RawBatch) -> mongodb::error::Result<Vec<&RawDocument>> {
    let mut documents = Vec::new();
    for value in batch.doc_slices()? {
        match value? {
            RawBsonRef::Document(document) => documents.push(document),
            other => {
                let found = format!(
                    "a reply holds {:?} in place of a document",
                    other.element_type()
                );
                return Err(mongodb::error::Error::custom(found));
            }
        }
    }
    Ok(documents)
}

/// The post-batch resume token of a change stream's reply.
pub(crate) fn post_batch_token(reply: &RawDocument) -> Option<&RawDocument> {
    reply
        .get_document("cursor")
        .and_then(|cursor| cursor.get_document("postBatchResumeToken"))
        .ok()
}

/// The cluster time a resume token begins with: `82`, then seconds and increment as 32-bit
/// big-endian numbers (the server's KeyString of a timestamp).
pub(crate) fn token_time(token: &RawDocument) -> Option<Version> {
    let Ok(Some(RawBsonRef::String(data))) = token.get("_data") else {
        return None;
    };
    let digits = data.strip_prefix("82")?;
    let number = |range| u32::from_str_radix(digits.get(range)?, 16).ok();
    Some(Version::from_cluster_time(Timestamp {
        time: number(0..8)?,
        increment: number(8..16)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    #[test]
    fn a_token_begins_with_its_cluster_time() {
        let token = rawdoc! { "_data": "82612E8513000000012B022C0100296E5A1004A5093ABB38FE4B9EA6" };
        let expected = Timestamp {
            time: 0x612E_8513,
            increment: 1,
        };
        assert_eq!(
            token_time(&token),
            Some(Version::from_cluster_time(expected))
        );
        assert_eq!(token_time(&rawdoc! { "_data": "82612E" }), None);
        assert_eq!(
            token_time(&rawdoc! { "_data": "83612E8513000000012B02" }),
            None
        );
        assert_eq!(token_time(&rawdoc! {}), None);
    }

    #[test]
    fn the_larger_of_both_times_bounds_a_reply() {
        let at = |time| Timestamp { time, increment: 0 };
        let reply = rawdoc! { "operationTime": at(5), "$clusterTime": { "clusterTime": at(7) } };
        assert_eq!(read_bound(&reply), Version::from_cluster_time(at(7)));
        assert_eq!(
            read_bound(&rawdoc! { "operationTime": at(5) }),
            Version::from_cluster_time(at(5))
        );
        assert_eq!(read_bound(&rawdoc! {}), Version::ZERO);
    }
}
