//! What a person tells `finish`.

use crate::{installation::KafkaIfAny, settings::Installation, verify::settings::MongodbSettings};
use clap::Args;
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::units;
use std::{path::PathBuf, time::Duration};

/// What stands below the help.
pub(crate) const HELP: &str = "\
Run it when `leafcutter status` says that it is ready, and nobody writes to the
source any more. It waits until everything is applied, compares every document
with its rows once more, moves sequences ahead of the numbers that rows have,
proves constraints that are `not valid`, and writes a report, as Markdown and as
JSON. It changes nothing else, and may be run again. Then stop the programs, and
point the application at PostgreSQL.

Days later, --drop takes the columns lc_version, lc_document, lc_source and
lc_written, the trigger leafcutter_undo and schema `leafcutter` away, in one
transaction. It asks neither Kafka nor MongoDB. It refuses while consumers run,
or when the last `finish` was not clean, and it drops nothing that somebody else
made: views of these columns are named.

Examples:
  leafcutter finish --dry-run
  leafcutter finish
  leafcutter finish --sample 10000 --report finlit.md
  leafcutter finish --json | jq .verdict
  leafcutter finish --drop --dry-run
  leafcutter finish --drop

Exit codes: 0; 1 when the report is not clean, or it was interrupted; 2 when
nobody can confirm and --yes is missing; 3; 4 when a server cannot be asked or
refuses; 6 when it is not ready, and --force is missing: nothing was done.";

/// The settings of `finish`.
#[derive(Debug, Args)]
pub struct FinishSettings {
    /// Days later: remove Leafcutter's own columns and schema `leafcutter`
    #[arg(long, conflicts_with_all = ["no_verify", "sample", "jobs", "rate", "wait", "report"])]
    pub drop: bool,
    /// Go on although there are reasons not to; they are shown
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask before the drop
    #[arg(long, requires = "drop")]
    pub yes: bool,
    /// How long to wait at most until everything is applied
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = units::duration)]
    pub wait: Duration,
    /// Do not compare documents with rows
    #[arg(long, conflicts_with_all = ["sample", "jobs", "rate"])]
    pub no_verify: bool,
    /// Compare only so many documents of each collection, chosen at random
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Ranges compared at once
    #[arg(long, default_value_t = 2, value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..=32))]
    pub jobs: u16,
    /// Documents read in a second at most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Write the report into this file, and beside it with the ending .json
    #[arg(long, default_value = "leafcutter-report.md", value_name = "FILE")]
    pub report: PathBuf,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where MongoDB is.
    #[command(flatten, next_help_heading = "Servers")]
    pub mongodb: MongodbSettings,
    /// Where Kafka is; `--drop` does not ask it.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaIfAny,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}
