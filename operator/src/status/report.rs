//! The answer of `leafcutter status`, as `--json` prints it.

use crate::figures::count;
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::mapping::Change;
use leafcutter_sink::{change::Outcome, state::deferred_constraints::DeferredRow};
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When it was true.
    pub at: String,
    /// The consumer group.
    pub group: String,
    /// The mapping's hash, where a file was given.
    pub mapping: Option<String>,
    /// The mapping in force, and what differs in the file.
    pub in_force: Option<InForceLine>,
    /// Collections whose rows may be of older mappings.
    pub older_rows: Vec<OlderLine>,
    /// Indexes and foreign keys that are added when their tables are filled.
    pub deferred_constraints: Vec<DeferredRow>,
    /// Whether to cut over.
    pub ready: bool,
    /// Why not.
    pub not_ready_because: Vec<String>,
    /// The producers that ever sent a heartbeat.
    pub producers: Vec<ProducerLine>,
    /// The consumers seen lately.
    pub consumers: Vec<ConsumerLine>,
    /// The collections.
    pub collections: Vec<CollectionLine>,
    /// What a person has paused.
    pub paused: Vec<PausedLine>,
    /// Collections whose breaker is open: the consumers have stopped.
    pub stopped: Vec<StoppedLine>,
    /// Collections that are being read again, or whose read was broken off.
    pub read_again: Vec<ReadAgainLine>,
    /// Documents that wait, by what they wait for.
    pub waiting: Vec<WaitingLine>,
    /// Deleted rows that others still point to, by table.
    pub held: BTreeMap<String, i64>,
    /// Rows that went, or lost a reference, with a deleted parent, by table. If the parent comes back,
    /// only a replay brings them back too.
    pub cascaded: BTreeMap<String, i64>,
    /// Open dead letters, by reason.
    pub dead_letters: BTreeMap<String, i64>,
    /// How many fields of documents no column takes, by collection.
    pub unmapped_fields: BTreeMap<String, i64>,
    /// Whether every record has exactly one outcome.
    pub accounting: Accounting,
    /// Why Kafka could not be asked.
    #[serde(skip)]
    pub kafka: Option<Fault>,
}

/// One producer.
#[derive(Debug, Clone, Serialize)]
pub struct ProducerLine {
    /// Its name.
    pub name: String,
    /// Seconds since its last heartbeat, by this database's clock.
    pub heartbeat_age_seconds: i64,
    /// The source's time up to which everything is in Kafka; none before it can claim any.
    pub source_time: Option<String>,
    /// It polls its source: deletes are not seen.
    pub polled: bool,
}

/// One consumer.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerLine {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// Its mapping.
    pub mapping: String,
    /// The partitions it holds.
    pub partitions: i64,
    /// Where its health and metrics are served.
    pub admin: Option<String>,
    /// Seconds since it was seen.
    pub seen_seconds_ago: i64,
    /// Seen within the last 15 seconds.
    pub alive: bool,
    /// Why it does not get on, as its `/readyz` says.
    pub problem: Option<String>,
}

/// The mapping in force.
#[derive(Debug, Clone, Serialize)]
pub struct InForceLine {
    /// Its number in the group.
    pub generation: i64,
    /// Its hash.
    pub mapping: String,
    /// Since when.
    pub since: String,
    /// What differs from it in the file that was given; nothing where both mean the same.
    pub differs: Vec<Change>,
}

/// A collection whose rows may be of older mappings.
#[derive(Debug, Clone, Serialize)]
pub struct OlderLine {
    /// Its name.
    pub collection: String,
    /// The generation that changed it.
    pub generation: i64,
    /// What it changed.
    pub what: String,
    /// The command that writes its rows again.
    pub command: String,
    /// A replay of it is under way.
    pub running: bool,
}

/// A pause.
#[derive(Debug, Clone, Serialize)]
pub struct PausedLine {
    /// The collection; none for all.
    pub collection: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: String,
    /// Seconds since then.
    pub seconds_ago: i64,
}

/// A collection of which too many records in a row could not be applied.
#[derive(Debug, Clone, Serialize)]
pub struct StoppedLine {
    /// Its name.
    pub collection: String,
    /// How many.
    pub failures: i64,
    /// Why not the last one.
    pub reason: String,
    /// Seconds since then.
    pub seconds_ago: i64,
}

/// A collection that a person reads again.
#[derive(Debug, Clone, Serialize)]
pub struct ReadAgainLine {
    /// Its name.
    pub collection: String,
    /// Somebody is at it; otherwise it was broken off.
    pub running: bool,
    /// Seconds since it was begun.
    pub seconds_ago: i64,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// All its documents are in Kafka.
    Complete,
    /// It is being read.
    Running,
    /// None was taken: only changes are carried.
    None,
    /// No producer has said anything about it.
    Unknown,
}

/// One collection.
#[derive(Debug, Clone, Serialize)]
pub struct CollectionLine {
    /// Its name.
    pub collection: String,
    /// Its topic.
    pub topic: String,
    /// Its snapshot.
    pub snapshot: SnapshotState,
    /// Documents that the snapshot has read.
    pub snapshot_read: u64,
    /// The source's estimate of its documents.
    pub snapshot_estimated: u64,
    /// Splits acknowledged, and in all.
    pub snapshot_splits: (u32, u32),
    /// Records taken from Kafka.
    pub applied: i64,
    /// Records in Kafka, as the last heartbeat told.
    pub in_kafka: i64,
    /// Records in Kafka that are not applied.
    pub behind: i64,
    /// What the bar's whole is: records in Kafka, or more while the snapshot is being read.
    pub expected: i64,
    /// Records applied per second since the look before.
    pub rate: Option<i64>,
    /// Seconds until nothing is behind, at this rate.
    pub seconds_left: Option<i64>,
    /// The age, by the source's clock, of the state that is wholly applied.
    pub lag_seconds: Option<i64>,
    /// What its gate waits for; empty when it is open.
    pub gate_waits_for: Vec<ParentLine>,
}

/// A parent whose snapshot is not applied yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParentLine {
    /// Its name.
    pub collection: String,
    /// How much of its snapshot is applied.
    pub percent: i64,
    /// Documents of it that wait themselves, and are not given up.
    pub waiting: i64,
}

/// Documents of one collection that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingLine {
    /// Their collection.
    pub collection: String,
    /// `parent` or `unique`.
    pub waits_for: &'static str,
    /// The table whose row is missing, or which has the value already.
    pub table: String,
    /// Their parent is known to be missing; they are placed if it comes all the same.
    pub orphans: bool,
    /// How many.
    pub documents: i64,
}

/// Whether every record has exactly one outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Accounting {
    /// Records taken from Kafka.
    pub consumed: i64,
    /// What became of them.
    pub outcomes: BTreeMap<&'static str, i64>,
    /// The partitions where it does not add up.
    pub broken: Vec<Broken>,
}

/// A partition whose outcomes are not as many as its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Records taken.
    pub consumed: i64,
    /// Outcomes counted.
    pub accounted: i64,
}

/// The waits of a gate in words: `learners 62 %, items 100 % with 4,088 waiting`.
#[must_use]
pub fn gate_words(parents: &[ParentLine]) -> String {
    let each = parents.iter().map(|parent| {
        let applied = format!("{} {} %", parent.collection, parent.percent);
        if parent.percent < 100 {
            applied
        } else {
            format!("{applied} with {} waiting", count(parent.waiting))
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

/// How many records had each outcome, in words: those that any had.
#[must_use]
pub fn outcome_words(outcomes: &BTreeMap<&'static str, i64>) -> String {
    let words = Outcome::ALL.iter().filter_map(|outcome| {
        let number = outcomes
            .get(outcome.column())
            .filter(|&&number| number > 0)?;
        Some(format!("{} {}", count(*number), outcome.words()))
    });
    words.collect::<Vec<_>>().join(", ")
}
