//! What a person tells `leafcutter dead-letters`.

use crate::settings::Installation;
use clap::{Args, Subcommand, ValueEnum};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{kafka::KafkaSettings, units};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersVerb {
    /// Which records could not be applied, and why
    #[command(after_help = "\
Dead letters of one cause (table, column, reason, SQLSTATE) are one line, with
one of them as an example; --all lists each.

Examples:
  leafcutter dead-letters list
  leafcutter dead-letters list --all --collection learners --reason wrong-type
  leafcutter dead-letters list --sqlstate 23505 --since 2h
  leafcutter dead-letters list --all --state discarded --json

Exit codes: 0; 2; 4.")]
    List(ListSettings),
    /// One dead letter with its whole origin
    #[command(
        after_help = "\
Examples:
  leafcutter dead-letters show finlit.learners/3/1204
  leafcutter dead-letters show learners/3/1204 --document",
        override_usage = "leafcutter dead-letters show [OPTIONS] <LETTER>"
    )]
    Show(ShowSettings),
    /// Try dead letters again under the present mapping
    #[command(
        after_help = "\
A dead letter is applied only where it is newer than what is there, so trying
again is always safe, and trying a second time changes nothing.

Examples:
  leafcutter dead-letters retry --all --dry-run
  leafcutter dead-letters retry --collection learners --reason wrong-type
  leafcutter dead-letters retry --table people --column url --since 2h
  leafcutter dead-letters retry finlit.learners/3/1204

Exit codes: 0 when nothing failed; 1 when some failed again, are discarded or
are not in their topic any more; 7 when the consumers run under another mapping.",
        override_usage = "leafcutter dead-letters retry [OPTIONS] <DEAD_LETTER…|--all>"
    )]
    Retry(RetrySettings),
    /// Give dead letters up, with a reason that is kept
    #[command(
        after_help = "\
They are not open any more: `status` does not count them, and neither a retry
nor a replay opens them again. They stay listed (--state discarded) with the
reason. Nothing is removed from the topics, and a document that waits for
another one is placed all the same if that comes.

Examples:
  leafcutter dead-letters discard learners/3/1204 --because 'a test account'
  leafcutter dead-letters discard --table people --column url --dry-run \\
    --because 'double in the source, agreed with support'

Exit codes: 0; 1 when one that was named is not open; 2; 4.",
        override_usage = "leafcutter dead-letters discard --because <TEXT> <DEAD_LETTER…|--all>"
    )]
    Discard(DiscardSettings),
}

/// In which state a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LetterState {
    /// Not mended yet
    Open,
    /// Something newer of the same document was applied
    Superseded,
    /// Tried again, and applied
    Retried,
    /// Given up by a person
    Discarded,
    /// All of them
    All,
}

/// What dead letters have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only those of this collection
    #[arg(long, value_name = "COLLECTION")]
    pub collection: Option<String>,
    /// Only those refused for this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those of this root table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Only those of this column
    #[arg(long, value_name = "COLUMN")]
    pub column: Option<String>,
    /// Only those to which PostgreSQL answered this, such as 23505
    #[arg(long, value_name = "SQLSTATE")]
    pub sqlstate: Option<String>,
    /// Only those that came since: a time such as 2026-01-31T12:00:00Z, or so
    /// long ago (2h)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<f64>,
    /// Only those that came before
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub before: Option<f64>,
}

/// Where the state is, and whose.
#[derive(Debug, Args)]
pub struct Place {
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// The settings of `dead-letters list`.
#[derive(Debug, Args)]
pub struct ListSettings {
    /// Which ones.
    #[command(flatten)]
    pub which: Selection,
    /// Only those in this state
    #[arg(long, value_enum, default_value_t = LetterState::Open)]
    pub state: LetterState,
    /// Each dead letter, the newest first, instead of their causes
    #[arg(long)]
    pub all: bool,
    /// How many lines at most; 0: all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: u32,
    /// Which installation is meant, and where its state is.
    #[command(flatten)]
    pub place: Place,
}

/// The settings of `dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowSettings {
    /// Which one: TOPIC/PARTITION/OFFSET, as `list` shows it
    #[arg(value_name = "DEAD_LETTER")]
    pub id: String,
    /// Show the document too, as relaxed Extended JSON
    #[arg(long)]
    pub document: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// Which ones a verb is for that changes them: it has to be said.
const WHICH: [&str; 9] = [
    "ids",
    "collection",
    "reason",
    "table",
    "column",
    "sqlstate",
    "since",
    "before",
    "all",
];

/// The settings of `dead-letters retry`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(WHICH))]
pub struct RetrySettings {
    /// These: TOPIC/PARTITION/OFFSET, as `list` shows them
    #[arg(value_name = "DEAD_LETTER", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// What they have in common.
    #[command(flatten)]
    pub selection: Selection,
    /// All open ones
    #[arg(long)]
    pub all: bool,
    /// Say what would become of each, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub postgres: PostgresSettings,
}

/// The settings of `dead-letters discard`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(WHICH))]
pub struct DiscardSettings {
    /// These: TOPIC/PARTITION/OFFSET, as `list` shows them
    #[arg(value_name = "DEAD_LETTER", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// What they have in common.
    #[command(flatten)]
    pub selection: Selection,
    /// All open ones
    #[arg(long)]
    pub all: bool,
    /// Why they are given up; it is kept, and shown
    #[arg(long, value_name = "TEXT", required = true, value_parser = text)]
    pub because: String,
    /// Say how many there are, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Which installation is meant, and where its state is.
    #[command(flatten)]
    pub place: Place,
}

/// Something to read.
fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.contains('\0') {
        return Err("expected some words".to_owned());
    }
    Ok(text.to_owned())
}

/// A moment: seconds since 1970, or where it was given as a duration, before now, as a negative number.
pub(crate) fn moment(text: &str) -> Result<f64, String> {
    if let Ok(ago) = units::duration(text) {
        return Ok(-ago.as_secs_f64());
    }
    let at = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "expected a time such as 2026-01-31T12:00:00Z, or so long ago: 2h")?;
    let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000);
    let millis = millis.map_err(|_| "expected a time that is not so far away")?;
    let seconds = std::time::Duration::from_millis(millis.unsigned_abs()).as_secs_f64();
    if millis < 0 {
        return Err("expected a time after 1970".to_owned());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        assert_eq!(moment("1970-01-01T00:01:00.5Z"), Ok(60.5));
        assert_eq!(moment("1970-01-01T02:00:00+02:00"), Ok(0.0));
        assert_eq!(moment("90s"), Ok(-90.0));
        assert_eq!(moment("2h"), Ok(-7_200.0));
        for wrong in ["", "yesterday", "2026-01-31", "1969-12-31T00:00:00Z"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
