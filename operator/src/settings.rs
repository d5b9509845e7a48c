//! What a person tells the tool: verbs, and flags with the daemons' environment variables.

use clap::{Args, Parser, Subcommand, ValueEnum};
use leafcutter_consumer::settings::Ddl;
use leafcutter_runtime::{kafka::KafkaSettings, secret::Secret};
use std::path::PathBuf;

/// Look after a move from MongoDB to PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "leafcutter", version, after_help = AFTER_HELP, max_term_width = 80)]
pub struct Cli {
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What is logged to stderr: error, warn, info, debug, trace
    #[arg(long, global = true, default_value = "error", value_name = "LEVEL")]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const AFTER_HELP: &str = "\
What happened, and which command:
  how far is it, may I cut over    leafcutter status
  records that cannot be applied   leafcutter dead-letters list
  ... and the cause is mended      leafcutter dead-letters retry
  the mapping changed              leafcutter replay
  what is in a topic               leafcutter peek
  is this mapping file sound       leafcutter check
  do the tables agree with it      leafcutter check --postgres

Exit codes:
  0  done                                4  a server is not as it has to be
  1  done, and there is something to     5  Kafka no longer has what is needed
     look at                             7  state does not fit the mapping
  2  usage                              70  a bug
  3  settings or mapping";

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// How far everything is, what waits and why, and whether to cut over
    #[command(after_help = STATUS_HELP)]
    Status(StatusSettings),
    /// Records that could not be applied
    #[command(subcommand)]
    DeadLetters(Box<DeadLettersVerb>),
    /// Apply topics again from their start, while the consumers run
    #[command(
        after_help = REPLAY_HELP,
        override_usage = "leafcutter replay [OPTIONS] <COLLECTION…|--all>"
    )]
    Replay(ReplaySettings),
    /// Show records of a topic
    #[command(after_help = PEEK_HELP)]
    Peek(PeekSettings),
    /// Check a mapping file, and whether the tables that exist agree with it
    #[command(after_help = CHECK_HELP)]
    Check(CheckSettings),
}

const STATUS_HELP: &str = "\
The bar of a collection: █ applied, ▒ in Kafka and not applied yet, · to come.
  applied   records taken from Kafka, each with exactly one outcome
  behind    records in Kafka that are not applied yet
  lag       how old, by the source's clock, the state is that is wholly applied

Examples:
  leafcutter status
  leafcutter status --watch
  leafcutter status --json | jq .ready

Exit codes: 0, also when not ready; 1 when a record has no outcome or two (the
accounting is broken: please report it); 4 when a server cannot be reached.";

const REPLAY_HELP: &str = "\
Sets the group's position in these topics back to the start. Running consumers
notice, start there, and apply what is newer or, under a changed mapping,
different. What is the same is not written again.

Examples:
  leafcutter replay learners --dry-run
  leafcutter replay learners quiz_attempts
  leafcutter replay --all --yes --no-wait

Exit codes: 0; 2 when nobody can confirm and --yes is missing; 4; 5 when Kafka
no longer has the first records of a topic.";

const PEEK_HELP: &str = "\
Without --offset, the newest records of all partitions. `control` and
`checkpoints` stand for Leafcutter's own topics.

Examples:
  leafcutter peek learners
  leafcutter peek learners --partition 3 --offset 1204 --limit 1 --documents
  leafcutter peek leafcutter.finlit.learners.dead-letter
  leafcutter peek control --json

Documents are shown only with --documents.";

const CHECK_HELP: &str = "\
Without --postgres no server is asked. With it, every disagreement between the
mapping and the tables is shown with the SQL that mends it. A fault stops the
consumers at their start, a warning does not. What they create by themselves
then is only counted; with --ddl check they create nothing, and it is shown.

Examples:
  leafcutter check --mapping mapping.yaml
  leafcutter check --mapping mapping.yaml --postgres --ddl check
  leafcutter check --mapping mapping.yaml --postgres --json

Exit codes: 0; 1 when there are warnings only; 3 when the mapping has faults,
all of which are shown; 4 when a table has one, or PostgreSQL cannot be asked.";

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersVerb {
    /// Which records could not be applied, and why
    #[command(after_help = "\
Examples:
  leafcutter dead-letters list
  leafcutter dead-letters list --collection learners --reason wrong-type
  leafcutter dead-letters list --state all --limit 0 --json")]
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
A letter is applied only where it is newer than what is there, so trying again
is always safe, and trying a second time changes nothing.

Examples:
  leafcutter dead-letters retry --all --dry-run
  leafcutter dead-letters retry --collection learners --reason wrong-type
  leafcutter dead-letters retry finlit.learners/3/1204

Exit codes: 0 when nothing failed; 1 when some failed again or are not in their
topic any more; 7 when the consumers run under another mapping.",
        override_usage = "leafcutter dead-letters retry [OPTIONS] <LETTER…|--all>"
    )]
    Retry(RetrySettings),
}

/// Where PostgreSQL is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Servers")]
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

/// Which installation is meant.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Installation")]
pub struct Installation {
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// The mapping file
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    pub mapping: Option<PathBuf>,
}

/// The settings of `status`.
#[derive(Debug, Args)]
pub struct StatusSettings {
    /// Show it again every so many seconds (2), until interrupted
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
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
    /// All of them
    All,
}

/// The settings of `dead-letters list`.
#[derive(Debug, Args)]
pub struct ListSettings {
    /// Only those of this collection
    #[arg(long, value_name = "COLLECTION")]
    pub collection: Option<String>,
    /// Only those refused for this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Only those in this state
    #[arg(long, value_enum, default_value_t = LetterState::Open)]
    pub state: LetterState,
    /// How many at most, the newest first; 0: all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: u32,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
}

/// The settings of `dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowSettings {
    /// Which one: TOPIC/PARTITION/OFFSET, as `list` shows it
    #[arg(value_name = "LETTER")]
    pub id: String,
    /// Show the document too, as relaxed Extended JSON
    #[arg(long)]
    pub document: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
}

/// The settings of `dead-letters retry`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["ids", "collection", "reason", "all"]))]
pub struct RetrySettings {
    /// These: TOPIC/PARTITION/OFFSET, as `list` shows them
    #[arg(value_name = "LETTER", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// Only those of this collection
    #[arg(long, value_name = "COLLECTION")]
    pub collection: Option<String>,
    /// Only those refused for this reason
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
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
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
}

/// The settings of `replay`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["collections", "all"]))]
pub struct ReplaySettings {
    /// These collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// All collections
    #[arg(long)]
    pub all: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do not wait until everything is applied again
    #[arg(long)]
    pub no_wait: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub postgres: PostgresSettings,
}

/// The settings of `peek`.
#[derive(Debug, Args)]
pub struct PeekSettings {
    /// A collection or a topic
    #[arg(value_name = "TOPIC|COLLECTION")]
    pub topic: String,
    /// Only this partition
    #[arg(long, value_name = "P")]
    pub partition: Option<i32>,
    /// From this offset on; without it, the newest records
    #[arg(long, value_name = "O", value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: Option<i64>,
    /// How many records at most
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub limit: usize,
    /// Show documents too, as relaxed Extended JSON
    #[arg(long)]
    pub documents: bool,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where Kafka is.
    #[command(flatten)]
    pub kafka: KafkaSettings,
}

/// The settings of `check`.
#[derive(Debug, Args)]
pub struct CheckSettings {
    /// The mapping file
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    pub mapping: PathBuf,
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// Look at the tables in PostgreSQL as well
    #[arg(long)]
    pub postgres: bool,
    /// Who creates what is missing, as the consumers are told
    #[arg(long, env = "LEAFCUTTER_DDL", value_enum, default_value_t = Ddl::Create)]
    pub ddl: Ddl,
    /// Where PostgreSQL is.
    #[command(flatten)]
    pub server: PostgresSettings,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_are_consistent_and_help_fits_a_terminal() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        command.build();
        let mut all: Vec<clap::Command> = vec![command];
        while let Some(mut command) = all.pop() {
            let help = command.render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            all.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn retry_and_replay_want_to_know_what() {
        let servers = ["--kafka-brokers", "k:1", "--postgres-uri", "postgres://h/d"];
        let parse = |words: &[&str]| {
            Cli::try_parse_from(["leafcutter"].iter().chain(words).chain(&servers))
        };
        assert!(parse(&["dead-letters", "retry"]).is_err());
        assert!(parse(&["dead-letters", "retry", "--all", "a/0/1"]).is_err());
        assert!(
            parse(&[
                "dead-letters",
                "retry",
                "--reason",
                "x",
                "--collection",
                "c"
            ])
            .is_ok()
        );
        assert!(parse(&["replay"]).is_err());
        assert!(parse(&["replay", "--all", "learners"]).is_err());
        assert!(parse(&["replay", "learners", "--dry-run"]).is_ok());
        assert!(parse(&["status", "--watch"]).is_ok());
        assert!(parse(&["status", "--watch", "0"]).is_err());
    }
}
