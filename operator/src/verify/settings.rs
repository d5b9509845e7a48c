//! What a person tells `verify`.

use crate::settings::Installation;
use clap::Args;
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{kafka::KafkaSettings, secret::Secret, units};
use std::{path::PathBuf, time::Duration};

/// What `--help` says at its end.
pub const HELP: &str = "\
Every document is turned into its rows a second time, by code of its own, and
compared with what is there, while both sides are written to. What differs is
looked at again until it stands still and all that happened before is applied:
only then it is a difference. Rows without a document are found too.

What is not compared is said: a document with a dead letter is `rejected`, also
where a person has discarded it; one that waits is `waiting`.

Examples:
  leafcutter verify
  leafcutter verify --collection learners --out differences.jsonl
  leafcutter verify --sample 10000
  leafcutter verify --counts-only
  leafcutter verify --rate 5000 --resume verify.state
  leafcutter verify --repair
  leafcutter verify --watch 10m --sample 1000

Exit codes: 0 when nothing differs; 1 when something does, or was not applied in
time; 2; 3 when the mapping has faults; 4 when a server cannot be asked or is
not as it has to be.";

/// The settings of `verify`.
#[derive(Debug, Args)]
pub struct VerifySettings {
    /// Only these collections; may be given several times
    #[arg(long = "collection", value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Only count both sides; nothing is compared
    #[arg(long, conflicts_with_all = ["sample", "since", "resume", "watch", "repair_sql"])]
    pub counts_only: bool,
    /// Only so many documents of each collection, chosen at random
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["since", "resume"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Only documents with a date of `poll_by` from this one on, as in 2026-12-31
    #[arg(long, value_name = "DATE", value_parser = date, conflicts_with = "resume")]
    pub since: Option<bson::DateTime>,
    /// Ranges compared at once
    #[arg(long, default_value_t = 2, value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..=32))]
    pub jobs: u16,
    /// Documents read in a second at most; fewer while MongoDB answers slowly
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Write all differences into this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Note in this file what is done, and go on from there
    #[arg(long, value_name = "FILE", conflicts_with = "watch")]
    pub resume: Option<PathBuf>,
    /// Differences that are shown at most
    #[arg(long, default_value_t = 10, value_name = "COUNT")]
    pub show: usize,
    /// Do not show values
    #[arg(long)]
    pub no_values: bool,
    /// How long to wait for changes to be applied while nothing moves
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = units::duration)]
    pub patience: Duration,
    /// Send what differs through the pipeline again, and verify once more
    #[arg(long, conflicts_with_all = ["watch", "resume", "counts_only"])]
    pub repair: bool,
    /// Write what would mend the rows into this file, as SQL
    #[arg(long, value_name = "FILE")]
    pub repair_sql: Option<PathBuf>,
    /// Begin anew at this pace (10m), until interrupted
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m",
        value_parser = units::duration)]
    pub watch: Option<Duration>,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where MongoDB is.
    #[command(flatten, next_help_heading = "Servers")]
    pub mongodb: MongodbSettings,
    /// Where Kafka is.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// Where MongoDB is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Servers")]
pub struct MongodbSettings {
    /// MongoDB connection string
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
}

fn date(text: &str) -> Result<bson::DateTime, String> {
    let micros = super::expected::moment::read(text);
    let millis = micros.and_then(|micros| i64::try_from(micros.div_euclid(1000)).ok());
    let millis = millis.ok_or("expected a date such as 2026-12-31 or 2026-12-31T23:59:59Z")?;
    Ok(bson::DateTime::from_millis(millis))
}
