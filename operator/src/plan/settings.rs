//! What `plan` is told.

use crate::settings::Installation;
use clap::Args;
use leafcutter_consumer::settings::PostgresSettings;
use std::path::PathBuf;

/// What stands below the help.
pub(crate) const HELP: &str = "\
Without --postgres no server is asked, and the statements may run on any
database: what is there already stays. With it, only what that database lacks
is printed, with what changes in the mapping, and as comments what a person has
to decide. Nothing is ever dropped or narrowed.

One mapping is in force in a consumer group: that of its first consumer, until
--apply puts another there. It runs the statements in one transaction, while
the consumers wait; those with the old mapping stop then (exit code 7), and
start again with the new one. Rows that are there keep their form until they
are written again: --apply says by which commands, and `leafcutter status`
names the collections until that is done.

Examples:
  leafcutter plan --mapping mapping.yaml | psql
  leafcutter plan --mapping mapping.yaml --postgres --out change.sql
  leafcutter plan --mapping mapping.yaml --apply
  leafcutter plan --mapping mapping.yaml --apply --yes --json
  leafcutter plan --in-force > in-force.yaml

Exit codes: 0, also when there is nothing to do; 1 when a database was asked
and something is to be done; 2 when nobody can confirm and --yes is missing; 3
when the mapping has faults or the file cannot be written; 4 when PostgreSQL
refuses, a table does not fit, or somebody is in the way: nothing was changed;
7 when nobody knows which mapping was in force.";

/// The settings of `plan`.
#[derive(Debug, Args)]
pub struct PlanSettings {
    /// Ask PostgreSQL, and print what it lacks
    #[arg(long)]
    pub postgres: bool,
    /// Run the statements and put the mapping in force, after a question
    #[arg(long)]
    pub apply: bool,
    /// Print the mapping that is in force, as it was read
    #[arg(long, conflicts_with_all = ["postgres", "apply", "out"])]
    pub in_force: bool,
    /// Write the SQL into this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Do not ask
    #[arg(long, requires = "apply")]
    pub yes: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub server: PostgresSettings,
}
