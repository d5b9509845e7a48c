//! Which installation a verb is about, and where its Kafka is, for verbs that can do without.

use clap::{ArgMatches, Args, Command, FromArgMatches};
use leafcutter_runtime::kafka::KafkaSettings;
use std::path::PathBuf;

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

/// Where Kafka is, for a verb that can do without.
#[derive(Debug, Clone, Default)]
pub struct KafkaIfAny(pub Option<KafkaSettings>);

impl Args for KafkaIfAny {
    fn augment_args(command: Command) -> Command {
        // What may be updated may be left out.
        KafkaSettings::augment_args_for_update(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        KafkaSettings::augment_args_for_update(command)
    }
}

impl FromArgMatches for KafkaIfAny {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        if matches.contains_id("kafka_brokers") {
            KafkaSettings::from_arg_matches(matches).map(|settings| Self(Some(settings)))
        } else {
            Ok(Self(None))
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
