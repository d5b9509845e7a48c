//! The consumer's metrics: every name, unit and label, once. `docs/glossary.md` says how to read them.

use leafcutter_sink::change::{Counts, Outcome};
use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// Records of a collection had these outcomes.
pub fn records(collection: &str, counts: &Counts) {
    for outcome in Outcome::ALL {
        let count = u64::try_from(counts.of(outcome)).unwrap_or(0);
        if count > 0 {
            counter!("leafcutter_records_total", "collection" => collection.to_owned(), "outcome" => outcome.column())
                .increment(count);
        }
    }
}

/// A batch of so many records was committed.
#[expect(
    clippy::cast_precision_loss,
    reason = "a histogram of sizes needs no last digit"
)]
pub fn batch_applied(records: usize, took: Duration) {
    histogram!("leafcutter_batch_records").record(records as f64);
    histogram!("leafcutter_apply_seconds").record(took.as_secs_f64());
}

/// A batch could not be applied and is tried again.
pub fn attempt_failed(class: &'static str) {
    counter!("leafcutter_attempts_failed_total", "class" => class).increment(1);
}

/// A round over what waits has ended.
pub fn settling_round(succeeded: bool) {
    let result = if succeeded { "done" } else { "failed" };
    counter!("leafcutter_settling_rounds_total", "result" => result).increment(1);
}

/// Parked documents were placed.
pub fn released(count: u64) {
    counter!("leafcutter_released_total").increment(count);
}

/// A dead letter was written.
pub fn dead_letter_written(stage: &'static str, reason: &'static str) {
    counter!("leafcutter_dead_letters_total", "stage" => stage, "reason" => reason).increment(1);
}

/// Whether a person has paused a collection.
pub fn paused(collection: &str, is_paused: bool) {
    let value = if is_paused { 1.0 } else { 0.0 };
    gauge!("leafcutter_paused", "collection" => collection.to_owned()).set(value);
}

/// Whether records of a collection that are not applied yet are older than half of Kafka's retention.
pub fn retention_half_over(collection: &str, is_over: bool) {
    let value = if is_over { 1.0 } else { 0.0 };
    gauge!("leafcutter_retention_half_over", "collection" => collection.to_owned()).set(value);
}

/// A Kafka client had lost its brokers, and all began anew.
pub fn begun_anew() {
    counter!("leafcutter_begun_anew_total").increment(1);
}

/// A partition that brought nothing though Kafka has records, or could not be sought, was begun anew.
pub fn partition_begun_anew() {
    counter!("leafcutter_partitions_begun_anew_total").increment(1);
}

/// How many fields of a collection were seen that no column takes.
#[expect(clippy::cast_precision_loss, reason = "they are a thousand at most")]
pub fn unmapped_fields(collection: &str, count: usize) {
    gauge!("leafcutter_unmapped_fields", "collection" => collection.to_owned()).set(count as f64);
}

/// Partitions held.
#[expect(clippy::cast_precision_loss, reason = "no group has 2^52 partitions")]
pub fn partitions(count: usize) {
    gauge!("leafcutter_partitions").set(count as f64);
}
