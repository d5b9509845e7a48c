//! A database of its own with FinLit's tables, and records made by hand.

use bson::{Document, RawDocumentBuf, doc, oid::ObjectId};
use leafcutter_consumer::{
    assemble::Batch,
    dead_letter::DeadLetters,
    decode::{self, Record},
    model::Model,
    orphan::{ControlState, Progress},
    sink::{
        ApplyError,
        apply::{Applied, Applier},
        migrations,
        session::{self, Session},
        settle::{Patience, Settled},
        work::Outcome,
    },
    source::Delivery,
};
use leafcutter_runtime::{kafka::KafkaSettings, secret::Secret};
use leafcutter_schemas::{
    codec::avro,
    control::{Control, Heartbeat, SnapshotComplete},
    envelope::{Envelope, Source},
    key::DocumentKey,
    mapping::parse,
    name::dead_letter_topic,
    operation::Operation,
    version::Version,
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig as _,
    error::RDKafkaErrorCode,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_postgres::Config;
use uuid::Uuid;

pub(crate) const MAPPING: &str = include_str!("../../../schemas/examples/finlit/mapping.yaml");

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// One database and one applier on it.
pub(crate) struct World {
    pub(crate) model: Arc<Model>,
    pub(crate) applier: Applier,
    pub(crate) config: Config,
    admin: Config,
    database: String,
    next: BTreeMap<(usize, i32), i64>,
    epochs: BTreeMap<(usize, i32), i64>,
    letters: DeadLetters,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(MAPPING).await
    }

    /// A database with the tables of this mapping.
    pub(crate) async fn with(mapping: &str) -> Self {
        Self::prepared(mapping, "").await
    }

    /// A database in which this was done before the tables of the mapping were added.
    pub(crate) async fn prepared(mapping: &str, before: &str) -> Self {
        let uri = Secret::new(setting("LEAFCUTTER_POSTGRES_URI"));
        let admin = session::config(&uri).unwrap();
        let database = format!("apply_{}", Uuid::new_v4().simple());
        let client = session::connect(&admin, "test").await.unwrap();
        client
            .batch_execute(&format!("create database {database}"))
            .await
            .unwrap();
        let mut config = admin.clone();
        config.dbname(&database);
        let mapping = parse::load(mapping, "mapping.yaml")
            .unwrap_or_else(|faults| panic!("{faults}\nin\n{mapping}"));
        let model = Arc::new(Model::compile(mapping, "t").unwrap());
        let mut session = Session::open(&config, "test").await.unwrap();
        session.client().batch_execute(before).await.unwrap();
        migrations::migrate(&mut session, &model, true)
            .await
            .unwrap();
        let kafka = KafkaSettings::new(setting("LEAFCUTTER_KAFKA_BROKERS"));
        let letters = DeadLetters::new(&kafka, "test", "hash").unwrap();
        let applier = Applier::new(config.clone(), "test", "g", "c1", Arc::clone(&model));
        Self {
            model,
            applier,
            config,
            admin,
            database,
            next: BTreeMap::new(),
            epochs: BTreeMap::new(),
            letters,
        }
    }

    pub(crate) async fn end(mut self) {
        let client = session::connect(&self.admin, "test").await.unwrap();
        let drop = format!("drop database {} with (force)", self.database);
        client.batch_execute(&drop).await.unwrap();
        self.next.clear();
    }

    /// From now on another group applies records, from the first one on.
    pub(crate) fn as_group(&mut self, group: &str) {
        let model = Arc::clone(&self.model);
        self.applier = Applier::new(self.config.clone(), "test", group, "c2", model);
        self.epochs.clear();
        self.next.clear();
    }

    /// The last record of a collection was not applied: it comes again.
    pub(crate) fn again(&mut self, collection: &str) {
        let partition = (self.collection(collection), 0);
        *self.next.get_mut(&partition).unwrap() -= 1;
    }

    pub(crate) fn collection(&self, name: &str) -> usize {
        self.model
            .collections
            .iter()
            .position(|c| c.name == name)
            .unwrap()
    }

    async fn epoch(&mut self, partition: (usize, i32)) -> i64 {
        if let Some(epoch) = self.epochs.get(&partition) {
            return *epoch;
        }
        let (epoch, next) = self
            .applier
            .take_over(partition.0, partition.1)
            .await
            .unwrap();
        self.epochs.insert(partition, epoch);
        self.next.insert(partition, next);
        epoch
    }

    /// Applies the records as one batch.
    pub(crate) async fn apply(&mut self, records: &[Made]) -> Result<Applied, ApplyError> {
        let mut batch = Batch::default();
        for made in records {
            let collection = self.collection(made.collection);
            let partition = (collection, 0);
            let epoch = self.epoch(partition).await;
            batch.epochs.insert(partition, epoch);
            let next = self.next.get_mut(&partition).unwrap();
            let delivery = Delivery {
                collection,
                partition: 0,
                offset: *next,
                timestamp: None,
                key: made.key.as_str().as_bytes().to_vec(),
                value: Some(made.value.clone()),
                headers: None,
            };
            *next += 1;
            let prepared = decode::prepare(
                &self.model,
                collection,
                delivery.value.as_deref(),
                &mut batch.rows,
            );
            batch.records.push(Record { delivery, prepared });
        }
        let records = std::mem::take(&mut batch.records);
        let mut rows = std::mem::take(&mut batch.rows);
        let fences = batch.fences(&records);
        self.applier.apply(&records, &mut rows, &fences).await
    }

    /// Applies each record as a batch of its own; gives the outcomes.
    pub(crate) async fn each(&mut self, records: &[Made]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for record in records {
            let applied = self.apply(std::slice::from_ref(record)).await.unwrap();
            let counts = applied.counts.values().next().unwrap();
            outcomes.extend(Outcome::ALL.into_iter().filter(|o| counts.of(*o) > 0));
        }
        outcomes
    }

    pub(crate) async fn settle(&mut self) -> Settled {
        self.settle_with(for_long()).await
    }

    /// One round, of what is due by itself.
    pub(crate) async fn settle_due(&mut self) -> Settled {
        self.round(for_long()).await
    }

    /// One round, when the producer has just said that everything up to `time` is in the topics,
    /// and these records are all there is.
    pub(crate) async fn settle_at(&mut self, time: i64) -> Settled {
        let time = Version::from_i64(time).unwrap();
        let mut control = ControlState::default();
        let mut progress = Progress::new();
        let mut heartbeat = Heartbeat {
            producer: "p".into(),
            run: "r".into(),
            time,
            low_water: Version::ZERO,
            sent_at: 0,
            offsets: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            polled: false,
        };
        for (index, collection) in self.model.collections.iter().enumerate() {
            let next = self.next.get(&(index, 0)).copied().unwrap_or(0);
            let topic = &collection.topic;
            heartbeat.offsets.insert(topic.clone(), vec![next]);
            progress.insert(topic.clone(), BTreeMap::from([(0, next)]));
            control.take(Control::SnapshotComplete(SnapshotComplete {
                producer: "p".into(),
                run: "r".into(),
                collection: collection.name.clone(),
                topic: topic.clone(),
                offsets: vec![0],
                complete_time: Version::ZERO,
                documents: 0,
                snapshot: true,
            }));
        }
        control.take(Control::Heartbeat(heartbeat));
        let orphan_after = Duration::ZERO;
        self.settle_with(Patience {
            orphan_after,
            control,
            progress,
        })
        .await
    }

    async fn settle_with(&mut self, patience: Patience) -> Settled {
        // Everything is due at once.
        self.execute("update leafcutter.parked set tried_at = now() - interval '1 hour'")
            .await;
        self.round(patience).await
    }

    async fn round(&mut self, patience: Patience) -> Settled {
        let model = Arc::clone(&self.model);
        let mut settled = self
            .applier
            .settle_parked(&model, &patience, &self.letters)
            .await
            .unwrap();
        settled.let_go = self.applier.settle_held(&model, &patience).await.unwrap();
        settled
    }

    /// Settles as if everything was applied that could ever come, and nothing had to be waited for.
    pub(crate) async fn settle_at_once(&mut self) {
        self.create_dead_letter_topics().await;
        // What waits for a document that is given up has its turn in the next round.
        while self.settle_at(1_000_000).await.more {}
    }

    pub(crate) async fn create_dead_letter_topics(&self) {
        let kafka = KafkaSettings::new(setting("LEAFCUTTER_KAFKA_BROKERS"));
        let config = kafka.admin_config("test").unwrap();
        let admin: AdminClient<DefaultClientContext> = AdminClient::from_config(&config).unwrap();
        let topics = self.model.collections.iter().map(|c| &c.topic);
        let names: Vec<String> = topics.map(|topic| dead_letter_topic(topic)).collect();
        let new = names
            .iter()
            .map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1)));
        let new: Vec<NewTopic<'_>> = new.collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        for result in admin.create_topics(&new, &options).await.unwrap() {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let client = session::connect(&self.config, "test").await.unwrap();
        client.execute(sql, &[]).await.unwrap()
    }

    /// Executes several statements.
    pub(crate) async fn execute_all(&self, sql: &str) {
        let client = session::connect(&self.config, "test").await.unwrap();
        client.batch_execute(sql).await.unwrap();
    }

    /// The one text that a query gives; lists are joined in order.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let client = session::connect(&self.config, "test").await.unwrap();
        let rows = client.simple_query(sql).await.unwrap();
        let mut lines = Vec::new();
        for message in rows {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let cells: Vec<_> = (0..row.len())
                    .map(|i| row.get(i).unwrap_or("null").to_owned())
                    .collect();
                lines.push(cells.join("|"));
            }
        }
        lines.join(" ")
    }
}

/// A record made by hand.
#[derive(Clone)]
pub(crate) struct Made {
    collection: &'static str,
    key: DocumentKey,
    value: Vec<u8>,
}

impl Made {
    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }
}

pub(crate) fn id(number: u8) -> ObjectId {
    ObjectId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number])
}

fn made(
    collection: &'static str,
    operation: Operation,
    version: i64,
    key: &Document,
    document: Option<&Document>,
) -> Made {
    let version = Version::from_i64(version).unwrap();
    let key = RawDocumentBuf::try_from(key).unwrap();
    let document = document.map(|d| RawDocumentBuf::try_from(d).unwrap());
    let mut value = Vec::new();
    let envelope = Envelope {
        operation,
        key: key.as_bytes(),
        document: document.as_ref().map(|d| d.as_bytes()),
        version,
        as_of: version,
        source: Source {
            database: "finlit",
            collection,
            cluster_time: version,
            wall_time: None,
            snapshot: operation == Operation::Read,
            transaction: None,
        },
        run: "test",
    };
    avro::encode(&envelope, &mut value);
    Made {
        collection,
        key: DocumentKey::of_document(&key).unwrap(),
        value,
    }
}

pub(crate) fn put(collection: &'static str, version: i64, document: Document) -> Made {
    let key = doc! { "_id": document.get("_id").unwrap().clone() };
    made(
        collection,
        Operation::Replace,
        version,
        &key,
        Some(&document),
    )
}

pub(crate) fn delete(collection: &'static str, version: i64, number: u8) -> Made {
    delete_by(collection, version, id(number))
}

pub(crate) fn delete_by(collection: &'static str, version: i64, id: impl Into<bson::Bson>) -> Made {
    let key = doc! { "_id": id.into() };
    made(collection, Operation::Delete, version, &key, None)
}

pub(crate) fn learner(version: i64, number: u8, email: &str) -> Made {
    put(
        "learners",
        version,
        doc! { "_id": id(number), "email": email, "profile": { "has_ssn": true } },
    )
}

pub(crate) fn component(version: i64, number: u8, parent: Option<u8>) -> Made {
    let slug = format!("kc-{number}");
    let mut document = doc! { "_id": id(number), "slug": &slug, "name": &slug };
    if let Some(parent) = parent {
        document.insert("parent_kc_id", id(parent));
    }
    put("knowledge_components", version, document)
}

pub(crate) fn progress(version: i64, number: u8, learner: u8) -> Made {
    let day = bson::DateTime::from_millis(1_736_899_200_000);
    put(
        "daily_progress",
        version,
        doc! { "_id": id(number), "learner_id": id(learner), "date": day },
    )
}

/// Nothing is given up for long, and nothing is known of the source.
fn for_long() -> Patience {
    Patience {
        orphan_after: Duration::from_secs(3600),
        control: ControlState::default(),
        progress: Progress::new(),
    }
}
