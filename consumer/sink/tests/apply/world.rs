//! A database of its own with FinLit's tables, and records made by hand.

use crate::database::{self, Database, told};
use bson::{doc, oid::ObjectId};
pub(crate) use leafcutter_harness::record::{Made, delete as delete_by, put, read};
use leafcutter_harness::rows::Rows as Found;
use leafcutter_sink::{
    ApplyError,
    batch::{Applied, BatchWriter, Fence},
    change::{Counts, Outcome, Record},
    connection::Connection,
    ids::{CollectionId, Generation, Partition},
    isolate::{AfterError, Isolated, Parts},
    model::Model,
    orphan::{ControlState, Progress},
    retry::{Retried, Retrier},
    session::{self, Config},
    settle::{OrphanPolicy, Settler},
    transform::Rows,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(crate) const MAPPING: &str = include_str!("../../../../schemas/examples/finlit/mapping.yaml");

/// What a round of the settler did.
pub(crate) struct Settled {
    pub(crate) placed: usize,
    /// Documents that were given up.
    pub(crate) decided: usize,
    /// Held rows that were deleted.
    pub(crate) let_go: u64,
    pub(crate) more: bool,
    /// The most bytes of records that one of its transactions took up.
    pub(crate) bytes_max: usize,
}

/// One database and one consumer on it.
pub(crate) struct World {
    pub(crate) model: Arc<Model>,
    pub(crate) writer: BatchWriter,
    pub(crate) settler: Settler,
    pub(crate) config: Config,
    next: BTreeMap<Partition, i64>,
    epochs: BTreeMap<Partition, i64>,
    _database: Database,
}

fn consumer(config: &Config, group: &str, model: &Arc<Model>) -> (BatchWriter, Settler) {
    database::consumer(config, group, group, model)
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(MAPPING).await
    }

    /// A database with the tables of this mapping.
    pub(crate) async fn with(mapping: &str) -> Self {
        Self::prepared(mapping, "").await
    }

    /// A database whose tables get their foreign keys when they are filled.
    pub(crate) async fn loading(mapping: &str) -> Self {
        Self::on(Database::loading("apply", mapping).await)
    }

    /// A database in which this was done before the tables of the mapping were added.
    pub(crate) async fn prepared(mapping: &str, before: &str) -> Self {
        Self::on(Database::create("apply", mapping, before).await)
    }

    fn on(database: Database) -> Self {
        let (model, config) = (Arc::clone(&database.model), database.config.clone());
        let (writer, settler) = consumer(&config, "g", &model);
        Self {
            model,
            writer,
            settler,
            config,
            next: BTreeMap::new(),
            epochs: BTreeMap::new(),
            _database: database,
        }
    }

    /// Consumers stop after so many records in a row that cannot be applied.
    pub(crate) fn with_breaker(&mut self, limit: u32) {
        let (writer, _) = consumer(&self.config, "g", &self.model);
        self.writer = writer.with_breaker(limit);
    }

    /// A consumer begins anew on other sessions, and keeps the partitions.
    pub(crate) fn reconnect(&mut self) {
        (self.writer, self.settler) = consumer(&self.config, "g", &self.model);
    }

    /// From now on this is the mapping, for the tables that are there.
    pub(crate) fn remap(&mut self, mapping: &str) {
        self.model = database::model(mapping);
        self.reconnect();
    }

    /// From now on rows are written as this user.
    pub(crate) fn as_user(&mut self, user: &str, password: &str) {
        let mut config = self.config.clone();
        config.user(user).password(password);
        (self.writer, self.settler) = consumer(&config, "g", &self.model);
    }

    /// From now on another group applies records, from the first one on.
    pub(crate) fn as_group(&mut self, group: &str) {
        (self.writer, self.settler) = consumer(&self.config, group, &self.model);
        self.epochs.clear();
        self.next.clear();
    }

    /// The last record of a collection was not applied: it comes again.
    pub(crate) fn again(&mut self, collection: &str) {
        let partition = self.partition(collection);
        *self.next.get_mut(&partition).unwrap() -= 1;
    }

    pub(crate) fn collection(&self, name: &str) -> CollectionId {
        let mut ids = self.model.collection_ids();
        ids.find(|&id| self.model.collection(id).name == name)
            .unwrap()
    }

    /// The one partition of a collection.
    fn partition(&self, collection: &str) -> Partition {
        Partition {
            collection: self.collection(collection),
            number: 0,
        }
    }

    async fn own(&mut self, partition: Partition) {
        if !self.epochs.contains_key(&partition) {
            let connection = self.writer.connection();
            let position = connection.take_over(partition).await.unwrap().position;
            self.epochs.insert(partition, position.epoch);
            self.next.insert(partition, position.next);
        }
    }

    /// Applies the records as one batch.
    pub(crate) async fn apply(&mut self, records: &[Made]) -> Result<Applied, ApplyError> {
        let (batch, mut rows) = self.batch(records).await;
        let fences = Fence::of(&batch, &self.epochs);
        self.writer.apply(&batch, &mut rows, &fences).await
    }

    /// Applies the records as the consumer's writer does, with a topic that takes every dead letter: in halves
    /// where one of them is refused.
    pub(crate) async fn write(&mut self, records: &[Made]) {
        self.isolated(records).await;
    }

    /// Applies the records as one batch and isolates what cannot be applied, as the consumer does; gives
    /// the counts of all transactions, and how many attempts failed.
    pub(crate) async fn isolated(&mut self, records: &[Made]) -> (Counts, usize) {
        let (batch, mut rows) = self.batch(records).await;
        let mut parts = Parts::of(batch);
        let (mut counts, mut failed) = (Counts::default(), 0);
        while let Some(part) = parts.next_part() {
            let fences = Fence::of(&part, &self.epochs);
            let mut attempts = parts.attempts(&part);
            loop {
                let error = match self.writer.apply(&part, &mut rows, &fences).await {
                    Ok(applied) => {
                        applied.counts.values().for_each(|own| counts.merge(own));
                        break;
                    }
                    Err(error) => error,
                };
                failed += 1;
                match attempts.after(error) {
                    AfterError::AtOnce | AfterError::AfterPause(ApplyError::Doubtful(_)) => {}
                    AfterError::Isolate(reason) => {
                        let told = format!("{reason:?}");
                        assert_eq!(parts.isolate(part, reason), Isolated::Narrowed, "{told}");
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        (counts, failed)
    }

    /// Tries the dead letter of a record again that stood at this offset.
    pub(crate) async fn retry(&mut self, made: &Made, offset: i64) -> Retried {
        let (mut batch, mut rows) = self.batch(std::slice::from_ref(made)).await;
        self.again(made.collection);
        batch[0].delivery.origin.offset = offset;
        let model = Arc::clone(&self.model);
        let connection = Connection::new(
            self.config.clone(),
            "test",
            "g",
            "person",
            (model, Generation::NONE),
        );
        let mut retrier = Retrier::new(connection);
        let retried = retrier.retry(&batch, &mut rows, false).await;
        retried.unwrap().remove(0)
    }

    async fn batch(&mut self, records: &[Made]) -> (Vec<Record>, Rows) {
        for made in records {
            self.own(self.partition(made.collection)).await;
        }
        let placed = records
            .iter()
            .map(|made| (self.partition(made.collection), made));
        let placed: Vec<_> = placed.collect();
        database::batch(&self.model, &mut self.next, placed)
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
        let of = |collection| Partition {
            collection,
            number: 0,
        };
        let next = |collection| self.next.get(&of(collection)).copied().unwrap_or(0);
        let control = told(&self.model, time, |collection| vec![next(collection)]);
        let progress = self.model.collection_ids().map(|collection| {
            let topic = self.model.collection(collection).topic.clone();
            (topic, BTreeMap::from([(0, next(collection))]))
        });
        let progress: Progress = progress.collect();
        let orphan_after = Duration::ZERO;
        self.settle_with(OrphanPolicy {
            orphan_after,
            control,
            progress,
        })
        .await
    }

    async fn settle_with(&mut self, policy: OrphanPolicy) -> Settled {
        // Everything is due at once.
        self.execute("update leafcutter.parked set tried_at = now() - interval '1 hour'")
            .await;
        self.round(policy).await
    }

    /// As the consumer does it, with a topic that takes every dead letter.
    async fn round(&mut self, policy: OrphanPolicy) -> Settled {
        let settled = self.settler.settle_parked(&policy).await.all().unwrap();
        let decided = self.settler.give_up(&settled.due).await.unwrap();
        let decided = usize::try_from(decided).unwrap();
        Settled {
            placed: settled.placed,
            decided,
            let_go: self.settler.settle_held(&policy).await.unwrap(),
            more: settled.more || decided > 0,
            bytes_max: settled.bytes_max,
        }
    }

    /// Settles as if everything was applied that could ever come, and nothing had to be waited for.
    pub(crate) async fn settle_at_once(&mut self) {
        // What waits for a document that is given up has its turn in the next round.
        while self.settle_at(1_000_000).await.more {}
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

    /// The rows that a query gives.
    pub(crate) async fn rows(&self, sql: &str) -> Found {
        let client = session::connect(&self.config, "test").await.unwrap();
        Found::of(&client, sql).await.unwrap()
    }

    /// The same as one text: `|` between values, a space between rows.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.rows(sql).await.text()
    }

    /// How many rows a table has, or those of it that a condition names.
    pub(crate) async fn count(&self, table: &str) -> usize {
        let sql = format!("select count(*) from {table}");
        self.rows(&sql).await.only().parse().unwrap()
    }
}

pub(crate) fn id(number: u8) -> ObjectId {
    ObjectId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number])
}

pub(crate) fn delete(collection: &'static str, version: i64, number: u8) -> Made {
    delete_by(collection, version, id(number))
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
fn for_long() -> OrphanPolicy {
    OrphanPolicy {
        orphan_after: Duration::from_secs(3600),
        control: ControlState::default(),
        progress: Progress::new(),
    }
}
