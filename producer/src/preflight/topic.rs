//! What a topic has to be like, as a function of what the cluster says of it.

use super::findings::Findings;
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::name::metric_name;
use rdkafka::admin::ConfigResource;
use std::collections::{BTreeMap, BTreeSet};

/// 16 MB of BSON, its envelope, and the protocol around it.
pub(super) const RECORD_BYTES_MAX: usize = 20 << 20;
/// From this many replicas on one more than the leader can be asked for, and one may still be away.
const REPLICAS_SAFE: usize = 3;

/// What a topic is for decides what it has to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Data,
    DeadLetters,
    Compacted,
}

#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) partitions: i32,
    pub(super) config: Vec<(&'static str, String)>,
}

/// What the cluster has now.
pub(super) struct Seen {
    pub(super) brokers: usize,
    pub(super) partitions: BTreeMap<String, usize>,
    /// Of a topic's first partition.
    pub(super) replicas: BTreeMap<String, usize>,
    pub(super) without_leader: BTreeSet<String>,
}

impl Wanted {
    fn config(&self, name: &str) -> Option<&str> {
        let (_, value) = self.config.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }

    fn alter(&self, change: &str) -> String {
        format!(
            "kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {change}",
            self.name
        )
    }
}

/// The value of a setting.
pub(super) fn value<'a>(resource: &'a ConfigResource, name: &str) -> Option<&'a str> {
    resource.get(name)?.value.as_deref()
}

/// Refuses new topics whose names Kafka takes for those of topics that are there.
pub(super) fn check_names(missing: &[&Wanted], seen: &Seen, findings: &mut Findings) {
    let there: BTreeMap<String, &String> = seen
        .partitions
        .keys()
        .map(|name| (metric_name(name), name))
        .collect();
    for topic in missing {
        if let Some(other) = there.get(&metric_name(&topic.name)) {
            findings.fault(Fault::new(
                "could not create a topic",
                format!("topic `{}`", topic.name),
                format!(
                    "topic `{other}` is there, and Kafka takes names for one that differ only by \
                     `.` and `_`"
                ),
                "Choose another `--prefix`, or delete the other topic if nobody needs it.",
            ));
        }
    }
}

/// Compares an existing topic's settings with what our promises need.
pub(super) fn check_config(
    topic: &Wanted,
    resource: &ConfigResource,
    replicas: usize,
    findings: &mut Findings,
) {
    let found = |name: &str| value(resource, name);
    let faults = [
        policy(topic, found("cleanup.policy")),
        limit(topic, found("max.message.bytes")),
        retention(topic, found("retention.ms")),
        in_sync(topic, found("min.insync.replicas"), replicas),
    ];
    for fault in faults.into_iter().flatten() {
        findings.fault(fault);
    }
    if topic.role != Role::Compacted
        && let Some(bytes) = found("retention.bytes")
        && bytes != "-1"
    {
        tracing::warn!(
            topic = topic.name,
            bytes,
            "`retention.bytes` is set: Kafka may remove records before anybody has read them"
        );
    }
}

fn refused(topic: &Wanted, why: String, change: &str) -> Fault {
    let place = format!("topic `{}`", topic.name);
    Fault::new("refused a topic", place, why, topic.alter(change))
}

fn policy(topic: &Wanted, found: Option<&str>) -> Option<Fault> {
    let found = found.unwrap_or_default();
    let wanted = topic.config("cleanup.policy")?;
    let why = match topic.role {
        Role::Data => "compaction would keep a late repetition and drop the delete before it",
        Role::DeadLetters => "compaction would drop dead letters that nobody has seen",
        Role::Compacted => "with `delete`, what a late reader needs would be gone",
    };
    let why = format!("cleanup.policy is `{found}`: {why}");
    (found != wanted).then(|| refused(topic, why, &format!("cleanup.policy={wanted}")))
}

fn limit(topic: &Wanted, found: Option<&str>) -> Option<Fault> {
    let found = found?.parse::<usize>().ok()?;
    let why = format!("max.message.bytes is {found}: a document of 16 MB would not fit");
    let small = topic.role == Role::Data && found < RECORD_BYTES_MAX;
    small.then(|| refused(topic, why, &format!("max.message.bytes={RECORD_BYTES_MAX}")))
}

/// -1 keeps records for ever.
fn retention(topic: &Wanted, found: Option<&str>) -> Option<Fault> {
    let wanted = topic.config("retention.ms")?;
    let millis = |text: &str| text.parse::<i64>().ok().map(u64::try_from);
    let short = match (millis(found?)?, millis(wanted)?) {
        (Err(_), _) => false,
        (Ok(_), Err(_)) => true,
        (Ok(found), Ok(wanted)) => found < wanted,
    };
    let why = match topic.role {
        Role::DeadLetters => "dead letters would be removed before anybody has seen them",
        _ => "records would be removed sooner than `--retention` says, read or not",
    };
    let why = format!("retention.ms is {}: {why}", found.unwrap_or_default());
    short.then(|| refused(topic, why, &format!("retention.ms={wanted}")))
}

/// More in-sync replicas than there are would refuse every record. One of three may be the only disk
/// that has what a checkpoint rests on; topics of earlier versions are so, hence only a warning.
fn in_sync(topic: &Wanted, found: Option<&str>, replicas: usize) -> Option<Fault> {
    let found = found?.parse::<usize>().ok()?;
    if replicas >= REPLICAS_SAFE && found < 2 {
        tracing::warn!(
            topic = topic.name,
            replicas,
            next = topic.alter("min.insync.replicas=2"),
            "`min.insync.replicas` is {found}: what Kafka acknowledges may be on one disk only"
        );
    }
    let why = format!(
        "min.insync.replicas is {found} and it has {replicas}: Kafka would refuse every record"
    );
    (replicas > 0 && found > replicas).then(|| {
        refused(
            topic,
            why,
            &format!("min.insync.replicas={}", (replicas / 2).max(1)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(role: Role, retention: &str) -> Wanted {
        Wanted {
            name: "t".into(),
            role,
            partitions: 1,
            config: vec![
                ("cleanup.policy", "delete".into()),
                ("retention.ms", retention.into()),
            ],
        }
    }

    #[test]
    fn a_retention_below_the_one_asked_for_is_refused() {
        let data = topic(Role::Data, "1000");
        for (found, refused) in [
            ("999", true),
            ("1000", false),
            ("1001", false),
            ("-1", false),
        ] {
            assert_eq!(retention(&data, Some(found)).is_some(), refused, "{found}");
        }
        let letters = topic(Role::DeadLetters, "-1");
        assert!(retention(&letters, Some("999")).is_some());
        assert!(retention(&letters, Some("-1")).is_none());
        let fault = retention(&data, Some("999")).unwrap().to_string();
        assert!(fault.contains("--add-config retention.ms=1000"), "{fault}");
    }

    #[test]
    fn more_in_sync_replicas_than_there_are_are_refused() {
        let data = topic(Role::Data, "1000");
        for (found, replicas, refused) in [
            ("2", 1, true),
            ("1", 1, false),
            ("2", 3, false),
            ("1", 3, false),
            ("4", 3, true),
        ] {
            assert_eq!(
                in_sync(&data, Some(found), replicas).is_some(),
                refused,
                "{found} of {replicas}"
            );
        }
    }

    #[test]
    fn a_name_that_kafka_takes_for_another_is_told() {
        let mut findings = Findings::default();
        let seen = Seen {
            brokers: 1,
            partitions: BTreeMap::from([("a.b_c".to_owned(), 1)]),
            replicas: BTreeMap::new(),
            without_leader: BTreeSet::new(),
        };
        let wanted = Wanted {
            name: "a_b.c".into(),
            ..topic(Role::Data, "1")
        };
        check_names(&[&wanted], &seen, &mut findings);
        assert!(findings.faults.0[0].to_string().contains("a.b_c"));
        let other = Wanted {
            name: "a-b.c".into(),
            ..topic(Role::Data, "1")
        };
        let mut findings = Findings::default();
        check_names(&[&other], &seen, &mut findings);
        assert!(findings.faults.is_empty());
    }
}
