//! A database of its own with the tables of `mapping.yaml`, consumers on it, and records by hand.

use crate::database::{self, Database, told};
use bson::{Bson, Document, doc};
use leafcutter_harness::{probe, record, rows::Rows as Found};
use leafcutter_schemas::operation::Operation;
use leafcutter_sink::{
    ApplyError,
    batch::{Applied, BatchWriter, Fence},
    change::Record,
    ids::{CollectionId, Partition},
    model::Model,
    orphan::Progress,
    session::{self, Config, Session},
    settle::{OrphanPolicy, Settled, Settler},
    state::{deferred_constraints, offsets::Position},
    target::deferred,
    transform::Rows,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_postgres::{Client, error::SqlState};

pub(crate) use leafcutter_harness::record::Made;

const MAPPING: &str = include_str!("mapping.yaml");
/// The group of every consumer here.
pub(crate) const GROUP: &str = "g";
/// Attempts that the writer gives a batch whose target changes under it.
const AGAIN_MAX: usize = 8;

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
    Twins = 10,
    Followers = 11,
}

impl Table {
    pub(crate) const ALL: [Self; 12] = [
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
        Self::Twins,
        Self::Followers,
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
            Self::Twins => "twins",
            Self::Followers => "followers",
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
    client: Client,
    _database: Database,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Database::create("protocol", MAPPING, "").await).await
    }

    /// One whose tables get their foreign keys later.
    pub(crate) async fn loading() -> Self {
        Self::on(Database::loading("protocol", MAPPING).await).await
    }

    async fn on(database: Database) -> Self {
        let mut config = database.config.clone();
        // A server that stops is not what these tests are about.
        config.options("-c synchronous_commit=off");
        let client = session::connect(&config, "test").await.unwrap();
        Self {
            model: Arc::clone(&database.model),
            config,
            client,
            _database: database,
        }
    }

    /// Adds the foreign keys that are not there yet, and proves them.
    pub(crate) async fn add_foreign_keys(&self) -> Result<(), String> {
        let mut session = Session::open(&self.config, "test").await.unwrap();
        loop {
            let rows = deferred_constraints::rows(&mut session).await.unwrap();
            let Some(row) = rows.first() else {
                return Ok(());
            };
            let done = deferred::step(&mut session, row).await;
            done.map_err(|error| format!("{} {}: {error:?}", row.table, row.name))?;
        }
    }

    /// Another session on the same database.
    pub(crate) async fn beside(&self) -> Beside {
        Beside(session::connect(&self.config, "beside").await.unwrap())
    }

    /// A consumer with a session of its own and no partitions yet.
    pub(crate) fn consumer(&self, name: &str) -> Consumer {
        self.consumer_through(self.config.clone(), name)
    }

    /// A consumer that reaches the database another way.
    pub(crate) fn consumer_through(&self, config: Config, name: &str) -> Consumer {
        let (writer, settler) = database::consumer(&config, name, GROUP, &self.model);
        Consumer {
            writer: Box::new(writer),
            settler: Box::new(settler),
            model: Arc::clone(&self.model),
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

    /// The rows that a query gives.
    pub(crate) async fn rows(&self, sql: &str) -> Found {
        Found::of(&self.client, sql).await.unwrap()
    }

    /// All rows that a query gives, as text: cells joined by `|`, rows by a space.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.rows(sql).await.text()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.rows(sql).await.only().parse().unwrap()
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let seen = probe::until(Duration::from_secs(10), "what is waited for", async || {
            Ok(is_so().await.then_some(()))
        });
        seen.await.unwrap();
    }

    /// Whether so many records were counted as stale: what is parked is part of what is stored.
    pub(crate) async fn stale(&self, records: usize) -> Result<(), String> {
        let counted = self.text("select sum(stale) from leafcutter.offsets").await;
        if counted == records.to_string() {
            return Ok(());
        }
        Err(format!(
            "{records} records were stale, {counted} were counted"
        ))
    }

    /// Whether so many records were counted, each once, and what waits was counted as parked.
    pub(crate) async fn accounts(&self, records: i64) -> Result<(), String> {
        let counted = self
            .text(
                "select coalesce(sum(applied + unchanged + stale + deleted + held + filtered \
                 + parked + suppressed + ignored + dead_lettered), 0), coalesce(sum(next_offset), 0) \
                 from leafcutter.offsets",
            )
            .await;
        if counted != format!("{records}|{records}") {
            return Err(format!("{records} records arrived, {counted} were counted"));
        }
        let wrong = self
            .text(
                "select * from (select o.topic, o.partition, o.parked as counted, \
                 (select count(*) from leafcutter.parked p \
                 where p.topic = o.topic and p.partition = o.partition and not p.incomplete) as there \
                 from leafcutter.offsets o) as n where counted < there",
            )
            .await;
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("counted as parked, and rows parked: {wrong}"))
        }
    }
}

/// Another session on a world's database.
pub(crate) struct Beside(Client);

impl Beside {
    pub(crate) async fn execute(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let found = Found::of(&self.0, sql).await.unwrap();
        found.only().parse().unwrap()
    }
}

/// One consumer, and the partitions it took over.
pub(crate) struct Consumer {
    // Boxed, since consumers are moved into futures.
    writer: Box<BatchWriter>,
    settler: Box<Settler>,
    model: Arc<Model>,
    epochs: BTreeMap<Partition, i64>,
    next: BTreeMap<Partition, i64>,
}

/// A partition of a table's collection.
pub(crate) fn partition(table: Table, number: i32) -> Partition {
    Partition {
        collection: CollectionId(table as usize),
        number,
    }
}

/// A batch that can be attempted several times.
pub(crate) struct Prepared {
    records: Vec<Record>,
    rows: Rows,
    pub(crate) fences: Vec<Fence>,
}

impl Consumer {
    pub(crate) async fn take_over(&mut self, table: Table, partition: i32) {
        let position = self.take_over_now(table, partition).await.unwrap();
        self.trust(table, partition, position.epoch, position.next);
    }

    /// One attempt at it; nothing is noted here.
    pub(crate) async fn take_over_now(
        &mut self,
        table: Table,
        number: i32,
    ) -> Result<Position, ApplyError> {
        let connection = self.writer.connection();
        let taken = connection.take_over(partition(table, number)).await?;
        Ok(taken.position)
    }

    /// Takes it as given that the partition is owned and where it stands.
    pub(crate) fn trust(&mut self, table: Table, number: i32, epoch: i64, next: i64) {
        self.epochs.insert(partition(table, number), epoch);
        self.next.insert(partition(table, number), next);
    }

    /// A batch of these records, read from where the partitions stand.
    pub(crate) fn prepare(&self, records: &[(i32, Made)]) -> Prepared {
        let placed = records
            .iter()
            .map(|(number, made)| (partition(Table::of_name(made.collection), *number), made));
        let (records, rows) = database::batch(&self.model, &mut self.next.clone(), placed);
        let fences = Fence::of(&records, &self.epochs);
        Prepared {
            records,
            rows,
            fences,
        }
    }

    /// One attempt at a batch; the positions move on only if it succeeds.
    pub(crate) async fn attempt(&mut self, batch: &mut Prepared) -> Result<Applied, ApplyError> {
        let applied = self
            .writer
            .apply(&batch.records, &mut batch.rows, &batch.fences)
            .await?;
        for fence in &batch.fences {
            self.next.insert(fence.partition, fence.next);
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
        let policy = no_end(&self.model);
        self.settler.settle_parked(&policy).await.all()
    }

    pub(crate) async fn settle_held(&mut self) -> Result<u64, ApplyError> {
        let policy = no_end(&self.model);
        self.settler.settle_held(&policy).await
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
fn no_end(model: &Model) -> OrphanPolicy {
    OrphanPolicy {
        orphan_after: Duration::from_secs(3600),
        control: told(model, i64::MAX, |_| Vec::new()),
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

/// A record of this operation; `fields` are the document's beside its `_id`.
pub(crate) fn made(
    table: Table,
    operation: Operation,
    version: i64,
    id: impl Into<Bson>,
    fields: Option<Document>,
) -> Made {
    let (collection, id) = (table.name(), id.into());
    let Some(fields) = fields else {
        return record::delete(collection, version, id);
    };
    let mut document = doc! { "_id": id };
    document.extend(fields);
    record::changed(collection, operation, version, document)
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
