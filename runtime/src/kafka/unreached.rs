//! Why brokers are not reached.
//!
//! What is asked of Kafka fails by a time-out, or since "the transport failed". Why, librdkafka knows: that a
//! certificate is refused, a login fails, nobody listens. It tells that apart, as an event of the client, at each
//! attempt to connect. So events are kept for a while, and whoever tells of a failure tells the likely reason.

use crate::report::Fault;
use rdkafka::{
    consumer::{BaseConsumer, Consumer as _, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    metadata::Metadata,
};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The reasons of late, of all clients of this process.
static FAILED: Mutex<Vec<Failed>> = Mutex::new(Vec::new());
/// For how long a reason is the likely one, and is not logged again: each attempt to connect has one.
const LIKELY: Duration = Duration::from_secs(30);
/// How long reasons are taken from a queue, and one that is just being found out is waited for.
const REASONS: Duration = Duration::from_millis(300);

/// A reason, and when it was logged.
struct Failed {
    reason: String,
    code: Option<RDKafkaErrorCode>,
    at: Instant,
}

/// Keeps a reason; whether it was not told lately.
pub(super) fn remember(error: &KafkaError, reason: &str) -> bool {
    // `… (after 5ms in state CONNECT)`
    let reason = reason.split(" (after ").next().unwrap_or(reason);
    let mut all = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|failed| failed.at.elapsed() < LIKELY);
    if all.iter().any(|failed| failed.reason == reason) {
        return false;
    }
    all.push(Failed {
        reason: reason.to_owned(),
        code: error.rdkafka_error_code(),
        at: Instant::now(),
    });
    true
}

/// The last one that says something: that all brokers are down does not, and what TLS or a login says tells more
/// than that the connection was lost by it.
fn likely() -> Option<String> {
    let all = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = all.iter().filter(|failed| failed.at.elapsed() < LIKELY);
    let ranked = fresh.filter_map(|failed| match failed.code {
        Some(RDKafkaErrorCode::AllBrokersDown) => None,
        Some(RDKafkaErrorCode::BrokerTransportFailure) => Some((0, failed)),
        _ => Some((1, failed)),
    });
    // Of equal ones the last.
    let (_, failed) = ranked.max_by_key(|(rank, _)| *rank)?;
    Some(failed.reason.clone())
}

/// What went wrong, in librdkafka's words but once: its own text names the code, the code's
/// origin and its meaning. Of a broker that is not reached, with the reason why the last connection failed.
#[must_use]
pub fn explain(error: &KafkaError) -> String {
    let meaning = meaning_of(error);
    match likely().filter(|_| is_of_connection(error)) {
        Some(reason) => format!("{meaning}: {reason}"),
        None => meaning,
    }
}

/// Whether a broker was not reached, or gave no answer.
#[must_use]
pub fn is_of_connection(error: &KafkaError) -> bool {
    matches!(
        code_of(error),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
        )
    )
}

/// The client's own type leaves out what was asked of an administrator.
fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// What the brokers say of a topic, or of all. Where none answers, the reason has been told to whoever asks
/// [`explain`].
///
/// # Errors
/// When no broker answers.
pub fn metadata<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: Option<&str>,
    answer: Duration,
) -> KafkaResult<Metadata> {
    let metadata = client.fetch_metadata(topic, answer);
    if metadata.is_err() {
        // The reasons lie in the client's queue until somebody polls it. None of them is a message.
        let until = Instant::now() + REASONS;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            drop(client.poll(left));
        }
    }
    metadata
}

/// That brokers are not reached, why, and what to look at.
#[must_use]
pub fn unreachable(brokers: &str, error: &KafkaError) -> Fault {
    let why = explain(error);
    let mut words = ["SSL", "SASL", "security.protocol"].iter();
    let next = if words.any(|word| why.contains(word)) {
        "Compare what --kafka says with the listener that --kafka-brokers names: `security.protocol`, \
         `ssl.ca.location`, `sasl.mechanism`, `sasl.username`."
    } else {
        // Such a listener closes a plain connection without a word.
        "Check that the brokers run and advertise an address that this machine can reach, and --kafka-brokers; \
         where that listener wants TLS or a login, `security.protocol` in --kafka."
    };
    let place = format!("brokers `{brokers}`");
    Fault::new("could not reach Kafka", place, why, next)
}

/// The same, without that reason.
pub(super) fn meaning_of(error: &KafkaError) -> String {
    let Some(code) = code_of(error) else {
        return error.to_string();
    };
    let text = code.to_string();
    let meaning = text
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    let meaning = meaning.unwrap_or(&text);
    let meaning = meaning.strip_prefix("Local: ").unwrap_or(meaning);
    let meaning = meaning.strip_prefix("Broker: ").unwrap_or(meaning);
    meaning.to_lowercase()
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::{explain, meaning_of, metadata};
    use crate::kafka::{KafkaSettings, LogContext};
    use rdkafka::consumer::BaseConsumer;
    use std::time::Duration;

    #[test]
    fn an_error_is_told_once() {
        let cases = [
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "broker transport failure",
            ),
            (
                RDKafkaErrorCode::TopicAuthorizationFailed,
                "topic authorization failed",
            ),
        ];
        for (code, words) in cases {
            assert_eq!(meaning_of(&KafkaError::MetadataFetch(code)), words);
        }
        let refused = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(explain(&refused), meaning_of(&refused));
        assert!(explain(&KafkaError::Seek("why".to_owned())).contains("why"));
    }

    /// librdkafka itself would say "broker transport failure".
    #[test]
    fn a_broker_that_is_not_reached_is_told_with_the_reason() {
        let nobody = KafkaSettings::new("127.0.0.1:1");
        let config = nobody.reader_config("t").unwrap();
        let client: BaseConsumer<LogContext> = config.create_with_context(LogContext).unwrap();
        let error = metadata(&client, None, Duration::from_secs(2))
            .err()
            .unwrap();
        let told = explain(&error);
        assert!(told.contains("Connection refused"), "{told}");
    }
}
