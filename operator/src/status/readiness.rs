//! Whether to cut over, and why not.

use super::report::{CollectionLine, ConsumerLine, Report, SnapshotState};
use crate::figures::{counted, percent, span};
use leafcutter_consumer::mapping::difference;
use leafcutter_sink::change::Outcome;

/// A producer that was silent for longer is gone; each sends a heartbeat every second.
pub const HEARTBEAT_AGE_MAX: i64 = 10;
/// Behind by more seconds than this, cutting over would mean waiting.
const LAG_MAX: i64 = 10;

/// What a reason is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Whether the programs run, and what only they can tell: it says nothing of what is stored.
    Programs,
    /// What a consumer has said of itself a moment ago: it may be over, and the next word says so.
    Said,
    /// Something on its way: it passes by itself.
    Passing,
    /// What is stored: it stays until somebody mends it.
    Stored,
}

/// Why not to cut over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// In a sentence, with the command that mends it.
    pub words: String,
    /// What it is about.
    pub about: About,
}

impl Reason {
    /// Of what is stored.
    #[must_use]
    pub fn stored(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            about: About::Stored,
        }
    }

    fn passing(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            about: About::Passing,
        }
    }

    fn said(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            about: About::Said,
        }
    }

    fn programs(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            about: About::Programs,
        }
    }
}

/// Why not to cut over now, the most fundamental first.
pub(super) fn reasons(report: &Report) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(fault) = &report.kafka {
        let why = &fault.why;
        reasons.push(Reason::programs(format!("Kafka cannot be asked: {why}")));
    } else if report.producers.is_empty() {
        let why = "no producer has sent a heartbeat yet: leafcutter-producer run";
        reasons.push(Reason::programs(why));
    }
    for producer in &report.producers {
        if producer.heartbeat_age_seconds > HEARTBEAT_AGE_MAX {
            let (name, age) = (&producer.name, span(producer.heartbeat_age_seconds));
            reasons.push(Reason::programs(format!(
                "producer {name} was last heard of {age} ago: leafcutter-producer run"
            )));
        } else if producer.source_time.is_none() {
            reasons.push(Reason::passing(format!(
                "producer {} cannot tell yet how far it is",
                producer.name
            )));
        }
    }
    for paused in &report.paused {
        let (name, be) = match &paused.collection {
            Some(name) => (name.as_str(), "is"),
            None => ("all collections", "are"),
        };
        let (since, why) = (&paused.since, &paused.reason);
        reasons.push(Reason::stored(format!(
            "{name} {be} paused by a person since {since}: {why}; to go on: leafcutter resume"
        )));
    }
    for stopped in &report.stopped {
        reasons.push(Reason::stored(format!(
            "{} stopped {} ago, since {} in a row could not be applied; the last one: {}; once it is \
             mended: leafcutter resume {}",
            stopped.collection,
            span(stopped.seconds_ago),
            counted(stopped.failures, "record"),
            stopped.reason,
            stopped.collection
        )));
    }
    for again in &report.read_again {
        let (name, age) = (&again.collection, span(again.seconds_ago));
        reasons.push(Reason::stored(if again.running {
            format!("{name} is being read again, since {age}")
        } else {
            format!(
                "{name} was read again {age} ago, and not to the end: leafcutter resnapshot {name}"
            )
        }));
    }
    mapping_not_ready(report, &mut reasons);
    consumers_not_ready(report, &mut reasons);
    if report.collections.is_empty() {
        reasons.push(Reason::stored("no collection is known yet"));
    }
    reasons.extend(report.collections.iter().filter_map(collection_not_ready));
    waiting(report, &mut reasons);
    constraints(report, &mut reasons);
    let letters: i64 = report.dead_letters.values().sum();
    if letters > 0 {
        reasons.push(Reason::stored(format!(
            "{} open: leafcutter dead-letters list",
            counted(letters, "dead letter")
        )));
    }
    let suppressed = Outcome::Suppressed.column();
    let suppressed = report.accounting.outcomes.get(suppressed);
    if let Some(&records) = suppressed.filter(|&&n| n > 0) {
        reasons.push(Reason::stored(format!(
            "{} suppressed by the target: a trigger, a rule or a policy keeps rows from being written or deleted; mend it, then leafcutter replay",
            counted(records, "record")
        )));
    }
    if !report.accounting.broken.is_empty() {
        reasons.push(Reason::stored("the accounting does not add up"));
    }
    reasons
}

/// The file is another one than the mapping in force; rows are of older ones.
fn mapping_not_ready(report: &Report, reasons: &mut Vec<Reason>) {
    if let Some(row) = report
        .in_force
        .as_ref()
        .filter(|row| !row.differs.is_empty())
    {
        reasons.push(Reason::stored(format!(
            "the file is not the mapping in force, generation {} of {}; it differs in {}: \
             leafcutter plan --postgres",
            row.generation,
            row.since,
            difference(&row.differs)
        )));
    }
    for older in &report.older_rows {
        let (name, generation) = (&older.collection, older.generation);
        reasons.push(Reason::stored(if older.running {
            format!("rows of {name} are being written again under mapping generation {generation}")
        } else {
            format!(
                "rows of {name} were written before mapping generation {generation} ({}): {}",
                older.what, older.command
            )
        }));
    }
}

/// Indexes and foreign keys that are not there, or not proven.
fn constraints(report: &Report, reasons: &mut Vec<Reason>) {
    let deferred = &report.deferred_constraints;
    let refused = deferred
        .iter()
        .find_map(|row| Some((row, row.problem.as_ref()?)));
    if let Some((row, problem)) = refused {
        reasons.push(Reason::stored(format!(
            "{} on {} cannot be added or proven, and is tried again every 30 s: {problem}",
            row.name, row.table
        )));
    } else if !deferred.is_empty() {
        let number = i64::try_from(deferred.len()).unwrap_or(i64::MAX);
        reasons.push(Reason::passing(format!(
            "{} still to be added, which begins when the snapshot of a table and of its parents is applied",
            counted(number, "constraint")
        )));
    }
}

/// Documents that wait, and rows that stay for the sake of others.
fn waiting(report: &Report, reasons: &mut Vec<Reason>) {
    let waiting = report.waiting.iter().filter(|w| !w.orphans);
    let waiting: i64 = waiting.map(|w| w.documents).sum();
    if waiting > 0 {
        let words = format!("{} waiting", counted(waiting, "document"));
        reasons.push(Reason::passing(words));
    }
    let held: i64 = report.held.values().sum();
    if held > 0 {
        reasons.push(Reason::stored(format!(
            "{} kept because others point there",
            counted(held, "deleted row")
        )));
    }
}

fn consumers_not_ready(report: &Report, reasons: &mut Vec<Reason>) {
    let alive: Vec<&ConsumerLine> = report.consumers.iter().filter(|c| c.alive).collect();
    let mut mappings: Vec<&str> = alive.iter().map(|c| c.mapping.as_str()).collect();
    mappings.sort_unstable();
    mappings.dedup();
    if alive.is_empty() {
        let why = "no consumer is running: leafcutter-consumer run";
        reasons.push(Reason::programs(why));
    } else if mappings.len() > 1 {
        reasons.push(Reason::programs(format!(
            "the consumers run under {} mappings",
            mappings.len()
        )));
    } else if let Some(row) = &report.in_force
        && mappings[0] != row.mapping
    {
        reasons.push(Reason::programs(format!(
            "the consumers run under mapping {}, and {} is in force: start them again",
            mappings[0], row.mapping
        )));
    }
    for consumer in alive {
        if let Some(problem) = &consumer.problem {
            let words = format!("{} waits: {problem}", consumer.id);
            reasons.push(Reason::said(words));
        }
    }
}

fn collection_not_ready(line: &CollectionLine) -> Option<Reason> {
    let name = &line.collection;
    match line.snapshot {
        SnapshotState::Running => {
            let read = i64::try_from(line.snapshot_read).unwrap_or(i64::MAX);
            let estimated = i64::try_from(line.snapshot_estimated).unwrap_or(i64::MAX);
            let part = percent(read, estimated).min(99);
            return Some(Reason::programs(format!("{name}: snapshot {part} % read")));
        }
        SnapshotState::Unknown => {
            let why = format!("{name}: no producer has snapshotted it: leafcutter-producer run");
            return Some(Reason::programs(why));
        }
        SnapshotState::Complete | SnapshotState::None => {}
    }
    if !line.gate_waits_for.is_empty() {
        return Some(Reason::passing(format!("{name}: waits for its parents")));
    }
    let behind = || counted(line.behind, "record");
    match line.lag_seconds {
        Some(lag) if lag > LAG_MAX && line.behind > 0 => Some(Reason::passing(format!(
            "{name}: {} and {} behind",
            behind(),
            span(lag)
        ))),
        None if line.behind > 0 => Some(Reason::passing(format!("{name}: {} behind", behind()))),
        Some(_) | None => None,
    }
}
