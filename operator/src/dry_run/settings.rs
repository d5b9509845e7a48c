//! What a person tells `dry-run`.

use crate::{installation::KafkaIfAny, verify::settings::MongodbSettings};
use clap::Args;
use leafcutter_consumer::settings::MappingSettings;

/// What stands below the help.
pub(crate) const HELP: &str = "\
The consumers' own transform on the documents of MongoDB, or on the records of
their topics. Nothing is written anywhere. It says how many rows each table
would have, which documents are rejected and why, which references have no
parent, what values lose, and which fields no column takes.

References are looked at where the collection that they point to is read whole,
and unique values among what is read. The keys for that are held in memory, 9
to 18 bytes each; where there are more than --keys-max, the largest set of them
is given up, and it is said.

Examples:
  leafcutter dry-run --mapping mapping.yaml
  leafcutter dry-run --collection learners --collection interactions
  leafcutter dry-run --sample 10000
  leafcutter dry-run --limit 100000 --json | jq .collections[].rejections
  leafcutter dry-run --from-topic

Exit codes: 0; 1 when documents are rejected or would wait for ever; 2; 3 when
the mapping has faults; 4 when a server cannot be asked.";

/// The settings of `dry-run`.
#[derive(Debug, Args)]
pub struct DryRunSettings {
    /// Only these collections; may be given several times
    #[arg(long = "collection", value_name = "COLLECTION")]
    pub collections: Vec<String>,
    /// Only the first documents, or records, of each collection
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only so many documents of each collection, chosen at random
    #[arg(long, value_name = "N", conflicts_with_all = ["limit", "from_topic"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Read the topics that a producer has filled; MongoDB is not asked
    #[arg(long)]
    pub from_topic: bool,
    /// Keys held at most, to look for parents and for values that are taken
    #[arg(long, default_value_t = 4_000_000, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub keys_max: u32,
    /// Which mapping is meant.
    #[command(flatten)]
    pub mapping: MappingSettings,
    /// Where MongoDB is.
    #[command(flatten, next_help_heading = "Servers")]
    pub mongodb: MongodbSettings,
    /// Where Kafka is; asked with `--from-topic` only.
    #[command(flatten, next_help_heading = "Servers")]
    pub kafka: KafkaIfAny,
}
