//! What a person tells `rollback`.

use crate::settings::Installation;
use clap::Args;
use leafcutter_consumer::settings::PostgresSettings;

/// How a failure of it begins.
pub(super) const WHAT: &str = "could not roll back";

/// What stands below the help.
pub(crate) const HELP: &str = "\
Until the application has moved: takes back what Leafcutter wrote, in one
transaction. Its rows go. Rows of the application's that it overwrote or
deleted are there again, with the values that they had before the first run.
Sequences stand where they stood. Columns, triggers, indexes and foreign keys
that it added to tables go, and schema `leafcutter`. Tables that it created
stay, empty, unless --drop-tables is said. Neither Kafka nor MongoDB is asked;
topics stay.

With --collection only the rows of these collections go, and what is known of
them: consumers that start again begin with them anew.

It shows what it would do. It refuses while consumers run; where rows that
stay refer to rows that go; and, without --force, where not every row of the
application's can come back.

Examples:
  leafcutter rollback --dry-run
  leafcutter rollback
  leafcutter rollback --drop-tables --yes
  leafcutter rollback --collection books --collection authors
  leafcutter rollback --dry-run --json | jq .tables

Exit codes: 0; 1 when it was interrupted; 2 when nobody can confirm and --yes is
missing; 3; 4 when something is in the way, or PostgreSQL cannot be asked or
refuses; 6 when it is refused: nothing was done.";

/// The settings of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackSettings {
    /// Only this collection; may be said several times
    #[arg(long = "collection", value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Drop the tables that Leafcutter created, where they are empty afterwards
    #[arg(long, conflicts_with = "collections")]
    pub drop_tables: bool,
    /// Go on although not every row can come back; which ones is shown
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}
