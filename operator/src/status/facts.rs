//! What is known: Leafcutter's state, in one snapshot of PostgreSQL, and the control topic.

use crate::connect::State;
use leafcutter_runtime::{
    kafka::{CompactedReader, KafkaSettings, ReadError},
    report::{Failure, Fault},
};
use leafcutter_schemas::control::{Control, Heartbeat, SnapshotComplete};
use leafcutter_sink::{
    session::Session,
    state::{
        breakers::{self, BreakerRow},
        cascaded_rows,
        consumers::{self, ConsumerRow},
        dead_letters::{self, CountedDeadLetters},
        deferred_constraints::{self, DeferredRow},
        gates, held,
        mappings::{self, MappingRow},
        offsets::{self, OffsetRow},
        older_rows::{self, OlderRow},
        parked::{self, WaitingDocuments},
        pauses::{self, PauseRow},
        resnapshots::{self, UnfinishedRow},
        unmapped_fields::{self, UnmappedFieldRow},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What the control topic says.
#[derive(Debug, Clone, Default)]
pub struct ControlView {
    /// The newest heartbeat of each producer.
    pub newest: BTreeMap<String, Heartbeat>,
    /// The heartbeat that claims most, of each producer and set of topics. A claim stays true for ever.
    pub claims: BTreeMap<String, Heartbeat>,
    /// The newest `snapshot-complete` of each topic.
    pub complete: BTreeMap<String, SnapshotComplete>,
}

impl ControlView {
    /// Takes a record in.
    pub fn take(&mut self, control: Control) {
        match control {
            Control::Heartbeat(heartbeat) => {
                let scope = heartbeat.scope();
                let known = self.claims.get(&scope);
                if known.is_none_or(|known| heartbeat.time >= known.time) {
                    self.claims.insert(scope, heartbeat.clone());
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
        let told = self.claims.values();
        told.filter(|heartbeat| heartbeat.offsets.contains_key(topic))
            .max_by_key(|heartbeat| heartbeat.time)
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
    pub waiting: Vec<WaitingDocuments>,
    /// Deleted rows that others still point to, by table.
    pub held: Vec<(String, i64)>,
    /// Documents whose rows went with a parent, by table.
    pub cascaded: Vec<(String, i64)>,
    /// Open dead letters.
    pub dead_letters: Vec<CountedDeadLetters>,
    /// Collections of which records could not be applied lately.
    pub breakers: Vec<BreakerRow>,
    /// Collections that are read again, or were begun and broken off.
    pub unfinished: Vec<UnfinishedRow>,
    /// What a person has paused.
    pub pauses: Vec<PauseRow>,
    /// Fields of documents that no column takes.
    pub unmapped: Vec<UnmappedFieldRow>,
    /// The mapping in force.
    pub in_force: Option<MappingRow>,
    /// Collections whose rows may be of older mappings.
    pub older: Vec<OlderRow>,
    /// Indexes and foreign keys that are added when their tables are filled.
    pub deferred: Vec<DeferredRow>,
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
/// A consumer that was not seen for so many seconds is not shown any more.
const SHOWN_SECONDS: i64 = 600;

/// Asks PostgreSQL for everything, in one snapshot.
///
/// # Errors
/// When it cannot be asked.
pub async fn gather(
    state: &mut State,
    group: &str,
    control: Result<ControlView, Fault>,
) -> Result<Facts, Failure> {
    match ask(&mut state.session, group, control).await {
        Ok(facts) => Ok(facts),
        Err(error) => {
            // The next look begins anew. Where the connection is lost, it connects again.
            state.session.batch("rollback").await.unwrap_or_default();
            Err(state.lost(&error))
        }
    }
}

async fn ask(
    session: &mut Session,
    group: &str,
    control: Result<ControlView, Fault>,
) -> Result<Facts, tokio_postgres::Error> {
    session
        .batch("begin isolation level repeatable read read only")
        .await?;
    let facts = Facts {
        at: session.query_one(NOW, &[]).await?.get(0),
        groups: offsets::groups(session).await?,
        offsets: offsets::rows(session, group).await?,
        gates: gates::open(session, group).await?,
        waiting: parked::count(session).await?,
        held: held::count(session).await?,
        cascaded: cascaded_rows::count(session).await?,
        dead_letters: dead_letters::count_by_reason(session, &["open"]).await?,
        breakers: breakers::rows(session, group).await?,
        pauses: pauses::rows(session, group).await?,
        unmapped: unmapped_fields::rows(session, group).await?,
        unfinished: resnapshots::unfinished(session).await?,
        in_force: mappings::in_force(session, group).await?,
        older: older_rows::rows(session, group).await?,
        deferred: deferred_constraints::of_live(session).await?,
        consumers: consumers::seen_within(session, group, SHOWN_SECONDS).await?,
        control,
    };
    session.batch("commit").await?;
    Ok(facts)
}
