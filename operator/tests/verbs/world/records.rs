//! Records and heartbeats that are made by hand, as a producer would send them.

use super::World;
use bson::{Document, doc};
use leafcutter_harness::record::{self, Made, changed, version};
use leafcutter_schemas::{
    control::{Control, Heartbeat, SnapshotComplete, SnapshotProgress},
    name,
    operation::Operation,
};
use rdkafka::producer::FutureRecord;
use std::time::{Duration, SystemTime};

impl World {
    /// Sends a record; gives its offset.
    pub(crate) async fn send(&mut self, partition: i32, record: &Made) -> i64 {
        let topic = self.topic(record.collection);
        let key = record.key.as_str().as_bytes();
        let sent = FutureRecord::to(&topic)
            .partition(partition)
            .key(key)
            .payload(&record.value);
        let sent = self
            .producer
            .send(sent, Duration::from_secs(20))
            .await
            .unwrap();
        let end = &mut self.ends.get_mut(&topic).unwrap()[usize::try_from(partition).unwrap()];
        *end = sent.offset + 1;
        sent.offset
    }

    /// Sends bytes that no producer makes.
    pub(crate) async fn send_bytes(&mut self, collection: &str, partition: i32, bytes: &[u8]) {
        let topic = self.topic(collection);
        let record = FutureRecord::to(&topic).partition(partition).key("k");
        let sent = self
            .producer
            .send(record.payload(bytes), Duration::from_secs(20))
            .await
            .unwrap();
        let end = &mut self.ends.get_mut(&topic).unwrap()[usize::try_from(partition).unwrap()];
        *end = sent.offset + 1;
    }

    /// Sends such bytes where the producer speaks to the consumers.
    pub(crate) async fn control_bytes(&self, bytes: &[u8]) {
        let topic = name::control_topic(&self.prefix);
        for key in [bytes, b"heartbeat"] {
            let record = FutureRecord::to(&topic).key(key).payload(bytes);
            self.producer
                .send(record, Duration::from_secs(20))
                .await
                .unwrap();
        }
    }

    /// Says that every snapshot is complete and that everything up to now is in Kafka.
    pub(crate) async fn complete(&self) {
        for collection in ["authors", "books"] {
            let topic = self.topic(collection);
            self.control(&Control::SnapshotComplete(SnapshotComplete {
                complete_time: version(1),
                documents: 1,
                ..record::snapshot_complete(collection, &topic, self.ends[&topic].clone())
            }))
            .await;
        }
        self.heartbeat(now() / 1000).await;
    }

    /// Says that everything up to this second is in Kafka.
    pub(crate) async fn heartbeat(&self, second: i64) {
        let progress = |collection: &str| SnapshotProgress {
            topic: self.topic(collection),
            documents_estimated: 40,
            documents_read: 10,
            splits_done: 1,
            splits: 4,
        };
        self.control(&Control::Heartbeat(Heartbeat {
            sent_at: now(),
            offsets: self.ends.clone(),
            snapshots: ["authors", "books"]
                .map(|c| (c.to_owned(), progress(c)))
                .into(),
            ..record::heartbeat(version(second << 31))
        }))
        .await;
    }

    async fn control(&self, control: &Control) {
        let topic = name::control_topic(&self.prefix);
        let (key, value) = (control.key(), control.value().unwrap());
        let record = FutureRecord::to(&topic).key(&key).payload(&value);
        self.producer
            .send(record, Duration::from_secs(20))
            .await
            .unwrap();
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// An author as the source had it at `second`.
pub(crate) fn author(id: i64, second: i64, name: impl Into<bson::Bson>) -> Made {
    made("authors", second, doc! { "_id": id, "name": name.into() })
}

/// One so large that nothing else is in what is fetched of Kafka with it.
pub(crate) fn large_author(id: i64, second: i64, name: &str) -> Made {
    let filler = "x".repeat(600_000);
    made(
        "authors",
        second,
        doc! { "_id": id, "name": name, "filler": filler },
    )
}

/// A book as the source had it at `second`.
pub(crate) fn book(id: i64, second: i64, title: impl Into<bson::Bson>, author: i64) -> Made {
    made(
        "books",
        second,
        doc! { "_id": id, "title": title.into(), "author_id": author },
    )
}

fn made(collection: &'static str, second: i64, document: Document) -> Made {
    changed(collection, Operation::Update, second << 31, document)
}
