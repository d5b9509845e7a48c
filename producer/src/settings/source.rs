//! Where documents are read, how much at once, and what a dropped collection leads to.

use clap::{Args, ValueEnum};
use leafcutter_runtime::{
    report::Fault,
    secret::{self, Secret},
    units,
};
use mongodb::options::{ReadPreference, SelectionCriteria};
use std::path::PathBuf;

/// What a dropped or renamed collection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnDrop {
    /// Stop with exit code 6 and say what happened
    #[default]
    Halt,
    /// Go past it; what is in PostgreSQL stays
    Ignore,
}

/// Where the snapshot reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Reads {
    /// The primary
    #[default]
    Primary,
    /// The primary, or a secondary when there is none
    PrimaryPreferred,
    /// A secondary
    Secondary,
    /// A secondary, or the primary when there is none
    SecondaryPreferred,
    /// Whichever member is nearest
    Nearest,
}

impl Reads {
    pub(super) fn criteria(self) -> SelectionCriteria {
        SelectionCriteria::ReadPreference(match self {
            Self::Primary => ReadPreference::Primary,
            Self::PrimaryPreferred => ReadPreference::PrimaryPreferred { options: None },
            Self::Secondary => ReadPreference::Secondary { options: None },
            Self::SecondaryPreferred => ReadPreference::SecondaryPreferred { options: None },
            Self::Nearest => ReadPreference::Nearest { options: None },
        })
    }
}

/// The flags.
#[derive(Debug, Args)]
pub(super) struct SourceOptions {
    /// MongoDB connection string; it holds a password, so prefer the environment or the file
    #[arg(
        long,
        env = "LEAFCUTTER_MONGODB_URI",
        value_name = "URI",
        hide_env_values = true
    )]
    pub(super) mongodb_uri: Option<Secret>,
    /// A file that holds the connection string
    #[arg(long, env = "LEAFCUTTER_MONGODB_URI_FILE", value_name = "FILE")]
    pub(super) mongodb_uri_file: Option<PathBuf>,
    /// The mapping; its collections are the ones exported
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    pub(super) mapping: PathBuf,
    /// The database; may be left out when the mapping names only one
    #[arg(long, env = "LEAFCUTTER_DATABASE", value_name = "NAME")]
    pub(super) database: Option<String>,
    /// Where the snapshot and polls read; the stream and look-ups follow the connection string
    #[arg(
        long,
        env = "LEAFCUTTER_READ_PREFERENCE",
        default_value = "primary",
        value_name = "WHERE"
    )]
    pub(super) read_preference: Reads,
    /// The limit of the snapshot, and of polls, in documents per second; none by default
    #[arg(long, env = "LEAFCUTTER_MAX_DOCS_PER_SECOND", value_name = "COUNT")]
    pub(super) max_docs_per_second: Option<u32>,
    /// Splits read at once by the snapshot
    #[arg(long, env = "LEAFCUTTER_SNAPSHOT_THREADS", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) snapshot_threads: u16,
    /// Bytes of documents in one split: what is read again after a failure
    #[arg(long, env = "LEAFCUTTER_SPLIT_BYTES", default_value = "32MiB", value_name = "BYTES",
          value_parser = units::bytes::<u64>)]
    pub(super) split_bytes: u64,
    /// Documents of updates asked for in one look-up, and events in one reply, at most
    #[arg(long, env = "LEAFCUTTER_LOOKUP_BATCH", default_value_t = 2000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(super) lookup_batch: u32,
    /// When a mapped collection is dropped or renamed, or the database is dropped
    #[arg(
        long,
        env = "LEAFCUTTER_ON_DROP",
        default_value = "halt",
        value_name = "POLICY"
    )]
    pub(super) on_drop: OnDrop,
}

impl SourceOptions {
    /// The connection string, from the flag or from the file.
    pub(super) fn uri(&self) -> Result<Secret, Fault> {
        let (value, file) = (self.mongodb_uri.clone(), self.mongodb_uri_file.clone());
        secret::resolve(value, file, "the MongoDB connection string").map_err(|why| {
            Fault::new(
                "could not find the source",
                "`--mongodb-uri` or `LEAFCUTTER_MONGODB_URI`, or either with `_FILE`",
                why,
                "Give a connection string such as mongodb://user:password@host/?replicaSet=rs0.",
            )
        })
    }
}
