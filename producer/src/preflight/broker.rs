//! Kafka's part: reachable, and every topic as our promises need it.

use super::{
    Broker,
    findings::Findings,
    topic::{self, RECORD_BYTES_MAX, Role, Seen, Wanted},
};
use crate::{checkpoint::store, error::Error, publish::Address, settings::Settings};
use leafcutter_runtime::{
    kafka::{LogContext, explain, is_of_connection, metadata, unreachable},
    report::Fault,
};
use leafcutter_schemas::name;
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
        TopicReplication,
    },
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

type Admin = AdminClient<LogContext>;
type Reader = BaseConsumer<LogContext>;

const ANSWER: Duration = Duration::from_secs(5);
/// How long new topics may take to have leaders.
const LEADERS: Duration = Duration::from_secs(60);
/// A dead letter is the original and its headers.
const DEAD_LETTER_BYTES_MAX: usize = RECORD_BYTES_MAX + (1 << 20);
const REPLICAS_MAX: i32 = 3;

pub(super) async fn check(settings: &Settings, findings: &mut Findings) -> Option<Broker> {
    let (admin, reader) = match clients(settings) {
        Ok((admin, reader)) => (Arc::new(admin), Arc::new(reader)),
        Err(fault) => {
            findings.fault(fault);
            return None;
        }
    };
    let wanted = wanted(settings);
    let seen = match seen(&reader).await {
        Ok(seen) => seen,
        Err(error) => {
            findings.fault(unreachable(&settings.kafka.brokers, &error));
            return None;
        }
    };
    let (there, missing): (Vec<&Wanted>, Vec<&Wanted>) = wanted
        .iter()
        .partition(|topic| seen.partitions.contains_key(&topic.name));
    check_partitions(&there, &seen, findings);
    topic::check_names(&missing, &seen, findings);
    let brokers = &settings.kafka.brokers;
    let limits = check_configs((&admin, brokers), &there, &seen, findings).await;
    if seen
        .partitions
        .contains_key(&name::checkpoints_topic(&settings.prefix))
    {
        check_lost(settings, &missing, findings).await;
    }
    if findings.faults.is_empty() && !missing.is_empty() {
        create((&admin, brokers), &missing, seen.brokers, findings).await;
        wait_for_leaders(&reader, &missing, findings).await;
    }
    let addresses = settings.collections.iter().map(|collection| Address {
        topic: collection.topic.clone(),
        limit: limits
            .get(&collection.topic)
            .copied()
            .unwrap_or(RECORD_BYTES_MAX),
    });
    Some(Broker {
        addresses: addresses.collect(),
        control_topic: name::control_topic(&settings.prefix),
        checkpoints_topic: name::checkpoints_topic(&settings.prefix),
    })
}

fn clients(settings: &Settings) -> Result<(Admin, Reader), Fault> {
    let admin = settings.kafka.admin_config("leafcutter-producer-admin")?;
    let reader = settings
        .kafka
        .reader_config("leafcutter-producer-preflight")?;
    Ok((
        admin.create_with_context(LogContext).map_err(no_client)?,
        reader.create_with_context(LogContext).map_err(no_client)?,
    ))
}

fn no_client(error: KafkaError) -> Fault {
    let next = "Compare the properties in `--kafka` with librdkafka's CONFIGURATION.md.";
    let what = "could not start a Kafka client";
    Fault::new(what, "`--kafka`", error.to_string(), next)
}

fn wanted(settings: &Settings) -> Vec<Wanted> {
    let compacted = [
        name::control_topic(&settings.prefix),
        name::checkpoints_topic(&settings.prefix),
    ];
    let compacted = compacted.map(|name| Wanted {
        name,
        role: Role::Compacted,
        partitions: 1,
        config: vec![("cleanup.policy", "compact".to_owned())],
    });
    let data = |name: &str, role, retention: String, bytes: usize| Wanted {
        name: name.to_owned(),
        role,
        partitions: settings.partitions,
        config: vec![
            ("cleanup.policy", "delete".to_owned()),
            // Kafka removes by the time of records: the broker's clock, not the producer's.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("retention.ms", retention),
            ("max.message.bytes", bytes.to_string()),
        ],
    };
    let mut topics = Vec::from(compacted);
    for collection in settings.collections.iter() {
        let retention = settings.retention.as_millis().to_string();
        topics.push(data(
            &collection.topic,
            Role::Data,
            retention,
            RECORD_BYTES_MAX,
        ));
        let letters = name::dead_letter_topic(&collection.topic);
        topics.push(data(
            &letters,
            Role::DeadLetters,
            "-1".to_owned(),
            DEAD_LETTER_BYTES_MAX,
        ));
    }
    topics
}

async fn seen(reader: &Arc<Reader>) -> Result<Seen, KafkaError> {
    let reader = Arc::clone(reader);
    let asked = tokio::task::spawn_blocking(move || {
        let metadata = metadata(&reader, None, ANSWER)?;
        let topics = metadata.topics().iter();
        Ok(Seen {
            brokers: metadata.brokers().len(),
            partitions: topics
                .clone()
                .map(|t| (t.name().to_owned(), t.partitions().len()))
                .collect(),
            replicas: topics
                .filter_map(|t| {
                    Some((
                        t.name().to_owned(),
                        t.partitions().first()?.replicas().len(),
                    ))
                })
                .collect(),
            without_leader: metadata
                .topics()
                .iter()
                .filter(|topic| topic.partitions().iter().any(|p| p.leader() < 0))
                .map(|topic| topic.name().to_owned())
                .collect(),
        })
    });
    asked.await.unwrap_or(Err(KafkaError::Canceled))
}

/// A data topic that is missing although a checkpoint speaks of its collection has lost records,
/// and is not created again as if nothing had been.
async fn check_lost(settings: &Settings, missing: &[&Wanted], findings: &mut Findings) {
    if !missing.iter().any(|topic| topic.role == Role::Data) {
        return;
    }
    let (kafka, name) = (settings.kafka.clone(), settings.name.clone());
    let topic = name::checkpoints_topic(&settings.prefix);
    let loaded = tokio::task::spawn_blocking(move || store::load(&kafka, &topic, &name)).await;
    let loaded =
        loaded.unwrap_or_else(|error| Err(Error::internal("the reader of checkpoints", error)));
    let stored = match loaded {
        Ok(stored) => stored,
        Err(error) => {
            findings.faults.0.extend(error.into_failure().faults.0);
            findings.other = true;
            return;
        }
    };
    let known = settings.collections.iter();
    for collection in known.filter(|c| stored.covered(&c.name).is_some()) {
        if missing.iter().any(|topic| topic.name == collection.topic) {
            findings.mismatch(Fault::new(
                "could not go on: a data topic is gone",
                format!("topic `{}`", collection.topic),
                "the checkpoint says that its records were written, and it is not there any more",
                "Begin again: `leafcutter rollback`, then another `--prefix` (README).",
            ));
        }
    }
}

fn check_partitions(there: &[&Wanted], seen: &Seen, findings: &mut Findings) {
    for topic in there {
        let found = seen
            .partitions
            .get(&topic.name)
            .copied()
            .unwrap_or_default();
        if i32::try_from(found) == Ok(topic.partitions) {
            continue;
        }
        let next = match topic.role {
            Role::Data | Role::DeadLetters => format!(
                "If no producer has written to it, start with `--partitions {found}`. If \
                 partitions were added to it in use, documents' records are in other partitions \
                 now and lose their order: begin again with another `--prefix` (README)."
            ),
            Role::Compacted => {
                "Begin again under another `--prefix`; this topic was not made by Leafcutter."
                    .to_owned()
            }
        };
        findings.mismatch(Fault::new(
            "refused a topic",
            format!("topic `{}`", topic.name),
            format!(
                "it has {found} partitions and should have {}",
                topic.partitions
            ),
            next,
        ));
    }
}

/// Something that Kafka did not do: it gave no answer, or this user has no right to it.
fn not_done(
    brokers: &str,
    (what, place): (&str, String),
    error: &KafkaError,
    right: &str,
) -> Fault {
    if is_of_connection(error) {
        return unreachable(brokers, error);
    }
    Fault::new(what, place, explain(error), right)
}

/// Checks the settings of existing topics; gives the record limits of data topics.
async fn check_configs(
    (admin, brokers): (&Admin, &str),
    there: &[&Wanted],
    seen: &Seen,
    findings: &mut Findings,
) -> BTreeMap<String, usize> {
    let mut limits = BTreeMap::new();
    if there.is_empty() {
        return limits;
    }
    let resources: Vec<_> = there
        .iter()
        .map(|t| ResourceSpecifier::Topic(&t.name))
        .collect();
    let not_seen = |place: String, error: &KafkaError| {
        let right = "Grant this user DescribeConfigs on the topics.";
        not_done(
            brokers,
            ("could not look at a topic's settings", place),
            error,
            right,
        )
    };
    let options = AdminOptions::new().request_timeout(Some(ANSWER));
    let described = match admin.describe_configs(&resources, &options).await {
        Ok(described) => described,
        Err(error) => {
            findings.fault(not_seen("Kafka".to_owned(), &error));
            return limits;
        }
    };
    let mut refused = RDKafkaErrorCode::TopicAuthorizationFailed;
    let mut unseen: BTreeMap<&str, &Wanted> = there.iter().map(|t| (&*t.name, *t)).collect();
    for resource in described {
        let resource = match resource {
            // Without the right to see them the broker gives none, and the client no error.
            Ok(resource) if resource.entries.is_empty() => continue,
            Ok(resource) => resource,
            Err(code) => {
                refused = code;
                continue;
            }
        };
        let OwnedResourceSpecifier::Topic(name) = &resource.specifier else {
            continue;
        };
        let Some(topic) = unseen.remove(&**name) else {
            continue;
        };
        let replicas = seen.replicas.get(name).copied().unwrap_or_default();
        topic::check_config(topic, &resource, replicas, findings);
        if let Some(limit) =
            topic::value(&resource, "max.message.bytes").and_then(|v| v.parse().ok())
        {
            limits.insert(name.clone(), limit);
        }
    }
    // Such a topic may be one that Kafka compacts, or that keeps records for an hour.
    for topic in unseen.into_keys() {
        let place = format!("topic `{topic}`");
        findings.fault(not_seen(place, &KafkaError::AdminOp(refused)));
    }
    limits
}

async fn create(
    (admin, brokers): (&Admin, &str),
    missing: &[&Wanted],
    count: usize,
    findings: &mut Findings,
) {
    let replicas = i32::try_from(count)
        .unwrap_or(REPLICAS_MAX)
        .clamp(1, REPLICAS_MAX);
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            let new = NewTopic::new(
                &topic.name,
                topic.partitions,
                TopicReplication::Fixed(replicas),
            );
            let new = if replicas > 2 {
                // What is acknowledged is on two disks.
                new.set("min.insync.replicas", "2")
            } else {
                new
            };
            let config = topic.config.iter();
            config.fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(LEADERS))
        .operation_timeout(Some(LEADERS));
    let refused = |place: String, error: &KafkaError| {
        let right = "Grant this user Create on the cluster, or create the topics as described in the README.";
        not_done(brokers, ("could not create a topic", place), error, right)
    };
    match admin.create_topics(&topics, &options).await {
        Err(error) => findings.fault(refused("Kafka".to_owned(), &error)),
        Ok(results) => {
            for result in results {
                // Another process of ours was faster.
                if let Err((name, code)) = result
                    && code != RDKafkaErrorCode::TopicAlreadyExists
                {
                    let place = format!("topic `{name}`");
                    findings.fault(refused(place, &KafkaError::AdminOp(code)));
                }
            }
        }
    }
}

async fn wait_for_leaders(reader: &Arc<Reader>, missing: &[&Wanted], findings: &mut Findings) {
    let deadline = tokio::time::Instant::now() + LEADERS;
    while findings.faults.is_empty() {
        if let Ok(seen) = seen(reader).await
            && missing.iter().all(|topic| {
                seen.partitions.contains_key(&topic.name)
                    && !seen.without_leader.contains(&topic.name)
            })
            && leaders_answer(reader, missing).await
        {
            tracing::info!(topics = missing.len(), "topics created");
            return;
        }
        if tokio::time::Instant::now() > deadline {
            findings.fault(Fault::new(
                "could not use the new topics",
                "Kafka",
                format!("they have no leaders after {} s", LEADERS.as_secs()),
                "Check the brokers' logs.",
            ));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether the leader of each partition of these topics knows that it is. Brokers tell of leaders before these do,
/// and a record that is refused for it costs a run where another one follows it
/// ([`leafcutter_runtime::kafka::AcknowledgedOffsets`]).
async fn leaders_answer(reader: &Arc<Reader>, topics: &[&Wanted]) -> bool {
    let mut list = TopicPartitionList::new();
    for topic in topics {
        for number in 0..topic.partitions {
            // As a point in time, "end" is the latest, and the leader alone knows it.
            let added = list.add_partition_offset(&topic.name, number, Offset::End);
            added.unwrap_or_default();
        }
    }
    let reader = Arc::clone(reader);
    let asked = tokio::task::spawn_blocking(move || {
        let answer = reader.offsets_for_times(list, ANSWER)?;
        let mut answers = answer.elements().into_iter();
        Ok(answers.all(|one| one.error().is_ok() && matches!(one.offset(), Offset::Offset(_))))
    });
    let answered: Result<bool, KafkaError> = asked.await.unwrap_or(Ok(false));
    answered.unwrap_or(false)
}
