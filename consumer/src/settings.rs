//! What the consumer is told: flags with an environment variable each.

use clap::{Args, Parser, Subcommand, ValueEnum};
use leafcutter_runtime::{
    admin::AdminSettings,
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault, causes},
    secret::{self, Secret},
    telemetry::LogSettings,
    units,
};
use leafcutter_sink::session::{self, Config};
use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

/// Kafka to PostgreSQL: turns each document into rows of several tables, each document once
/// whatever fails.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-consumer", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// How to log.
    #[command(flatten)]
    pub log: LogSettings,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, also after a clean stop      5  Kafka no longer has what is to be read
  2  usage                              6  stopped: too many bad records in a row
  3  settings or mapping                7  state does not fit (mapping, topics, partitions)
  4  preflight refused                  8  could not stop within the deadline";

/// What a consumer can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Apply records until stopped; start as many as there are partitions
    #[command(after_help = "\
Example:
  leafcutter-consumer run --mapping mapping.yaml \\
    --kafka-brokers 127.0.0.1:9092 --postgres-uri postgres://app@127.0.0.1/app

Two consumers of one group share the partitions. Stop one with SIGTERM: the
others take over where it stood.")]
    Run(Box<RunSettings>),
}

/// Where the mapping is.
#[derive(Debug, Args)]
pub struct MappingSettings {
    /// The mapping file
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    pub mapping: PathBuf,
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
}

/// Where PostgreSQL is.
#[derive(Debug, Clone, Args)]
pub struct PostgresSettings {
    /// Where PostgreSQL is: `postgres://user@host:port/database`
    #[arg(
        long,
        env = "LEAFCUTTER_POSTGRES_URI",
        hide_env_values = true,
        value_name = "URI"
    )]
    pub postgres_uri: Option<Secret>,
    /// A file that holds the PostgreSQL URI
    #[arg(long, env = "LEAFCUTTER_POSTGRES_URI_FILE", value_name = "FILE")]
    pub postgres_uri_file: Option<PathBuf>,
}

impl PostgresSettings {
    /// How to connect, and the server as it may be shown.
    ///
    /// # Errors
    /// When there is no URI, or it is none.
    pub fn config(&self) -> Result<(Config, String), Failure> {
        let wrong = |why: String, next: &str| {
            let fault = Fault::new("could not read the settings", "--postgres-uri", why, next);
            Failure::one(Exit::Settings, fault)
        };
        let uri = secret::resolve(
            self.postgres_uri.clone(),
            self.postgres_uri_file.clone(),
            "--postgres-uri",
        )
        .map_err(|why| {
            let next = "Give --postgres-uri or LEAFCUTTER_POSTGRES_URI, or a file that holds it.";
            wrong(why, next)
        })?;
        let config = session::config(&uri).map_err(|error| {
            let next = "Write it as postgres://user:password@host:port/database.";
            wrong(causes(&error), next)
        })?;
        Ok((config, secret::redact_uri(uri.expose())))
    }
}

/// Who creates tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ddl {
    /// Missing tables, columns, indexes and constraints are created
    Create,
    /// What is missing is a fault
    Check,
}

/// When a table that is made gets its foreign keys, and the indexes that keep nothing unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Constraints {
    /// When its first snapshot is applied: it is filled several times faster
    AfterLoad,
    /// At once
    FromStart,
}

/// What PostgreSQL does before it confirms a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SynchronousCommit {
    /// Confirms at once; after a crash of PostgreSQL the last records are read again
    Off,
    /// Waits for the disk, and for replicas as the server is set up
    On,
}

/// The settings of `run`.
#[derive(Debug, Args)]
pub struct RunSettings {
    /// Where the mapping is.
    #[command(flatten)]
    pub mapping: MappingSettings,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// Apply all topics from their start, although Kafka knows that this group has applied records and this
    /// database has nothing of it; for once
    #[arg(long)]
    pub begin_anew: bool,
    /// Who creates what the target lacks
    #[arg(long, env = "LEAFCUTTER_DDL", value_enum, default_value_t = Ddl::Create)]
    pub ddl: Ddl,
    /// When tables that are created get foreign keys, and indexes that are not unique; existing tables keep what
    /// they have
    #[arg(long, env = "LEAFCUTTER_CONSTRAINTS", value_enum, default_value_t = Constraints::AfterLoad)]
    pub constraints: Constraints,
    /// Whether PostgreSQL waits for its disk before it confirms rows
    #[arg(long, env = "LEAFCUTTER_SYNCHRONOUS_COMMIT", value_enum, default_value_t = SynchronousCommit::Off)]
    pub synchronous_commit: SynchronousCommit,
    /// How long a row waits for its parent or its unique value at least
    #[arg(long, env = "LEAFCUTTER_ORPHAN_AFTER", default_value = "10m", value_name = "TIME",
        value_parser = units::duration)]
    pub orphan_after: Duration,
    /// Records in one transaction at most
    #[arg(
        long,
        env = "LEAFCUTTER_BATCH_RECORDS",
        default_value = "6000",
        value_name = "COUNT"
    )]
    pub batch_records: NonZeroUsize,
    /// Bytes of records and their rows in one transaction at most; at least 1MiB
    #[arg(long, env = "LEAFCUTTER_BATCH_BYTES", default_value = "8MiB", value_name = "BYTES",
        value_parser = a_mebibyte_or_more)]
    pub batch_bytes: usize,
    /// Bytes of records from Kafka in memory at most; at least 1MiB. What waits in PostgreSQL is taken up beside
    /// them, twice 16 MiB at most
    #[arg(long, env = "LEAFCUTTER_MEMORY_BUDGET", default_value = "48MiB", value_name = "BYTES",
        value_parser = a_mebibyte_or_more)]
    pub memory_budget: usize,
    /// Bad records of a collection in a row, over all consumers, after which they stop; 0: never
    #[arg(
        long,
        env = "LEAFCUTTER_BREAKER",
        default_value_t = 1_000,
        value_name = "COUNT"
    )]
    pub breaker: u32,
    /// How long to wait at the start for topics that the producer creates
    #[arg(long, env = "LEAFCUTTER_TOPICS_WITHIN", default_value = "60s", value_name = "TIME",
        value_parser = units::duration)]
    pub topics_within: Duration,
    /// How long a clean stop may take
    #[arg(long, env = "LEAFCUTTER_DRAIN", default_value = "20s", value_name = "TIME",
        value_parser = units::duration)]
    pub drain: Duration,
    /// Where health and metrics are served.
    #[command(flatten)]
    pub admin: AdminSettings,
}

impl RunSettings {
    /// A consumer's settings where a program runs one itself: those of its flags, else of the environment, else the
    /// defaults.
    ///
    /// # Errors
    /// When a flag or a variable of the environment has no sound value.
    pub fn with_flags(
        mapping: MappingSettings,
        (kafka, postgres): (KafkaSettings, PostgresSettings),
        flags: &[&str],
    ) -> Result<Self, Failure> {
        let required = [
            "leafcutter-consumer",
            "run",
            "--mapping=-",
            "--kafka-brokers=-",
        ];
        let cli = Cli::try_parse_from(required.iter().chain(flags)).map_err(|error| {
            let why = error.to_string().trim().to_owned();
            let next = "Correct the environment: LEAFCUTTER_… stands for the flag of that name.";
            let fault = Fault::new("could not read the settings", "a consumer's", why, next);
            Failure::one(Exit::Settings, fault)
        })?;
        let Verb::Run(settings) = cli.verb;
        Ok(Self {
            mapping,
            kafka,
            postgres,
            ..*settings
        })
    }
}

/// Variables of earlier versions that are not read any more, and what took their places.
const REPLACED: [(&str, &str); 2] = [
    ("LEAFCUTTER_MEMORY_MIB", "LEAFCUTTER_MEMORY_BUDGET=48MiB"),
    ("LEAFCUTTER_BATCH_MIB", "LEAFCUTTER_BATCH_BYTES=8MiB"),
];

/// What to say of an environment that still has such variables.
pub fn replaced(is_set: impl Fn(&str) -> bool) -> Option<String> {
    let left = REPLACED.iter().filter(|(old, _)| is_set(old));
    let left: Vec<String> = left
        .map(|(old, new)| format!("{old} is not read any more: write {new}, with a unit"))
        .collect();
    (!left.is_empty()).then(|| left.join("; "))
}

/// A number alone would be bytes: too few for any document, and hardly meant.
fn a_mebibyte_or_more(text: &str) -> Result<usize, String> {
    match units::bytes(text)? {
        0..0x10_0000 => Err("expected at least 1MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_size_needs_its_unit() {
        assert_eq!(a_mebibyte_or_more("48MiB"), Ok(48 << 20));
        assert!(a_mebibyte_or_more("48").is_err());
    }
}
