//! What the producer counts, as functions named after what happened. Names, units and labels
//! exist once, here.

use leafcutter_schemas::{operation::Operation, version::Version};
use metrics::{counter, gauge};

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; 2^53 is far away"
)]
fn float(value: u64) -> f64 {
    value as f64
}

/// Documents of a collection were read by its snapshot.
pub(crate) fn documents_read(collection: &str, count: u64) {
    counter!("leafcutter_producer_snapshot_documents_total", "collection" => collection.to_owned())
        .increment(count);
}

/// Documents of a polled collection were read of which something is missing: the dates that it is
/// polled by, or the `_id`.
pub(crate) fn incomplete(collection: &str, undated: u64, keyless: u64) {
    for (missing, count) in [("date", undated), ("_id", keyless)] {
        if count > 0 {
            counter!("leafcutter_producer_incomplete_documents_total", "collection" => collection.to_owned(), "missing" => missing)
                .increment(count);
        }
    }
}

/// A poll has read documents of a collection again.
pub(crate) fn documents_polled(collection: &str, count: u64) {
    counter!("leafcutter_producer_polled_documents_total", "collection" => collection.to_owned())
        .increment(count);
}

/// A poll has ended.
pub(crate) fn polled() {
    counter!("leafcutter_producer_polls_total").increment(1);
}

/// A split could not be read and is read again.
pub(crate) fn split_failed(collection: &str) {
    counter!("leafcutter_producer_split_failures_total", "collection" => collection.to_owned())
        .increment(1);
}

/// Change events were read.
pub(crate) fn events_read(operation: Operation, count: u64) {
    if count > 0 {
        counter!("leafcutter_producer_events_total", "operation" => operation.as_str())
            .increment(count);
    }
}

/// Events for which a later event of their batch, or of their transaction, stands.
pub(crate) fn events_merged(merged: usize, collapsed: usize) {
    for (reason, count) in [("later-update", merged), ("same-transaction", collapsed)] {
        if count > 0 {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            counter!("leafcutter_producer_events_merged_total", "reason" => reason)
                .increment(count);
        }
    }
}

/// Look-ups found no document: a later delete is on its way.
pub(crate) fn lookups_gone(count: u64) {
    counter!("leafcutter_producer_lookups_gone_total").increment(count);
}

/// The change stream broke and was opened again.
pub(crate) fn stream_reopened() {
    counter!("leafcutter_producer_stream_reopened_total").increment(1);
}

/// Records were acknowledged by the broker.
pub(crate) fn records_acknowledged(count: u64, bytes: u64) {
    counter!("leafcutter_producer_records_acknowledged_total").increment(count);
    counter!("leafcutter_producer_records_acknowledged_bytes_total").increment(bytes);
}

/// A record was too large for its topic.
pub(crate) fn record_too_large(collection: &str) {
    counter!("leafcutter_producer_dead_letters_total", "collection" => collection.to_owned(), "stage" => "produce")
        .increment(1);
}

/// A run ended and the next one begins at the checkpoint.
pub(crate) fn run_restarted() {
    counter!("leafcutter_producer_runs_restarted_total").increment(1);
}

/// The state of things, as often as a heartbeat is told.
pub(crate) fn state(time: Version, lag_seconds: u64, budget_used: usize, in_flight: usize) {
    gauge!("leafcutter_producer_acknowledged_time_seconds")
        .set(float(u64::try_from(time.seconds()).unwrap_or_default()));
    gauge!("leafcutter_producer_source_lag_seconds").set(float(lag_seconds));
    gauge!("leafcutter_producer_budget_used_bytes")
        .set(float(u64::try_from(budget_used).unwrap_or_default()));
    gauge!("leafcutter_producer_records_in_flight")
        .set(float(u64::try_from(in_flight).unwrap_or_default()));
}

/// How far a snapshot is.
pub(crate) fn snapshot(collection: &str, done: u32, splits: u32) {
    gauge!("leafcutter_producer_snapshot_splits_done", "collection" => collection.to_owned())
        .set(f64::from(done));
    gauge!("leafcutter_producer_snapshot_splits", "collection" => collection.to_owned())
        .set(f64::from(splits));
}

/// A checkpoint is written.
pub(crate) fn checkpoint_written() {
    counter!("leafcutter_producer_checkpoints_total").increment(1);
}
