//! What a person's tool is told of the source, to read a collection of it again.
//!
//! How the collection is followed, and by whom, is not asked: its checkpoint says so.

use super::{Capture, Polling, Reads, Settings, Verb, capture, collections::collections};
use crate::checkpoint::StreamCheckpoint;
use clap::Args;
use leafcutter_runtime::{
    admin::AdminSettings,
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault, Faults},
    secret::{self, Secret},
};
use leafcutter_schemas::mapping::Mapping;
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Bytes of a split: what is read again after a failure.
const SPLIT_BYTES: u64 = 32 << 20;
/// Bytes of documents in hand at most.
const MEMORY_BUDGET: usize = 48 << 20;

/// The flags.
#[derive(Debug, Clone, Args)]
pub struct AgainOptions {
    /// MongoDB connection string; it holds a password, so prefer the environment or the file
    #[arg(
        long,
        env = "LEAFCUTTER_MONGODB_URI",
        value_name = "URI",
        hide_env_values = true
    )]
    pub mongodb_uri: Option<Secret>,
    /// A file that holds the connection string
    #[arg(long, env = "LEAFCUTTER_MONGODB_URI_FILE", value_name = "FILE")]
    pub mongodb_uri_file: Option<PathBuf>,
    /// Where documents are read
    #[arg(
        long,
        env = "LEAFCUTTER_READ_PREFERENCE",
        default_value = "primary",
        value_name = "WHERE"
    )]
    pub read_preference: Reads,
    /// Documents read per second at most; no limit by default
    #[arg(long, env = "LEAFCUTTER_MAX_DOCS_PER_SECOND", value_name = "COUNT")]
    pub max_docs_per_second: Option<u32>,
    /// Splits of the collection read at once
    #[arg(long, env = "LEAFCUTTER_SNAPSHOT_THREADS", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub snapshot_threads: u16,
}

/// `2024-01-01`, `2024-01-01T12:00:00Z`, as milliseconds since 1970.
///
/// # Errors
/// What is expected.
pub fn date(text: &str) -> Result<i64, String> {
    capture::parse_date(text).map(bson::DateTime::timestamp_millis)
}

/// Which collection is meant, and where it goes.
#[derive(Debug)]
pub struct Place<'a> {
    /// The mapping.
    pub mapping: &'a Mapping,
    /// The first part of topic names.
    pub prefix: &'a str,
    /// The database.
    pub database: &'a str,
    /// The collection.
    pub collection: &'a str,
    /// Partitions of its topic.
    pub partitions: i32,
    /// The broker.
    pub kafka: &'a KafkaSettings,
}

impl AgainOptions {
    /// The settings of a producer of this collection alone, which is followed as `followed` says.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn settings(
        &self,
        place: &Place<'_>,
        followed: &StreamCheckpoint,
    ) -> Result<Settings, Failure> {
        let mut faults = Faults(place.kafka.faults());
        let (value, file) = (self.mongodb_uri.clone(), self.mongodb_uri_file.clone());
        let uri = secret::resolve(value, file, "the MongoDB connection string").map_err(|why| {
            Fault::new(
                "could not find the source",
                "`--mongodb-uri` or `LEAFCUTTER_MONGODB_URI`, or either with `_FILE`",
                why,
                "Give a connection string such as mongodb://user:password@host/?replicaSet=rs0.",
            )
        });
        let uri = faults.keep(uri);
        let capture = match followed.fingerprint.capture.as_str() {
            "" => Capture::Stream,
            // None of it matters to a read that is no poll.
            _ => Capture::Poll(Polling {
                interval: Duration::from_secs(10),
                overlap: Duration::ZERO,
                since: None,
            }),
        };
        let choice = capture::Choice::alone(capture, place.collection);
        let named = (place.prefix, place.database);
        let chosen = collections(place.mapping, named, &choice, &mut faults);
        let (Some(uri), Some(chosen)) = (uri, chosen) else {
            return Err(Failure {
                exit: Exit::Settings,
                faults,
            });
        };
        faults.into_result(Exit::Settings)?;
        Ok(Settings {
            verb: Verb::Snapshot,
            capture,
            mongodb_uri: uri,
            kafka: place.kafka.clone(),
            database: place.database.to_owned(),
            collections: Arc::new(chosen),
            mapping_hash: place.mapping.hash.clone(),
            prefix: place.prefix.to_owned(),
            name: followed.producer.clone(),
            partitions: place.partitions,
            // Whose topics these are has checked it.
            retention: Duration::ZERO,
            snapshot_threads: usize::from(self.snapshot_threads),
            split_bytes: SPLIT_BYTES,
            reads: self.read_preference.criteria(),
            max_docs_per_second: self.max_docs_per_second,
            lookup_batch: 1,
            on_drop: super::OnDrop::Ignore,
            memory_budget: MEMORY_BUDGET,
            checkpoint_interval: Duration::from_secs(2),
            heartbeat_interval: Duration::from_secs(1),
            drain: Duration::from_secs(20),
            admin: AdminSettings {
                admin: ([127, 0, 0, 1], 0).into(),
            },
        })
    }
}
