//! What is known: Leafcutter's state, in one snapshot of PostgreSQL, and the control topic.

use crate::connect::State;
use leafcutter_runtime::{
    kafka::{CompactedReader, KafkaSettings, ReadError},
    report::{Failure, Fault},
};
use leafcutter_schemas::control::{Control, Heartbeat, SnapshotComplete};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tokio_postgres::Row;

/// How often a record can come out: the counters, in the order of their columns.
pub const OUTCOMES: [&str; 9] = [
    "applied",
    "unchanged",
    "stale",
    "deleted",
    "held",
    "filtered",
    "parked",
    "ignored",
    "dead_lettered",
];

/// One partition of the group.
#[derive(Debug, Clone, Default)]
pub struct OffsetRow {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The offset of the record that is to be applied next.
    pub next: i64,
    /// The newest source version applied.
    pub source_time: i64,
    /// The counters, as in [`OUTCOMES`].
    pub outcomes: [i64; 9],
}

/// Documents of one topic that wait for the same thing.
#[derive(Debug, Clone)]
pub struct WaitingRow {
    /// Their topic.
    pub topic: String,
    /// For a unique value, not for a parent.
    pub unique: bool,
    /// Called orphans already.
    pub orphan: bool,
    /// The table whose row is missing.
    pub wait_table: String,
    /// How many.
    pub documents: i64,
}

/// Dead letters of one topic and reason.
#[derive(Debug, Clone)]
pub struct LetterRow {
    /// Their topic.
    pub topic: String,
    /// Their reason.
    pub reason: String,
    /// How many.
    pub letters: i64,
}

/// A consumer that was seen lately.
#[derive(Debug, Clone)]
pub struct ConsumerRow {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// The hash of its mapping.
    pub mapping: String,
    /// How many partitions it holds.
    pub partitions: i64,
    /// Where its health and metrics are served.
    pub admin: Option<String>,
    /// Seconds since it was seen.
    pub seen: i64,
}

/// What the control topic says.
#[derive(Debug, Clone, Default)]
pub struct ControlView {
    /// The newest heartbeat of each producer.
    pub newest: BTreeMap<String, Heartbeat>,
    /// The heartbeat of each producer that claims most. A claim stays true for ever.
    pub claims: BTreeMap<String, Heartbeat>,
    /// The newest `snapshot-complete` of each topic.
    pub complete: BTreeMap<String, SnapshotComplete>,
}

impl ControlView {
    /// Takes a record in.
    pub fn take(&mut self, control: Control) {
        match control {
            Control::Heartbeat(heartbeat) => {
                let known = self.claims.get(&heartbeat.producer);
                if known.is_none_or(|known| heartbeat.time >= known.time) {
                    self.claims
                        .insert(heartbeat.producer.clone(), heartbeat.clone());
                }
                self.newest.insert(heartbeat.producer.clone(), heartbeat);
            }
            Control::SnapshotComplete(complete) => {
                self.complete.insert(complete.topic.clone(), complete);
            }
        }
    }

    /// The end offsets of a topic's partitions, as far as any heartbeat or snapshot told them.
    #[must_use]
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        let told = self.newest.values().chain(self.claims.values());
        let lists = told
            .filter_map(|heartbeat| heartbeat.offsets.get(topic))
            .chain(self.complete.get(topic).map(|complete| &complete.offsets));
        let mut ends: Vec<i64> = Vec::new();
        for list in lists {
            if ends.len() < list.len() {
                ends.resize(list.len(), 0);
            }
            for (end, told) in ends.iter_mut().zip(list) {
                *end = (*end).max(*told);
            }
        }
        ends
    }

    /// The heartbeat whose claim covers a topic.
    #[must_use]
    pub fn claim(&self, topic: &str) -> Option<&Heartbeat> {
        self.claims
            .values()
            .find(|heartbeat| heartbeat.offsets.contains_key(topic))
    }
}

/// Everything known at one moment.
#[derive(Debug, Clone)]
pub struct Facts {
    /// PostgreSQL's clock, milliseconds since 1970.
    pub at: i64,
    /// The groups that ever applied anything here.
    pub groups: Vec<String>,
    /// The group's partitions.
    pub offsets: Vec<OffsetRow>,
    /// The topics whose gates are open.
    pub gates: BTreeSet<String>,
    /// What is parked.
    pub waiting: Vec<WaitingRow>,
    /// Deleted rows that others still point to, by table.
    pub held: Vec<(String, i64)>,
    /// Rows that went with a parent, by table.
    pub lost: Vec<(String, i64)>,
    /// Open dead letters.
    pub letters: Vec<LetterRow>,
    /// Consumers seen in the last ten minutes.
    pub consumers: Vec<ConsumerRow>,
    /// What the control topic says, or why it cannot be read.
    pub control: Result<ControlView, Fault>,
}

impl Facts {
    /// The data topics that are named anywhere.
    #[must_use]
    pub fn topics(&self) -> BTreeSet<String> {
        let mut topics: BTreeSet<String> = self.offsets.iter().map(|o| o.topic.clone()).collect();
        if let Ok(control) = &self.control {
            topics.extend(control.complete.keys().cloned());
            for heartbeat in control.newest.values().chain(control.claims.values()) {
                topics.extend(heartbeat.offsets.keys().cloned());
            }
        }
        topics
    }
}

/// Follows the control topic from its beginning.
pub struct ControlFollower {
    kafka: KafkaSettings,
    topic: String,
    reader: Option<CompactedReader>,
    view: ControlView,
}

impl std::fmt::Debug for ControlFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlFollower")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// How long the control topic may take to be read.
const PATIENCE: Duration = Duration::from_secs(20);

impl ControlFollower {
    /// Follows this topic; nothing is read yet.
    #[must_use]
    pub fn new(kafka: KafkaSettings, topic: String) -> Self {
        Self {
            kafka,
            topic,
            reader: None,
            view: ControlView::default(),
        }
    }

    /// Reads on to the present end. A topic that does not exist says nothing: no producer ran yet.
    ///
    /// # Errors
    /// When Kafka cannot be read.
    pub fn refresh(&mut self) -> Result<ControlView, Fault> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => match CompactedReader::open(&self.kafka, &self.topic) {
                Ok(reader) => reader,
                Err(ReadError::Missing(_)) => return Ok(ControlView::default()),
                Err(error @ ReadError::Failed(_)) => return Err(error.into()),
            },
        };
        let begun = Instant::now();
        loop {
            let record = reader.poll(Duration::from_millis(100));
            let nothing = record.is_none();
            if let Some((key, Some(value))) = record
                && let Ok(control) = Control::read(&key, &value)
            {
                self.view.take(control);
            }
            if nothing && reader.caught_up() {
                self.reader = Some(reader);
                return Ok(self.view.clone());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Fault::new(
                    "could not read the control topic to its end",
                    format!("topic `{}` on {}", self.topic, self.kafka.brokers),
                    "the broker sent nothing more",
                    "Check that the brokers are up and that this user may read the topic.",
                ));
            }
        }
    }
}

const NOW: &str = "select (extract(epoch from clock_timestamp()) * 1000)::bigint";
const OFFSETS: &str = "\
    select topic, partition, next_offset, source_time, applied, unchanged, stale, deleted, held, \
    filtered, parked, ignored, dead_lettered from leafcutter.offsets where consumer_group = $1 \
    order by topic, partition";
const GROUPS: &str = "select distinct consumer_group from leafcutter.offsets order by 1";
const GATES: &str = "select topic from leafcutter.gates where consumer_group = $1";
const WAITING: &str = "\
    select topic, reason = 'unique', state = 'orphan', wait_table, count(*) \
    from leafcutter.parked group by 1, 2, 3, 4 order by 1, 2, 3, 4";
const HELD: &str = "select table_name, count(*) from leafcutter.held group by 1 order by 1";
const LOST: &str = "\
    select table_name, count(distinct row_key) from leafcutter.lost group by 1 order by 1";
const LETTERS: &str = "\
    select topic, reason, count(*) from leafcutter.dead_letters where state = 'open' \
    group by 1, 2 order by 3 desc, 1, 2";
const CONSUMERS: &str = "\
    select id, host, program, mapping, partitions::bigint, admin, \
    extract(epoch from clock_timestamp() - seen_at)::bigint from leafcutter.consumers \
    where consumer_group = $1 and seen_at > now() - interval '10 min' order by id";

/// Asks PostgreSQL for everything, in one snapshot.
///
/// # Errors
/// When it cannot be asked.
pub async fn gather(
    state: &mut State,
    group: &str,
    control: Result<ControlView, Fault>,
) -> Result<Facts, Failure> {
    match ask(state, group).await {
        Ok(mut facts) => {
            facts.control = control;
            Ok(facts)
        }
        Err(error) => Err(state.lost(&error)),
    }
}

async fn ask(state: &mut State, group: &str) -> Result<Facts, tokio_postgres::Error> {
    let snapshot = state
        .client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let read = async |sql: &str| snapshot.query(sql, &[&group]).await;
    let facts = Facts {
        at: snapshot.query_one(NOW, &[]).await?.get(0),
        groups: snapshot
            .query(GROUPS, &[])
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect(),
        offsets: read(OFFSETS).await?.iter().map(offset_row).collect(),
        gates: read(GATES).await?.iter().map(|row| row.get(0)).collect(),
        waiting: snapshot
            .query(WAITING, &[])
            .await?
            .iter()
            .map(waiting_row)
            .collect(),
        held: snapshot
            .query(HELD, &[])
            .await?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
        lost: snapshot
            .query(LOST, &[])
            .await?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
        letters: snapshot
            .query(LETTERS, &[])
            .await?
            .iter()
            .map(letter_row)
            .collect(),
        consumers: read(CONSUMERS).await?.iter().map(consumer_row).collect(),
        control: Ok(ControlView::default()),
    };
    snapshot.commit().await?;
    Ok(facts)
}

fn offset_row(row: &Row) -> OffsetRow {
    let mut outcomes = [0; 9];
    for (position, outcome) in outcomes.iter_mut().enumerate() {
        *outcome = row.get(4 + position);
    }
    OffsetRow {
        topic: row.get(0),
        partition: row.get(1),
        next: row.get(2),
        source_time: row.get(3),
        outcomes,
    }
}

fn waiting_row(row: &Row) -> WaitingRow {
    WaitingRow {
        topic: row.get(0),
        unique: row.get(1),
        orphan: row.get(2),
        wait_table: row.get(3),
        documents: row.get(4),
    }
}

fn letter_row(row: &Row) -> LetterRow {
    LetterRow {
        topic: row.get(0),
        reason: row.get(1),
        letters: row.get(2),
    }
}

fn consumer_row(row: &Row) -> ConsumerRow {
    ConsumerRow {
        id: row.get(0),
        host: row.get(1),
        program: row.get(2),
        mapping: row.get(3),
        partitions: row.get(4),
        admin: row.get(5),
        seen: row.get(6),
    }
}
