//! The command line, as clap parses it.

use super::{capture::CaptureOptions, limits::LimitOptions, source::SourceOptions};
use clap::{Args, Parser, Subcommand};
use leafcutter_runtime::{
    admin::AdminSettings, kafka::KafkaSettings, telemetry::LogSettings, units,
};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  Carry one database, its documents and then its changes, until stopped:
    leafcutter-producer run --mongodb-uri mongodb://localhost/?replicaSet=rs0 \\
      --kafka-brokers localhost:9092 --mapping mapping.yaml

  Only what is there now; ends when Kafka has it:
    leafcutter-producer snapshot …

  Gently, from a secondary of a busy cluster:
    leafcutter-producer run … --read-preference secondary --max-docs-per-second 5000

  A standalone server, by the dates that the mapping names; deletes are not seen:
    leafcutter-producer run --capture poll --mongodb-uri mongodb://localhost/ …

  The same, once from a date on, for documents changed without their dates:
    leafcutter-producer run --capture poll --poll-since 2024-01-01 …

  A replica set with a time series, which two producers share:
    leafcutter-producer run … --except metrics &
    leafcutter-producer run … --capture poll --only metrics

Every flag can be an environment variable instead (compose file, Kubernetes).
Exit codes: 0 done or drained, 2 usage, 3 settings, 4 preflight, 5 history lost,
6 stopped by policy, 7 state does not fit, 8 drain deadline passed, 70 bug.";

/// Exports a MongoDB database, its documents and its changes, to Kafka.
#[derive(Debug, Parser)]
#[command(name = "leafcutter-producer", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// How to log: set up before anything is checked, so that a log file has what is wrong with the rest.
    pub fn log(&self) -> &LogSettings {
        match &self.command {
            Command::Run(options) | Command::Snapshot(options) | Command::Stream(options) => {
                &options.log
            }
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Snapshot and changes at once; goes on until stopped
    #[command(after_help = EXAMPLES)]
    Run(Box<Options>),
    /// Only the snapshot; ends when every document is acknowledged by Kafka
    #[command(after_help = EXAMPLES)]
    Snapshot(Box<Options>),
    /// Only changes, without a snapshot; goes on until stopped
    #[command(after_help = EXAMPLES)]
    Stream(Box<Options>),
}

/// The flags of every verb.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub(super) source: SourceOptions,
    #[command(flatten)]
    pub(super) capture: CaptureOptions,
    #[command(flatten)]
    pub(super) kafka: KafkaSettings,
    #[command(flatten)]
    pub(super) topics: TopicOptions,
    #[command(flatten)]
    pub(super) limits: LimitOptions,
    #[command(flatten)]
    pub(super) admin: AdminSettings,
    #[command(flatten)]
    pub(super) log: LogSettings,
}

/// Names and shapes of topics.
#[derive(Debug, Args)]
pub(super) struct TopicOptions {
    /// The first part of every topic's name
    #[arg(
        long,
        env = "LEAFCUTTER_PREFIX",
        default_value = "leafcutter",
        value_name = "TEXT"
    )]
    pub(super) prefix: String,
    /// This producer's name, the key of its checkpoints; by default <PREFIX>.<DATABASE>, with .poll
    /// behind it for one that polls
    #[arg(long, env = "LEAFCUTTER_NAME", value_name = "TEXT")]
    pub(super) name: Option<String>,
    /// Partitions of each data topic; cannot be changed later
    #[arg(long, env = "LEAFCUTTER_PARTITIONS", default_value_t = 8, value_name = "COUNT",
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub(super) partitions: i32,
    /// How long data topics keep records; longer than any outage you want to survive
    #[arg(long, env = "LEAFCUTTER_RETENTION", default_value = "7d", value_name = "TIME",
          value_parser = units::duration)]
    pub(super) retention: Duration,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
