//! What the consumer is told: flags with an environment variable each.

use clap::{Args, Parser, Subcommand, ValueEnum};
use leafcutter_runtime::{
    admin::AdminSettings, kafka::KafkaSettings, secret::Secret, telemetry::LogSettings,
};
use std::{path::PathBuf, time::Duration};

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
    /// Print the tables, indexes and constraints that the mapping needs, as SQL
    Ddl(MappingSettings),
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

/// Who creates tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ddl {
    /// Missing tables, columns, indexes and constraints are created
    Create,
    /// What is missing is a fault
    Check,
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
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// Who creates what the target lacks
    #[arg(long, env = "LEAFCUTTER_DDL", value_enum, default_value_t = Ddl::Create)]
    pub ddl: Ddl,
    /// Whether PostgreSQL waits for its disk before it confirms rows
    #[arg(long, env = "LEAFCUTTER_SYNCHRONOUS_COMMIT", value_enum, default_value_t = SynchronousCommit::Off)]
    pub synchronous_commit: SynchronousCommit,
    /// How long a row waits for its parent or its unique value at least
    #[arg(long, env = "LEAFCUTTER_ORPHAN_AFTER", default_value = "10m", value_parser = duration)]
    pub orphan_after: Duration,
    /// Records in one transaction at most
    #[arg(long, env = "LEAFCUTTER_BATCH_RECORDS", default_value_t = 6_000, value_parser = at_least_one)]
    pub batch_records: usize,
    /// Mebibytes of records and their rows in one transaction at most
    #[arg(long, env = "LEAFCUTTER_BATCH_MIB", default_value_t = 8, value_parser = at_least_one)]
    pub batch_mib: usize,
    /// Mebibytes of records in memory at most
    #[arg(long, env = "LEAFCUTTER_MEMORY_MIB", default_value_t = 48, value_parser = at_least_one)]
    pub memory_mib: usize,
    /// Bad records in a row after which the program stops; 0: never
    #[arg(long, env = "LEAFCUTTER_BREAKER", default_value_t = 1_000)]
    pub breaker: u32,
    /// How long to wait at the start for topics that the producer creates
    #[arg(long, env = "LEAFCUTTER_TOPICS_WITHIN", default_value = "60s", value_parser = duration)]
    pub topics_within: Duration,
    /// How long a clean stop may take
    #[arg(long, env = "LEAFCUTTER_DRAIN", default_value = "20s", value_parser = duration)]
    pub drain: Duration,
    /// Where health and metrics are served.
    #[command(flatten)]
    pub admin: AdminSettings,
}

/// Reads `500ms`, `3s`, `10m`, `2h`.
///
/// # Errors
/// When the text is none of these.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number
        .parse()
        .map_err(|_| "expected a number and a unit, as in `3s`".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        _ => Err("the unit is one of ms, s, m, h, as in `10m`".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number above 0".to_owned()),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert!(duration("10").is_err());
        assert!(duration("m").is_err());
        assert!(at_least_one("0").is_err());
    }
}
