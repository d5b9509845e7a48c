//! A database of its own with the tables of `mapping.yaml`, consumers on it, and records by hand.

use bson::{Document, RawDocumentBuf, doc};
use leafcutter_consumer::{
    assemble::Batch,
    dead_letter::DeadLetters,
    decode::{self, Record},
    model::Model,
    orphan::{ControlState, Progress},
    sink::{
        ApplyError,
        apply::{Applied, Applier},
        fence::Fence,
        migrations,
        session::{self, Session},
        settle::{Patience, Settled},
    },
    source::Delivery,
    transform::Rows,
};
use leafcutter_runtime::{kafka::KafkaSettings, secret::Secret};
use leafcutter_schemas::{
    codec::avro,
    control::{Control, Heartbeat, SnapshotComplete},
    envelope::{Envelope, Source},
    key::DocumentKey,
    mapping::parse,
    operation::Operation,
    version::Version,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_postgres::{Client, Config, SimpleQueryMessage, error::SqlState};
use uuid::Uuid;

/// The group of every consumer here.
pub(crate) const GROUP: &str = "g";
/// Attempts that the writer gives a batch whose target changes under it.
const AGAIN_MAX: usize = 8;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// A table of the mapping, by its collection's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    Parents = 0,
    Children = 1,
    Nodes = 2,
    Masters = 3,
    Servants = 4,
    Friends = 5,
    Boxes = 6,
    Clubs = 7,
    Tickets = 8,
    Days = 9,
}

impl Table {
    pub(crate) const ALL: [Self; 10] = [
        Self::Parents,
        Self::Children,
        Self::Nodes,
        Self::Masters,
        Self::Servants,
        Self::Friends,
        Self::Boxes,
        Self::Clubs,
        Self::Tickets,
        Self::Days,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parents => "parents",
            Self::Children => "children",
            Self::Nodes => "nodes",
            Self::Masters => "masters",
            Self::Servants => "servants",
            Self::Friends => "friends",
            Self::Boxes => "boxes",
            Self::Clubs => "clubs",
            Self::Tickets => "tickets",
            Self::Days => "days",
        }
    }

    pub(crate) fn of_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|t| t.name() == name).unwrap()
    }
}

/// One database.
pub(crate) struct World {
    pub(crate) model: Arc<Model>,
    pub(crate) config: Config,
    admin: Config,
    database: String,
    letters: DeadLetters,
    client: Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        let uri = Secret::new(setting("LEAFCUTTER_POSTGRES_URI"));
        let admin = session::config(&uri).unwrap();
        let database = format!("protocol_{}", Uuid::new_v4().simple());
        let client = session::connect(&admin, "test").await.unwrap();
        let create = format!("create database {database}");
        client.batch_execute(&create).await.unwrap();
        let mut config = admin.clone();
        // A server that stops is not what these tests are about.
        config
            .dbname(&database)
            .options("-c synchronous_commit=off");
        let mapping = parse::load(include_str!("mapping.yaml"), "mapping.yaml").unwrap();
        let model = Arc::new(Model::compile(mapping, "t").unwrap());
        let mut session = Session::open(&config, "test").await.unwrap();
        migrations::migrate(&mut session, &model, true)
            .await
            .unwrap();
        let kafka = KafkaSettings::new(setting("LEAFCUTTER_KAFKA_BROKERS"));
        let letters = DeadLetters::new(&kafka, "test", "hash").unwrap();
        let client = session::connect(&config, "test").await.unwrap();
        Self {
            model,
            config,
            admin,
            database,
            letters,
            client,
        }
    }

    pub(crate) async fn end(self) {
        let client = session::connect(&self.admin, "test").await.unwrap();
        let drop = format!("drop database {} with (force)", self.database);
        client.batch_execute(&drop).await.unwrap();
    }

    /// A consumer with a session of its own and no partitions yet.
    pub(crate) fn consumer(&self, name: &str) -> Consumer {
        self.consumer_through(self.config.clone(), name)
    }

    /// A consumer that reaches the database another way.
    pub(crate) fn consumer_through(&self, config: Config, name: &str) -> Consumer {
        let model = Arc::clone(&self.model);
        Consumer {
            applier: Applier::new(config, name, GROUP, name, Arc::clone(&model)),
            model,
            letters: self.letters.clone(),
            epochs: BTreeMap::new(),
            next: BTreeMap::new(),
        }
    }

    pub(crate) fn topic(&self, table: Table) -> &str {
        &self.model.collections[table as usize].topic
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// All rows that a query gives, as text: cells joined by `|`, rows by a space.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let rows = self.rows(sql).await;
        let lines: Vec<_> = rows.iter().map(|cells| cells.join("|")).collect();
        lines.join(" ")
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.text(sql).await.parse().unwrap()
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let messages = self.client.simple_query(sql).await.unwrap();
        let mut rows = Vec::new();
        for message in messages {
            if let SimpleQueryMessage::Row(row) = message {
                let cell = |i| row.get(i).unwrap_or("null").to_owned();
                rows.push((0..row.len()).map(cell).collect());
            }
        }
        rows
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        for _ in 0..2_000 {
            if is_so().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited for ten seconds");
    }

    /// Whether so many records were counted, each once, and what waits is what is parked.
    pub(crate) async fn accounts(&self, records: i64) -> Result<(), String> {
        let counted = self
            .text(
                "select coalesce(sum(applied + unchanged + stale + deleted + held + filtered \
                 + parked + ignored + dead_lettered), 0), coalesce(sum(next_offset), 0) \
                 from leafcutter.offsets",
            )
            .await;
        if counted != format!("{records}|{records}") {
            return Err(format!("{records} records arrived, {counted} were counted"));
        }
        let wrong = self
            .text(
                "select * from (select o.topic, o.partition, o.parked \
                 - coalesce((select sum(s.applied + s.stale) from leafcutter.settled s \
                 where s.topic = o.topic and s.partition = o.partition), 0) as counted, \
                 (select count(*) from leafcutter.parked p \
                 where p.topic = o.topic and p.partition = o.partition and not p.incomplete) as there \
                 from leafcutter.offsets o) as n where counted <> there",
            )
            .await;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("counted as parked, and rows parked: {wrong}"))
        }
    }
}

/// One consumer: an applier and the partitions it took over.
pub(crate) struct Consumer {
    pub(crate) applier: Applier,
    model: Arc<Model>,
    letters: DeadLetters,
    epochs: BTreeMap<(usize, i32), i64>,
    next: BTreeMap<(usize, i32), i64>,
}

/// A batch that can be attempted several times.
pub(crate) struct Prepared {
    records: Vec<Record>,
    rows: Rows,
    pub(crate) fences: Vec<Fence>,
}

impl Consumer {
    pub(crate) async fn take_over(&mut self, table: Table, partition: i32) {
        let key = (table as usize, partition);
        let (epoch, next) = self.applier.take_over(key.0, partition).await.unwrap();
        self.trust(table, partition, epoch, next);
    }

    /// Takes it as given that the partition is owned and where it stands.
    pub(crate) fn trust(&mut self, table: Table, partition: i32, epoch: i64, next: i64) {
        self.epochs.insert((table as usize, partition), epoch);
        self.next.insert((table as usize, partition), next);
    }

    /// A batch of these records, read from where the partitions stand.
    pub(crate) fn prepare(&self, records: &[(i32, Made)]) -> Prepared {
        let mut batch = Batch {
            epochs: self.epochs.clone(),
            ..Batch::default()
        };
        let mut next = self.next.clone();
        for (partition, made) in records {
            let collection = made.table as usize;
            let offset = next.get_mut(&(collection, *partition)).unwrap();
            let delivery = Delivery {
                collection,
                partition: *partition,
                offset: *offset,
                timestamp: None,
                key: made.key.as_str().as_bytes().to_vec(),
                value: Some(made.value.clone()),
                headers: None,
            };
            *offset += 1;
            let value = delivery.value.as_deref();
            let prepared = decode::prepare(&self.model, collection, value, &mut batch.rows);
            batch.records.push(Record { delivery, prepared });
        }
        let records = std::mem::take(&mut batch.records);
        let fences = batch.fences(&records);
        Prepared {
            records,
            rows: std::mem::take(&mut batch.rows),
            fences,
        }
    }

    /// One attempt at a batch; the positions move on only if it succeeds.
    pub(crate) async fn attempt(&mut self, batch: &mut Prepared) -> Result<Applied, ApplyError> {
        let applied = self
            .applier
            .apply(&batch.records, &mut batch.rows, &batch.fences)
            .await?;
        for fence in &batch.fences {
            self.next
                .insert((fence.collection, fence.partition), fence.next);
        }
        Ok(applied)
    }

    /// One attempt at these records as one batch.
    pub(crate) async fn apply(&mut self, records: &[(i32, Made)]) -> Result<Applied, ApplyError> {
        let mut batch = self.prepare(records);
        self.attempt(&mut batch).await
    }

    /// Tries as the writer does: at once where the target changed, so many times, and for ever
    /// where a connection or a deadlock was lost.
    pub(crate) async fn insist(&mut self, records: &[(i32, Made)], tries: &mut Tries) -> Applied {
        let mut batch = self.prepare(records);
        let mut again = 0;
        loop {
            match self.attempt(&mut batch).await {
                Ok(applied) => {
                    tries.known_before += usize::from(applied.committed_before);
                    tries.again = tries.again.max(again);
                    return applied;
                }
                Err(ApplyError::Again(_)) if again < AGAIN_MAX => again += 1,
                Err(error) => tries.note(&error),
            }
        }
    }

    pub(crate) async fn settle_parked(&mut self) -> Result<Settled, ApplyError> {
        let model = Arc::clone(&self.model);
        let patience = no_end(&model);
        self.applier
            .settle_parked(&model, &patience, &self.letters)
            .await
    }

    pub(crate) async fn settle_held(&mut self) -> Result<u64, ApplyError> {
        let model = Arc::clone(&self.model);
        let patience = no_end(&model);
        self.applier.settle_held(&model, &patience).await
    }

    /// Settles until nothing moves any more. Every round may look at everything at once.
    pub(crate) async fn settle(&mut self, world: &World) -> Result<(), ApplyError> {
        for _ in 0..100 {
            world
                .execute("update leafcutter.parked set tried_at = '-infinity'")
                .await;
            let mut moved = 0;
            // Rounds over held rows take some at a time.
            for _ in 0..3 {
                moved += self.settle_held().await?;
            }
            loop {
                let settled = self.settle_parked().await?;
                moved += u64::try_from(settled.placed).unwrap();
                if !settled.more {
                    break;
                }
            }
            if moved == 0 {
                return Ok(());
            }
        }
        panic!("it settles and settles");
    }
}

/// All that ever happened is applied, and nothing is given up.
fn no_end(model: &Model) -> Patience {
    let mut control = ControlState::default();
    let mut heartbeat = Heartbeat {
        producer: "p".into(),
        run: "r".into(),
        time: Version::from_i64(i64::MAX).unwrap(),
        low_water: Version::ZERO,
        sent_at: 0,
        polled: false,
        offsets: BTreeMap::new(),
        snapshots: BTreeMap::new(),
    };
    for collection in &model.collections {
        let topic = &collection.topic;
        heartbeat.offsets.insert(topic.clone(), Vec::new());
        control.take(Control::SnapshotComplete(SnapshotComplete {
            producer: "p".into(),
            run: "r".into(),
            collection: collection.name.clone(),
            topic: topic.clone(),
            offsets: Vec::new(),
            complete_time: Version::ZERO,
            documents: 0,
            snapshot: true,
        }));
    }
    control.take(Control::Heartbeat(heartbeat));
    Patience {
        orphan_after: Duration::from_secs(3600),
        control,
        progress: Progress::new(),
    }
}

/// How often batches had to be tried.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    /// Times that a batch's target changed under it, at most.
    pub(crate) again: usize,
    /// Deadlocks that PostgreSQL ended.
    pub(crate) deadlocks: usize,
    /// Connections that went away.
    pub(crate) lost: usize,
    /// Batches that turned out to be committed already.
    pub(crate) known_before: usize,
}

impl Tries {
    /// Notes an error that passes; any other is one too many.
    pub(crate) fn note(&mut self, error: &ApplyError) {
        let ApplyError::Transient { source, .. } = error else {
            panic!("{error:?}");
        };
        let source = source.downcast_ref::<tokio_postgres::Error>();
        match source.and_then(|e| e.code()).map(SqlState::code) {
            Some("40P01") => self.deadlocks += 1,
            None | Some("57P01") => self.lost += 1,
            Some(state) => panic!("{state}: {error:?}"),
        }
    }
}

/// A record made by hand.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) table: Table,
    key: DocumentKey,
    value: Vec<u8>,
}

/// A record of this operation; `fields` are the document's beside its `_id`.
pub(crate) fn made(
    table: Table,
    operation: Operation,
    version: i64,
    id: i64,
    fields: Option<Document>,
) -> Made {
    let version = Version::from_i64(version).unwrap();
    let key = RawDocumentBuf::try_from(&doc! { "_id": id }).unwrap();
    let document = fields.map(|fields| {
        let mut document = doc! { "_id": id };
        document.extend(fields);
        RawDocumentBuf::try_from(&document).unwrap()
    });
    let mut value = Vec::new();
    let envelope = Envelope {
        operation,
        key: key.as_bytes(),
        document: document.as_ref().map(|d| d.as_bytes()),
        version,
        as_of: version,
        source: Source {
            database: "family",
            collection: table.name(),
            cluster_time: version,
            wall_time: None,
            snapshot: operation == Operation::Read,
            transaction: None,
        },
        run: "test",
    };
    avro::encode(&envelope, &mut value);
    Made {
        table,
        key: DocumentKey::of_document(&key).unwrap(),
        value,
    }
}

pub(crate) fn put(table: Table, version: i64, id: i64, fields: Document) -> Made {
    made(table, Operation::Replace, version, id, Some(fields))
}

pub(crate) fn delete(table: Table, version: i64, id: i64) -> Made {
    made(table, Operation::Delete, version, id, None)
}

/// A parent, with its version as its note.
pub(crate) fn parent(version: i64, id: i64) -> Made {
    put(Table::Parents, version, id, doc! { "note": version })
}

/// A child, with its version as its note.
pub(crate) fn child(version: i64, id: i64, parent: i64) -> Made {
    put(
        Table::Children,
        version,
        id,
        doc! { "note": version, "parent_id": parent },
    )
}

/// The same records, all in this partition.
pub(crate) fn at(partition: i32, records: impl IntoIterator<Item = Made>) -> Vec<(i32, Made)> {
    records.into_iter().map(|made| (partition, made)).collect()
}
