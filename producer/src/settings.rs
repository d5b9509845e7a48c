//! Flags and environment → checked settings.
//!
//! Two types: what clap parsed, and [`Settings`], which the program sees. Every limit has a
//! default with its reason; all faults are reported at once.

pub mod again;
mod capture;
mod collections;
mod flags;
mod limits;
mod source;

use crate::source::Collection;
use collections::{collections, database};
use flags::Options;
use leafcutter_runtime::{
    admin::AdminSettings,
    exit::Exit,
    file,
    kafka::KafkaSettings,
    report::{Failure, Faults},
    secret::Secret,
};
use leafcutter_schemas::mapping::parse;
use mongodb::options::SelectionCriteria;
use std::{sync::Arc, time::Duration};

pub use capture::{Capture, Polling};
pub use flags::{Cli, Command};
pub use source::{OnDrop, Reads};

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Snapshot and stream.
    Run,
    /// Snapshot alone.
    Snapshot,
    /// Stream alone.
    Stream,
}

/// What the program runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is read.
    pub verb: Verb,
    /// How changes are found.
    pub capture: Capture,
    /// The source.
    pub mongodb_uri: Secret,
    /// The broker.
    pub kafka: KafkaSettings,
    /// The database.
    pub database: String,
    /// Its mapped collections, parents first.
    pub collections: Arc<Vec<Collection>>,
    /// The mapping's hash, for dead letters.
    pub mapping_hash: String,
    /// The first part of topic names.
    pub prefix: String,
    /// The key of checkpoints and control records.
    pub name: String,
    /// Partitions of a data topic.
    pub partitions: i32,
    /// How long data topics keep records.
    pub retention: Duration,
    /// Splits read at once.
    pub snapshot_threads: usize,
    /// Bytes of a split.
    pub split_bytes: u64,
    /// Where the snapshot reads.
    pub reads: SelectionCriteria,
    /// Documents per second at most.
    pub max_docs_per_second: Option<u32>,
    /// Documents of one look-up at most.
    pub lookup_batch: u32,
    /// What a dropped collection leads to.
    pub on_drop: OnDrop,
    /// Bytes in hand at most.
    pub memory_budget: usize,
    /// How often the position is stored.
    pub checkpoint_interval: Duration,
    /// How often heartbeats go out.
    pub heartbeat_interval: Duration,
    /// How long draining may take.
    pub drain: Duration,
    /// Health and metrics.
    pub admin: AdminSettings,
}

impl Settings {
    /// Checks what was parsed.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(cli: Cli) -> Result<Self, Failure> {
        let (verb, options) = match cli.command {
            Command::Run(options) => (Verb::Run, *options),
            Command::Snapshot(options) => (Verb::Snapshot, *options),
            Command::Stream(options) => (Verb::Stream, *options),
        };
        let Options {
            source,
            capture,
            kafka,
            topics,
            limits,
            admin,
            log: _,
        } = options;
        let mut faults = Faults(kafka.faults());
        let uri = faults.keep(source.uri());
        let choice = capture.check(&mut faults);
        let mapping = faults.keep_all(file::load("mapping", &source.mapping, parse::load));
        let chosen = mapping.as_ref().and_then(|mapping| {
            let database = faults.keep(database(mapping, source.database))?;
            let file = source.mapping.display().to_string();
            choice.check(mapping, &file, &database, &mut faults);
            let place = (topics.prefix.as_str(), database.as_str());
            let collections = collections(mapping, place, &choice, &mut faults)?;
            Some((database, collections))
        });
        limits.check(&mut faults);
        let (Some(uri), Some(mapping), Some((database, collections))) = (uri, mapping, chosen)
        else {
            return Err(Failure {
                exit: Exit::Settings,
                faults,
            });
        };
        faults.into_result(Exit::Settings)?;
        Ok(Self {
            verb,
            capture: choice.capture,
            mongodb_uri: uri,
            kafka,
            name: topics
                .name
                .unwrap_or_else(|| choice.producer_name(&topics.prefix, &database)),
            database,
            collections: Arc::new(collections),
            mapping_hash: mapping.hash,
            prefix: topics.prefix,
            partitions: topics.partitions,
            retention: topics.retention,
            snapshot_threads: usize::from(source.snapshot_threads),
            split_bytes: source.split_bytes,
            reads: source.read_preference.criteria(),
            max_docs_per_second: source.max_docs_per_second,
            lookup_batch: source.lookup_batch,
            on_drop: source.on_drop,
            memory_budget: limits.memory_budget,
            checkpoint_interval: limits.checkpoint_interval,
            heartbeat_interval: limits.heartbeat_interval,
            drain: limits.drain,
            admin,
        })
    }
}
