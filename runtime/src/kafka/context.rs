//! librdkafka's log lines as ours.
//!
//! It takes what librdkafka says and gives `tracing` events. Its idea of an error is a broken
//! connection, which it mends by itself: for us that is a warning, since an error needs a person.
//! A client with a context of its own calls [`log_event`] from it.

use super::unreached::{is_of_connection, meaning_of, remember};
use rdkafka::{
    client::ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// A context that logs and does nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogContext;

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_event(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for LogContext {}

/// One line of librdkafka's log. For `ClientContext::log` of other contexts.
pub fn log_event(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // Producer and consumer get the same properties; that each ignores some is no news. What
    // fails comes a second time as an error event.
    // Offsets are committed to Kafka for lag tools only, so one that a rebalance overtakes is no
    // news either.
    if matches!(facility, "CONFWARN" | "FAIL" | "ERROR" | "COMMITFAIL") {
        tracing::debug!(target: "librdkafka", facility, "{message}");
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// A client's error event. For `ClientContext::error` of other contexts.
pub fn log_error(error: &KafkaError, reason: &str) {
    if is_of_connection(error) && !remember(error, reason) {
        tracing::debug!(target: "librdkafka", "{reason}");
        return;
    }
    match error.rdkafka_error_code() {
        // A reader that asked for it was told that it has read everything.
        Some(RDKafkaErrorCode::PartitionEOF) => {
            tracing::trace!(target: "librdkafka", "{reason}");
        }
        // The client is unusable from here on; whoever owns it ends the run.
        Some(RDKafkaErrorCode::Fatal) => {
            tracing::error!(target: "librdkafka", error = meaning_of(error), "{reason}");
        }
        _ => tracing::warn!(target: "librdkafka", error = meaning_of(error), "{reason}"),
    }
}
