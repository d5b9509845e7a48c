//! What a person tells the tool: verbs, and flags with the daemons' environment variables.

pub use crate::installation::Installation;
use crate::{
    dead_letters::settings::DeadLettersVerb,
    draft::settings::{DraftSettings, HELP as DRAFT_HELP},
    drift::DriftSettings,
    dry_run::DryRunSettings,
    list::ListSettings,
    pause::PauseSettings,
    plan::PlanSettings,
    replay::settings::ReplaySettings,
    resnapshot::ResnapshotSettings,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use leafcutter_consumer::settings::{Ddl, MappingSettings, PostgresSettings};
use leafcutter_runtime::{kafka::KafkaSettings, units};
use std::{path::PathBuf, time::Duration};

/// Look after a move from MongoDB to PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "leafcutter", version, after_help = AFTER_HELP, max_term_width = 80)]
pub struct Cli {
    /// Answer in JSON
    #[arg(long, global = true, display_order = 900)]
    pub json: bool,
    /// Say nothing but the answer: no progress
    #[arg(long, short, global = true, display_order = 900)]
    pub quiet: bool,
    /// What is logged to stderr: error, warn, info, debug, trace
    #[arg(
        long,
        global = true,
        default_value = "error",
        value_name = "LEVEL",
        display_order = 900
    )]
    pub log: String,
    /// Keep a log in this file: what was run, its steps, how it ended
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    pub log_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const AFTER_HELP: &str = "\
What happened, and which command:
  how far is it, may I cut over    leafcutter status
  records that cannot be applied   leafcutter dead-letters list
  ... and the cause is mended      leafcutter dead-letters retry
  ... and nothing will mend it     leafcutter dead-letters discard
  the mapping changes              leafcutter plan --postgres, then plan --apply
  ... and tables are made anew     leafcutter replay --into SCHEMA --swap
  rows differ, history is lost     leafcutter resnapshot
  nothing is to be written now     leafcutter pause, later leafcutter resume
  the consumers stopped (exit 6)   leafcutter resume, once the cause is mended
  did everything arrive            leafcutter verify
  may I cut over, and after it     leafcutter finish, days later finish --drop
  not after all, or start over     leafcutter rollback
  what is in a topic               leafcutter peek
  there is no mapping yet          leafcutter draft
  which tables, how many rows      leafcutter list
  which fields does nothing take   leafcutter drift
  is this mapping file sound       leafcutter check
  do the tables agree with it      leafcutter check --postgres
  which tables does it need        leafcutter plan
  what would become of the data    leafcutter dry-run

Exit codes:
  0  done                                5  Kafka no longer has what is needed
  1  done, and there is something to     6  refused: not ready, or more rows
     look at                                would be deleted than may
  2  usage                               7  state does not fit the mapping
  3  settings or mapping                70  a bug
  4  a server is not as it has to be";

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// How far everything is, what waits and why, and whether to cut over
    #[command(after_help = STATUS_HELP)]
    Status(StatusSettings),
    /// Records that could not be applied
    #[command(subcommand)]
    DeadLetters(Box<DeadLettersVerb>),
    /// Compare every document with its rows, while both sides are written to
    #[command(after_help = crate::verify::settings::HELP)]
    Verify(Box<crate::verify::settings::VerifySettings>),
    /// End the migration: wait, compare, ready the tables; days later, --drop
    #[command(after_help = crate::finish::settings::HELP)]
    Finish(Box<crate::finish::FinishSettings>),
    /// Before the application has moved: take back what was written
    #[command(after_help = crate::rollback::settings::HELP)]
    Rollback(Box<crate::rollback::RollbackSettings>),
    /// Apply topics again while the consumers run, in place or to new tables
    #[command(
        after_help = crate::replay::settings::HELP,
        override_usage = "leafcutter replay [OPTIONS] <COLLECTION…|--all|--into SCHEMA>"
    )]
    Replay(Box<ReplaySettings>),
    /// Read collections of MongoDB again, and delete what it no longer has
    #[command(
        after_help = crate::resnapshot::settings::HELP,
        override_usage = "leafcutter resnapshot [OPTIONS] <COLLECTION…>"
    )]
    Resnapshot(Box<ResnapshotSettings>),
    /// Keep the consumers from applying anything, of all collections or of some
    #[command(
        after_help = crate::pause::HELP,
        override_usage = "leafcutter pause --reason <TEXT> <COLLECTION…|--all>"
    )]
    Pause(PauseSettings),
    /// Let the consumers go on, after a pause or too many records that failed
    #[command(after_help = RESUME_HELP)]
    Resume(ResumeSettings),
    /// Which collection becomes which tables, and how many there are on both sides
    #[command(after_help = crate::list::HELP)]
    List(Box<ListSettings>),
    /// Fields of documents that no column takes
    #[command(after_help = crate::drift::HELP)]
    Drift(Box<DriftSettings>),
    /// Show records of a topic
    #[command(after_help = PEEK_HELP)]
    Peek(PeekSettings),
    /// Look at a MongoDB database, and write a mapping for it that runs as it is
    #[command(after_help = DRAFT_HELP)]
    Draft(Box<DraftSettings>),
    /// Check a mapping file, and whether the tables that exist agree with it
    #[command(after_help = CHECK_HELP)]
    Check(CheckSettings),
    /// Try the mapping on the real documents, and write nothing
    #[command(after_help = crate::dry_run::settings::HELP)]
    DryRun(Box<DryRunSettings>),
    /// Print the SQL that the mapping needs, or that a database lacks; change a mapping
    #[command(after_help = crate::plan::settings::HELP)]
    Plan(Box<PlanSettings>),
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

const RESUME_HELP: &str = "\
Consumers stop with exit code 6 when too many records of a collection in a row
cannot be applied (--breaker), and stop again at every start: a fault of the
mapping or of a table must not drain a topic into the dead letters. Once it is
mended, this lets them go on where they were. Start them afterwards.
It ends what `leafcutter pause` began, too; those consumers go on by themselves.

Examples:
  leafcutter resume
  leafcutter resume learners

Exit codes: 0, also when nothing had stopped; 4.";

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
Where another mapping is in force, that is said, too: leafcutter plan.

--grants prints, from the mapping, --prefix, --group and --ddl, what producer,
consumers and this tool may do at least on the three servers.

Examples:
  leafcutter check --mapping mapping.yaml
  leafcutter check --mapping mapping.yaml --postgres --ddl check
  leafcutter check --mapping mapping.yaml --postgres --json
  leafcutter check --mapping mapping.yaml --grants --for postgres | psql

Exit codes: 0; 1 when there are warnings only; 3 when the mapping has faults,
all of which are shown; 4 when a table has one, or PostgreSQL cannot be asked.";

/// The settings of `status`.
#[derive(Debug, Args)]
pub struct StatusSettings {
    /// Show it again at this pace (2s), until interrupted
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s",
        value_parser = pause)]
    pub watch: Option<Duration>,
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

/// The settings of `resume`.
#[derive(Debug, Args)]
pub struct ResumeSettings {
    /// Only these collections
    #[arg(value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Which installation is meant.
    #[command(flatten)]
    pub installation: Installation,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
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
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaSettings,
}

/// A server that grants rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GrantingServer {
    /// Roles and users of MongoDB, for mongosh
    Mongodb,
    /// ACLs of Kafka, for a shell with kafka-acls
    Kafka,
    /// Roles and grants of PostgreSQL, for psql
    Postgres,
}

/// The settings of `check`.
#[derive(Debug, Args)]
pub struct CheckSettings {
    /// Which mapping is meant.
    #[command(flatten)]
    pub mapping: MappingSettings,
    /// Look at the tables in PostgreSQL as well
    #[arg(long)]
    pub postgres: bool,
    /// Print the least rights that the programs need on the servers, as scripts
    #[arg(long, conflicts_with = "postgres")]
    pub grants: bool,
    /// Of this server only
    #[arg(long = "for", value_enum, value_name = "SERVER", requires = "grants")]
    pub server_of_grants: Option<GrantingServer>,
    /// The consumer group: with --postgres, that whose mapping in force is looked at; with --grants, the one that
    /// Kafka's rights name
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
    /// Who creates what is missing, as the consumers are told
    #[arg(long, env = "LEAFCUTTER_DDL", value_enum, default_value_t = Ddl::Create)]
    pub ddl: Ddl,
    /// Where PostgreSQL is.
    #[command(flatten, next_help_heading = "Servers")]
    pub server: PostgresSettings,
}

/// Each look asks PostgreSQL and Kafka.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = units::duration(text)?;
    if pause < Duration::from_secs(1) {
        return Err("expected at least 1s".to_owned());
    }
    Ok(pause)
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
        assert!(parse(&["status", "--watch", "5m"]).is_ok());
        assert!(parse(&["status", "--watch", "0s"]).is_err());
    }
}
