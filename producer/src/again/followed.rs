//! By whom a collection is followed, and how: what the checkpoints say.

use crate::checkpoint::StreamCheckpoint;
use leafcutter_runtime::{
    exit::Exit,
    kafka::{KafkaSettings, ReadError, read_compacted},
    report::{Failure, Fault},
};
use leafcutter_schemas::name;

/// The furthest checkpoint that names a collection.
pub type Followed = StreamCheckpoint;

/// The checkpoint of the producer that follows a collection; none where none ever did. Of several producers
/// the one that came furthest counts. Blocks.
///
/// # Errors
/// When the topic cannot be read, or holds what no version of ours wrote.
pub fn followed(
    kafka: &KafkaSettings,
    prefix: &str,
    (database, collection): (&str, &str),
) -> Result<Option<Followed>, Failure> {
    let topic = name::checkpoints_topic(prefix);
    let records = match read_compacted(kafka, &topic) {
        Ok(records) => records,
        Err(ReadError::Missing(_)) => return Ok(None),
        Err(error) => return Err(Failure::one(Exit::Preflight, error.into())),
    };
    let mut furthest: Option<Followed> = None;
    for (key, value) in &records {
        let key = String::from_utf8_lossy(key);
        if !key.starts_with("stream/") {
            continue;
        }
        let read: StreamCheckpoint = serde_json::from_slice(value).map_err(|error| {
            let fault = Fault::new(
                "could not read a checkpoint",
                format!("topic `{topic}`, key `{key}`"),
                error.to_string(),
                "It was written by another version of Leafcutter: use that one's tool.",
            );
            Failure::one(Exit::StateMismatch, fault)
        })?;
        let print = &read.fingerprint;
        let names = print.collections.iter().any(|name| name == collection);
        let newer = furthest
            .as_ref()
            .is_none_or(|known| known.time <= read.time);
        if names && print.database == database && newer {
            furthest = Some(read);
        }
    }
    Ok(furthest)
}
