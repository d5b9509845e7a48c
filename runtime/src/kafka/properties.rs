//! librdkafka properties as the user gives them.
//!
//! It takes `key=value` texts and gives pairs under one canonical name each: librdkafka knows
//! several properties under two names, and with both set, the one that happens to be applied last
//! wins. It also knows which names our promises rest on, and why.

use crate::{report::Fault, secret::is_secret_name};

/// Second names, and the one name we use.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.type", "compression.codec"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("auto.commit.enable", "enable.auto.commit"),
];

const ORDER: &str = "the producer keeps each document's events in order and loses none silently";
const OFFSETS: &str =
    "the position of the consumer lives in PostgreSQL, in the same transaction as the rows";
const CLIENT: &str = "it decides which client is built, and the code relies on it";

/// What our promises rest on, and the promise.
const OWNED: &[(&str, &str)] = &[
    (
        "bootstrap.servers",
        "the brokers have a setting of their own, `--kafka-brokers`",
    ),
    ("enable.idempotence", ORDER),
    ("acks", ORDER),
    ("message.timeout.ms", ORDER),
    ("retries", ORDER),
    ("max.in.flight.requests.per.connection", ORDER),
    ("queuing.strategy", ORDER),
    ("msg_order_cmp", ORDER),
    ("enable.gapless.guarantee", ORDER),
    (
        "delivery.report.only.error",
        "a checkpoint moves only on acknowledgements",
    ),
    ("transactional.id", "the producer does not use transactions"),
    (
        "partitioner",
        "all events of a document have to be in one partition, whoever writes them",
    ),
    ("enable.auto.commit", OFFSETS),
    ("enable.auto.offset.store", OFFSETS),
    ("offset.store.method", OFFSETS),
    (
        "auto.offset.reset",
        "an offset that is gone has to stop the consumer, not to be skipped",
    ),
    (
        "isolation.level",
        "a hanging transaction of another writer must not block the consumer",
    ),
    (
        "partition.assignment.strategy",
        "the consumer hands partitions over incrementally",
    ),
    (
        "group.protocol",
        "the consumer relies on the classic group protocol",
    ),
    ("group.id", "the group has a setting of its own"),
    ("enable.partition.eof", CLIENT),
    (
        "allow.auto.create.topics",
        "topics are created by the preflight, with the right settings",
    ),
    ("log.queue", CLIENT),
    ("log_level", "the log has a setting of its own, `--log`"),
];

/// The one name of a property.
pub(super) fn canonical(name: &str) -> &str {
    ALIASES
        .iter()
        .find(|(alias, _)| *alias == name)
        .map_or(name, |(_, name)| name)
}

/// The fault of setting `name`, when it is one of ours.
pub(super) fn refuse(name: &str) -> Option<Fault> {
    let (_, promise) = OWNED.iter().find(|(owned, _)| *owned == canonical(name))?;
    Some(Fault::new(
        "refused a Kafka property",
        format!("`{name}` among the Kafka properties"),
        *promise,
        "Leave it out; everything else passes through to librdkafka.",
    ))
}

/// Splits `a=1,b=2`. A piece without a property name before its `=` belongs to the value before
/// it, so that lists (`ssl.cipher.suites=A,B`) and passwords with commas survive. The error never
/// repeats the text: it may hold a password.
pub(super) fn split(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in text.split(',') {
        match piece.split_once('=') {
            Some((name, value)) if is_name(name.trim()) => {
                pairs.push((name.trim().to_owned(), value.to_owned()));
            }
            _ => match pairs.last_mut() {
                Some((_, value)) => {
                    value.push(',');
                    value.push_str(piece);
                }
                None if piece.trim().is_empty() => {}
                None => return Err("expected `key=value`, several separated by commas".to_owned()),
            },
        }
    }
    Ok(pairs)
}

/// One `key=value` a line; blank lines and lines that begin with `#` are skipped.
pub(super) fn lines(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {}: expected `key=value`", number + 1));
        };
        pairs.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(pairs)
}

/// All of librdkafka's names are lower case, and all but a few have a dot.
fn is_name(text: &str) -> bool {
    let known = |text| {
        matches!(
            text,
            "acks" | "retries" | "debug" | "partitioner" | "log_level"
        )
    };
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
    known(text) || (text.contains('.') && text.chars().all(legal))
}

/// `value` as it may be shown.
pub(super) fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret_name(name) { "***" } else { value }
}

#[cfg(test)]
mod tests {
    use super::{canonical, lines, refuse, split};

    #[test]
    fn commas_inside_a_value_stay_in_it() {
        let pairs = split("sasl.password=a,b=c,ssl.cipher.suites=X,Y,linger.ms=1").unwrap();
        let expected = [
            ("sasl.password", "a,b=c"),
            ("ssl.cipher.suites", "X,Y"),
            ("linger.ms", "1"),
        ];
        assert_eq!(
            pairs,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_text_without_a_key_is_refused_and_not_repeated() {
        let error = split("hunter2").unwrap_err();
        assert!(!error.contains("hunter2"));
        assert_eq!(split("").unwrap(), []);
    }

    #[test]
    fn a_line_without_a_key_is_refused_by_its_number() {
        let error = lines("a.b=1\nhunter2\n").unwrap_err();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn a_promise_cannot_be_set_under_its_second_name() {
        assert_eq!(canonical("request.required.acks"), "acks");
        assert!(refuse("request.required.acks").is_some());
        assert!(refuse("delivery.timeout.ms").is_some());
        assert!(refuse("group.instance.id").is_none());
    }
}
