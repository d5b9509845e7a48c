//! Flags and environment → checked settings.
//!
//! Two types: what clap parsed, and [`Settings`], which the program sees. Every limit has a
//! default with its reason; all faults are reported at once.

mod capture;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use leafcutter_runtime::admin::AdminSettings;
use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::kafka::KafkaSettings;
use leafcutter_runtime::report::{Failure, Fault, Faults};
use leafcutter_runtime::secret::{self, Secret};
use leafcutter_runtime::telemetry::LogSettings;
use leafcutter_schemas::mapping::parse::{self, MappingFault, MappingFaults};
use leafcutter_schemas::mapping::{Mapping, tier};
use leafcutter_schemas::name;
use mongodb::options::{ReadPreference, SelectionCriteria};

use crate::source::Collection;
use crate::source::dates::Dates;
use capture::{CaptureOptions, Choice};

pub use capture::{Capture, Polling};

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

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Snapshot and stream.
    Run,
    /// Snapshot alone.
    Snapshot,
    /// Stream alone.
    Stream,
}

/// What a dropped or renamed collection leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OnDrop {
    /// Stop with exit code 6 and say what happened
    #[default]
    Halt,
    /// Go past it; what is in PostgreSQL stays
    Ignore,
}

/// Where the snapshot reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Reads {
    /// The primary
    #[default]
    Primary,
    /// The primary, or a secondary when there is none
    PrimaryPreferred,
    /// A secondary
    Secondary,
    /// A secondary, or the primary when there is none
    SecondaryPreferred,
    /// Whichever member is nearest
    Nearest,
}

impl Reads {
    fn criteria(self) -> SelectionCriteria {
        SelectionCriteria::ReadPreference(match self {
            Self::Primary => ReadPreference::Primary,
            Self::PrimaryPreferred => ReadPreference::PrimaryPreferred { options: None },
            Self::Secondary => ReadPreference::Secondary { options: None },
            Self::SecondaryPreferred => ReadPreference::SecondaryPreferred { options: None },
            Self::Nearest => ReadPreference::Nearest { options: None },
        })
    }
}

/// The flags of every verb.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    capture: CaptureOptions,
    #[command(flatten)]
    kafka: KafkaSettings,
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    limits: LimitOptions,
    #[command(flatten)]
    admin: AdminSettings,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Debug, Args)]
struct SourceOptions {
    /// MongoDB connection string; it holds a password, so prefer the environment or the file
    #[arg(
        long,
        env = "LEAFCUTTER_MONGODB_URI",
        value_name = "URI",
        hide_env_values = true
    )]
    mongodb_uri: Option<Secret>,
    /// A file that holds the connection string
    #[arg(long, env = "LEAFCUTTER_MONGODB_URI_FILE", value_name = "FILE")]
    mongodb_uri_file: Option<PathBuf>,
    /// The mapping; its collections are the ones exported
    #[arg(long, env = "LEAFCUTTER_MAPPING", value_name = "FILE")]
    mapping: PathBuf,
    /// The database; may be left out when the mapping names only one
    #[arg(long, env = "LEAFCUTTER_DATABASE", value_name = "NAME")]
    database: Option<String>,
    /// Where the snapshot and polls read; the stream and look-ups follow the connection string
    #[arg(
        long,
        env = "LEAFCUTTER_READ_PREFERENCE",
        default_value = "primary",
        value_name = "WHERE"
    )]
    read_preference: Reads,
    /// The limit of the snapshot, and of polls, in documents per second; none by default
    #[arg(long, env = "LEAFCUTTER_MAX_DOCS_PER_SECOND", value_name = "COUNT")]
    max_docs_per_second: Option<u32>,
    /// Splits read at once by the snapshot
    #[arg(long, env = "LEAFCUTTER_SNAPSHOT_THREADS", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u16).range(1..=64))]
    snapshot_threads: u16,
    /// Bytes of documents in one split: what is read again after a failure
    #[arg(long, env = "LEAFCUTTER_SPLIT_BYTES", default_value = "32MiB", value_name = "BYTES",
          value_parser = parse_bytes)]
    split_bytes: u64,
    /// Documents of updates asked for in one look-up, and events in one reply, at most
    #[arg(long, env = "LEAFCUTTER_LOOKUP_BATCH", default_value_t = 2000, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=50_000))]
    lookup_batch: u32,
    /// When a mapped collection is dropped or renamed, or the database is dropped
    #[arg(
        long,
        env = "LEAFCUTTER_ON_DROP",
        default_value = "halt",
        value_name = "POLICY"
    )]
    on_drop: OnDrop,
}

#[derive(Debug, Args)]
struct TopicOptions {
    /// The first part of every topic's name
    #[arg(
        long,
        env = "LEAFCUTTER_PREFIX",
        default_value = "leafcutter",
        value_name = "TEXT"
    )]
    prefix: String,
    /// This producer's name, the key of its checkpoints; by default <PREFIX>.<DATABASE>, with .poll
    /// behind it for one that polls
    #[arg(long, env = "LEAFCUTTER_NAME", value_name = "TEXT")]
    name: Option<String>,
    /// Partitions of each data topic; cannot be changed later
    #[arg(long, env = "LEAFCUTTER_PARTITIONS", default_value_t = 8, value_name = "COUNT",
          value_parser = clap::value_parser!(i32).range(1..=1000))]
    partitions: i32,
    /// How long data topics keep records; longer than any outage you want to survive
    #[arg(long, env = "LEAFCUTTER_RETENTION", default_value = "7d", value_name = "TIME",
          value_parser = parse_duration)]
    retention: Duration,
}

#[derive(Debug, Args)]
struct LimitOptions {
    /// Bytes of documents in hand at most, from the read to Kafka's acknowledgement
    #[arg(long, env = "LEAFCUTTER_MEMORY_BUDGET", default_value = "48MiB", value_name = "BYTES",
          value_parser = parse_bytes)]
    memory_budget: u64,
    /// How often the position is stored; at most 10s
    #[arg(long, env = "LEAFCUTTER_CHECKPOINT_INTERVAL", default_value = "2s", value_name = "TIME",
          value_parser = parse_duration)]
    checkpoint_interval: Duration,
    /// How often consumers are told how far the source is
    #[arg(long, env = "LEAFCUTTER_HEARTBEAT_INTERVAL", default_value = "1s", value_name = "TIME",
          value_parser = parse_duration)]
    heartbeat_interval: Duration,
    /// How long a stop may take before the program leaves
    #[arg(long, env = "LEAFCUTTER_DRAIN", default_value = "20s", value_name = "TIME",
          value_parser = parse_duration)]
    drain: Duration,
}

/// What the program runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is read.
    pub verb: Verb,
    /// How changes are found.
    pub capture: Capture,
    /// The source.
    pub mongodb_uri: Secret,
    /// The broker.
    pub kafka: KafkaSettings,
    /// The database.
    pub database: String,
    /// Its mapped collections, parents first.
    pub collections: Arc<Vec<Collection>>,
    /// The mapping's hash, for dead letters.
    pub mapping_hash: String,
    /// The first part of topic names.
    pub prefix: String,
    /// The key of checkpoints and control records.
    pub name: String,
    /// Partitions of a data topic.
    pub partitions: i32,
    /// How long data topics keep records.
    pub retention: Duration,
    /// Splits read at once.
    pub snapshot_threads: usize,
    /// Bytes of a split.
    pub split_bytes: u64,
    /// Where the snapshot reads.
    pub reads: SelectionCriteria,
    /// Documents per second at most.
    pub max_docs_per_second: Option<u32>,
    /// Documents of one look-up at most.
    pub lookup_batch: u32,
    /// What a dropped collection leads to.
    pub on_drop: OnDrop,
    /// Bytes in hand at most.
    pub memory_budget: usize,
    /// How often the position is stored.
    pub checkpoint_interval: Duration,
    /// How often heartbeats go out.
    pub heartbeat_interval: Duration,
    /// How long draining may take.
    pub drain: Duration,
    /// Health and metrics.
    pub admin: AdminSettings,
    /// The log.
    pub log: LogSettings,
}

impl Settings {
    /// Checks what was parsed.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn check(cli: Cli) -> Result<Self, Failure> {
        let (verb, options) = match cli.command {
            Command::Run(options) => (Verb::Run, *options),
            Command::Snapshot(options) => (Verb::Snapshot, *options),
            Command::Stream(options) => (Verb::Stream, *options),
        };
        let Options {
            source,
            capture,
            kafka,
            topics,
            limits,
            admin,
            log,
        } = options;
        let mut faults = Faults(kafka.faults());
        let uri = uri(source.mongodb_uri, source.mongodb_uri_file);
        let uri = faults.keep(uri);
        let choice = capture.check(&mut faults);
        let mapping = load_mapping(&source.mapping, &mut faults);
        let chosen = mapping.as_ref().and_then(|mapping| {
            let database = faults.keep(database(mapping, source.database))?;
            let file = source.mapping.display().to_string();
            choice.check(mapping, &file, &database, &mut faults);
            let place = (topics.prefix.as_str(), database.as_str());
            let collections = collections(mapping, place, &choice, &mut faults)?;
            Some((database, collections))
        });
        check_limits(&limits, &mut faults);
        let (Some(uri), Some(mapping), Some((database, collections))) = (uri, mapping, chosen)
        else {
            return Err(Failure {
                exit: Exit::Settings,
                faults,
            });
        };
        faults.into_result(Exit::Settings)?;
        Ok(Self {
            verb,
            capture: choice.capture,
            mongodb_uri: uri,
            kafka,
            name: topics
                .name
                .unwrap_or_else(|| choice.producer_name(&topics.prefix, &database)),
            database,
            collections: Arc::new(collections),
            mapping_hash: mapping.hash,
            prefix: topics.prefix,
            partitions: topics.partitions,
            retention: topics.retention,
            snapshot_threads: usize::from(source.snapshot_threads),
            split_bytes: source.split_bytes,
            reads: source.read_preference.criteria(),
            max_docs_per_second: source.max_docs_per_second,
            lookup_batch: source.lookup_batch,
            on_drop: source.on_drop,
            memory_budget: usize::try_from(limits.memory_budget).unwrap_or(usize::MAX),
            checkpoint_interval: limits.checkpoint_interval,
            heartbeat_interval: limits.heartbeat_interval,
            drain: limits.drain,
            admin,
            log,
        })
    }
}

fn uri(value: Option<Secret>, file: Option<PathBuf>) -> Result<Secret, Fault> {
    secret::resolve(value, file, "the MongoDB connection string").map_err(|why| {
        Fault::new(
            "could not find the source",
            "`--mongodb-uri` or `LEAFCUTTER_MONGODB_URI`, or either with `_FILE`",
            why,
            "Give a connection string such as mongodb://user:password@host/?replicaSet=rs0.",
        )
    })
}

fn database(mapping: &Mapping, wanted: Option<String>) -> Result<String, Fault> {
    let known = mapping.databases();
    match (wanted, known.as_slice()) {
        (Some(wanted), known) if known.contains(&wanted.as_str()) => Ok(wanted),
        (Some(wanted), known) => Err(Fault::new(
            "could not find the database in the mapping",
            format!("`--database {wanted}`"),
            format!("the mapping names {}", list(known)),
            "Choose one of these, or add its collections to the mapping.",
        )),
        (None, [only]) => Ok((*only).to_owned()),
        (None, known) => Err(Fault::new(
            "could not choose a database",
            "`--database`",
            format!("the mapping names {}", list(known)),
            "One producer exports one database: start one for each, with `--database`.",
        )),
    }
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() {
        "none".to_owned()
    } else {
        quoted.join(", ")
    }
}

/// The chosen collections of the database with their topics, parents first. Names are checked over the
/// whole mapping, since all producers share the topics.
fn collections(
    mapping: &Mapping,
    (prefix, database): (&str, &str),
    choice: &Choice,
    faults: &mut Faults,
) -> Option<Vec<Collection>> {
    let all = || mapping.collections.iter();
    let names = all().map(|c| (c.database.as_str(), c.name.as_str()));
    match name::data_topics(prefix, names) {
        Err(errors) => {
            for error in errors {
                faults.push(Fault::new(
                    "could not name a topic",
                    "`--prefix` and the mapping",
                    error.to_string(),
                    "Choose a shorter prefix, or map the collection from a view of another name.",
                ));
            }
            None
        }
        Ok(topics) => {
            let tiers = tier::tiers(mapping);
            let mut mine: Vec<Collection> = all()
                .zip(topics)
                .enumerate()
                .filter(|(_, (collection, _))| collection.database == database)
                .filter(|(_, (collection, _))| choice.takes(&collection.name))
                .map(|(index, (collection, topic))| Collection {
                    name: collection.name.clone(),
                    topic,
                    tier: tiers.tiers().get(index).copied().unwrap_or_default(),
                    dates: Dates(collection.poll_by.clone()),
                })
                .collect();
            mine.sort_by_key(|collection| collection.tier);
            Some(mine)
        }
    }
}

fn check_limits(limits: &LimitOptions, faults: &mut Faults) {
    const BUDGET_MIN: u64 = 8 << 20;
    if limits.memory_budget < BUDGET_MIN {
        faults.push(Fault::new(
            "refused a memory budget",
            "`--memory-budget`",
            "less than 8 MiB leaves no room for a reply and its records",
            "Give at least 8MiB; 48MiB is the default.",
        ));
    }
    let checkpoint = limits.checkpoint_interval;
    if checkpoint.is_zero() || checkpoint > Duration::from_secs(10) {
        faults.push(Fault::new(
            "refused a checkpoint interval",
            "`--checkpoint-interval`",
            "it has to be above 0 and at most 10 s: an old position costs the source a long scan",
            "Give a time between 100ms and 10s.",
        ));
    }
    if limits.heartbeat_interval < Duration::from_millis(50) {
        faults.push(Fault::new(
            "refused a heartbeat interval",
            "`--heartbeat-interval`",
            "each heartbeat asks the broker for every partition's end",
            "Give at least 50ms; 1s is the default.",
        ));
    }
}

/// `32MiB`, `1GB`, `4096`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("expected a number with KiB, MiB, GiB, kB, MB or GB".to_owned()),
    };
    number
        .checked_mul(factor)
        .ok_or_else(|| "too large".to_owned())
}

/// `500ms`, `2s`, `5m`, `12h`, `7d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("expected a number with ms, s, m, h or d".to_owned()),
    };
    let millis = number
        .checked_mul(millis)
        .ok_or_else(|| "too large".to_owned())?;
    Ok(Duration::from_millis(millis))
}

fn split_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number
        .parse()
        .map_err(|_| "expected a whole number and a unit".to_owned())?;
    Ok((number, unit.trim_start()))
}

fn load_mapping(file: &std::path::Path, faults: &mut Faults) -> Option<Mapping> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            faults.push(Fault::new(
                "could not read the mapping",
                format!("`{}`", file.display()),
                error.to_string(),
                "Check the path in `--mapping` or `LEAFCUTTER_MAPPING`.",
            ));
            return None;
        }
    };
    match parse::load(&text, &file.display().to_string()) {
        Ok(mapping) => Some(mapping),
        Err(MappingFaults(found)) => {
            for fault in found {
                faults.push(mapping_fault(fault));
            }
            None
        }
    }
}

fn mapping_fault(fault: MappingFault) -> Fault {
    let next = match &fault.suggestion {
        Some(word) => format!("Did you mean `{word}`?"),
        None => "`leafcutter check` looks at the mapping and changes nothing.".to_owned(),
    };
    let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
    let why = if fault.place.is_empty() {
        fault.message
    } else {
        format!("{}: {}", fault.place, fault.message)
    };
    Fault::new("could not accept the mapping", place, why, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_need_no_calculator() {
        assert_eq!(parse_bytes("32MiB"), Ok(32 << 20));
        assert_eq!(parse_bytes("1 GB"), Ok(1_000_000_000));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        assert!(parse_bytes("many").is_err());
        assert!(parse_bytes("1XB").is_err());
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_duration("5").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
