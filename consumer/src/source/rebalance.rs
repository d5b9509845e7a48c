//! The client's callbacks: what the group takes and gives is noted here, and passed on by the thread.

use super::event::Membership;
use leafcutter_runtime::kafka::{log_error, log_event};
use leafcutter_sink::ids::{CollectionId, Partition};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// What the callbacks know and have noted.
pub(super) struct Context {
    topics: HashMap<String, CollectionId>,
    changes: Mutex<Vec<Membership>>,
}

impl Context {
    /// Of topics whose positions in `names` are the collections.
    pub(super) fn new(names: &[String]) -> Self {
        let names = names.iter().cloned();
        Self {
            topics: names.zip((0..).map(CollectionId)).collect(),
            changes: Mutex::new(Vec::new()),
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> Vec<Membership> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *changes)
    }

    pub(super) fn push(&self, change: Membership) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.push(change);
    }

    fn partitions(&self, list: &TopicPartitionList) -> Vec<Partition> {
        let known = |topic: &str| self.topics.get(topic).copied();
        list.elements()
            .iter()
            .filter_map(|e| {
                Some(Partition {
                    collection: known(e.topic())?,
                    number: e.partition(),
                })
            })
            .collect()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_event(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = self.partitions(list);
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let done = assign(consumer, list);
                self.push(Membership::Assigned(partitions));
                done
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.push(Membership::Revoked(partitions));
                consumer.incremental_unassign(list)
            }
            other => {
                tracing::warn!(error = ?other, "rebalance failed, the group tries again");
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "could not change the assignment");
        }
    }
}

/// Where to read from only PostgreSQL knows. Nothing is fetched before the seek, since the partitions are
/// paused in the same breath. Not from the end: librdkafka would have to ask for it, and an answer that comes
/// after the seek makes it ask once more, and go there.
fn assign(consumer: &BaseConsumer<Context>, list: &mut TopicPartitionList) -> KafkaResult<()> {
    list.set_all_offsets(Offset::Offset(0))?;
    consumer.incremental_assign(list)?;
    consumer.pause(list)
}
