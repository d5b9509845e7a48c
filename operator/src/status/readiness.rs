//! Whether to cut over, and why not.

use super::report::{CollectionLine, ConsumerLine, Report, SnapshotState};
use crate::figures::{counted, percent, span};
use leafcutter_sink::change::Outcome;

/// A producer that was silent for longer is gone; each sends a heartbeat every second.
pub(super) const HEARTBEAT_AGE_MAX: i64 = 10;
/// Behind by more seconds than this, cutting over would mean waiting.
const LAG_MAX: i64 = 10;

/// Why not to cut over now, the most fundamental first.
pub(super) fn reasons(report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(fault) = &report.kafka {
        reasons.push(format!("Kafka cannot be asked: {}", fault.why));
    } else if report.producers.is_empty() {
        reasons.push("no producer has sent a heartbeat yet".to_owned());
    }
    for producer in &report.producers {
        if producer.heartbeat_age_seconds > HEARTBEAT_AGE_MAX {
            let age = span(producer.heartbeat_age_seconds);
            reasons.push(format!(
                "producer {} was last heard of {age} ago",
                producer.name
            ));
        } else if producer.source_time.is_none() {
            reasons.push(format!(
                "producer {} cannot tell yet how far it is",
                producer.name
            ));
        }
    }
    for paused in &report.paused {
        let (name, be) = match &paused.collection {
            Some(name) => (name.as_str(), "is"),
            None => ("all collections", "are"),
        };
        let (since, why) = (&paused.since, &paused.reason);
        reasons.push(format!(
            "{name} {be} paused by a person since {since}: {why}; to go on: leafcutter resume"
        ));
    }
    for stopped in &report.stopped {
        reasons.push(format!(
            "{} stopped {} ago, since {} in a row could not be applied; the last one: {}; once it is \
             mended: leafcutter resume {}",
            stopped.collection,
            span(stopped.seconds_ago),
            counted(stopped.failures, "record"),
            stopped.reason,
            stopped.collection
        ));
    }
    for again in &report.read_again {
        let (name, age) = (&again.collection, span(again.seconds_ago));
        reasons.push(if again.running {
            format!("{name} is being read again, since {age}")
        } else {
            format!(
                "{name} was read again {age} ago, and not to the end: leafcutter resnapshot {name}"
            )
        });
    }
    consumers_not_ready(report, &mut reasons);
    if report.collections.is_empty() {
        reasons.push("no collection is known yet".to_owned());
    }
    for line in &report.collections {
        reasons.extend(collection_not_ready(line).map(|why| format!("{}: {why}", line.collection)));
    }
    let waiting = |orphans: bool| -> i64 {
        report
            .waiting
            .iter()
            .filter(|w| w.orphans == orphans)
            .map(|w| w.documents)
            .sum()
    };
    if waiting(false) > 0 {
        reasons.push(format!("{} waiting", counted(waiting(false), "document")));
    }
    let held: i64 = report.held.values().sum();
    if held > 0 {
        reasons.push(format!(
            "{} kept because others point there",
            counted(held, "deleted row")
        ));
    }
    let letters: i64 = report.dead_letters.values().sum();
    if letters > 0 {
        reasons.push(format!(
            "{} open: leafcutter dead-letters list",
            counted(letters, "dead letter")
        ));
    }
    let suppressed = Outcome::Suppressed.column();
    if let Some(&records) = report
        .accounting
        .outcomes
        .get(suppressed)
        .filter(|&&n| n > 0)
    {
        reasons.push(format!(
            "{} suppressed by the target: a trigger, a rule or a policy keeps rows from being written or deleted; mend it, then leafcutter replay",
            counted(records, "record")
        ));
    }
    if !report.accounting.broken.is_empty() {
        reasons.push("the accounting does not add up".to_owned());
    }
    reasons
}

fn consumers_not_ready(report: &Report, reasons: &mut Vec<String>) {
    let alive: Vec<&ConsumerLine> = report.consumers.iter().filter(|c| c.alive).collect();
    let mut mappings: Vec<&str> = alive.iter().map(|c| c.mapping.as_str()).collect();
    mappings.sort_unstable();
    mappings.dedup();
    if alive.is_empty() {
        reasons.push("no consumer is running".to_owned());
    } else if mappings.len() > 1 {
        reasons.push(format!(
            "the consumers run under {} mappings",
            mappings.len()
        ));
    } else if let Some(ours) = &report.mapping
        && mappings[0] != ours
    {
        reasons.push(format!(
            "the consumers run under mapping {}, the file is {ours}",
            mappings[0]
        ));
    }
    for consumer in alive {
        if let Some(problem) = &consumer.problem {
            reasons.push(format!("{} waits: {problem}", consumer.id));
        }
    }
}

fn collection_not_ready(line: &CollectionLine) -> Option<String> {
    match line.snapshot {
        SnapshotState::Running => {
            let read = i64::try_from(line.snapshot_read).unwrap_or(i64::MAX);
            let estimated = i64::try_from(line.snapshot_estimated).unwrap_or(i64::MAX);
            return Some(format!(
                "snapshot {} % read",
                percent(read, estimated).min(99)
            ));
        }
        SnapshotState::Unknown => return Some("no producer has snapshotted it".to_owned()),
        SnapshotState::Complete | SnapshotState::None => {}
    }
    if !line.gate_waits_for.is_empty() {
        return Some("waits for its parents".to_owned());
    }
    let behind = || counted(line.behind, "record");
    match line.lag_seconds {
        Some(lag) if lag > LAG_MAX && line.behind > 0 => {
            Some(format!("{} and {} behind", behind(), span(lag)))
        }
        None if line.behind > 0 => Some(format!("{} behind", behind())),
        Some(_) | None => None,
    }
}
