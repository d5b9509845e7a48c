//! What `resnapshot` is told.

use crate::settings::Installation;
use clap::{ArgGroup, Args};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_producer::again::{AgainOptions, date};
use leafcutter_runtime::kafka::KafkaSettings;
use std::path::PathBuf;

/// What stands below the help.
pub(crate) const HELP: &str = "\
Reads documents of MongoDB again and sends them through Kafka, as a snapshot
does, while everything runs. Changes that happen meanwhile win. Rows that
differ are written, new columns and child tables are filled; rows that the
source no longer has are deleted at the end (the sweep), through the same
rules as any delete. Rows that Leafcutter never wrote are not touched.

Of --ids each that is not found is deleted. With --where and --since a part is
read, and the sweep is of the whole collection.

Examples:
  leafcutter resnapshot learners --dry-run
  leafcutter resnapshot learners
  leafcutter resnapshot learners --ids 507f1f77bcf86cd799439011,17
  leafcutter resnapshot learners --where '{\"country\": \"FI\"}'
  leafcutter resnapshot learners --since 2024-05-01 --yes
  leafcutter resnapshot learners --max-docs-per-second 2000

Exit codes: 0; 1 when it was interrupted, or a row could not be deleted; 2; 4;
6 when more rows would go than --sweep-max; 7 when the consumers run under
another mapping, or another cluster is behind the address.";

/// The settings of `resnapshot`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("part").args(["ids", "ids_file", "filter", "since"]))]
pub struct ResnapshotSettings {
    /// These collections
    #[arg(value_name = "COLLECTION", required = true)]
    pub collections: Vec<String>,
    /// Only these documents: their `_id`s, as text, numbers, or Extended JSON
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub ids: Vec<String>,
    /// The same from a file, one in each line
    #[arg(long, value_name = "FILE")]
    pub ids_file: Option<PathBuf>,
    /// Only documents that match this query of MongoDB, in Extended JSON
    #[arg(long = "where", value_name = "QUERY")]
    pub filter: Option<String>,
    /// Only documents with a date of `poll_by` not before this one
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub since: Option<i64>,
    /// Delete all rows of the collection first; they are missing meanwhile
    #[arg(long, conflicts_with = "part")]
    pub truncate_first: bool,
    /// Do not look for rows that the source no longer has
    #[arg(long)]
    pub no_sweep: bool,
    /// Delete nothing if more rows than this would go, in percent
    #[arg(long, default_value_t = 20, value_name = "PERCENT",
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub sweep_max: u8,
    /// The producer has stopped since the change history is lost
    #[arg(long, conflicts_with = "part")]
    pub lost_history: bool,
    /// Say what would be read and deleted, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where the source is.
    #[command(flatten, next_help_heading = "Servers")]
    pub source: AgainOptions,
    /// Where Kafka is.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}
