//! When positions moved in PostgreSQL.
//!
//! A position moves in the transaction that writes the rows before it, so the moment at which it is
//! seen to have moved is one at which the rows are committed. It is looked at in a loop on a
//! connection of its own; a moment is taken *after* the answer, so it is late by the time of one
//! round at most, never early. How long the rounds took is kept, and told with the figures.

use hdrhistogram::Histogram;
use leafcutter_harness::{
    failure::{Attempt, Result},
    stack::Stack,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// One step of a partition: when it was seen, and its next offset from then on.
pub type Step = (Instant, i64);

/// A topic and the number of one of its partitions.
pub type Partition = (String, i32);

/// What was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// By partition, in order.
    pub steps: BTreeMap<Partition, Vec<Step>>,
    /// Time of a round, in microseconds.
    pub rounds: Histogram<u64>,
}

impl Seen {
    /// When a partition moved first.
    pub fn first(&self) -> Option<Instant> {
        self.steps.values().filter_map(|s| Some(s.first()?.0)).min()
    }

    /// When one moved last.
    pub fn last(&self) -> Option<Instant> {
        self.steps.values().filter_map(|s| Some(s.last()?.0)).max()
    }

    /// When the record at an offset was seen to be applied.
    pub fn applied(&self, partition: &Partition, offset: i64) -> Option<Instant> {
        let steps = self.steps.get(partition)?;
        let at = steps.partition_point(|(_, next)| *next <= offset);
        steps.get(at).map(|(when, _)| *when)
    }
}

/// Looks until it is dropped.
#[derive(Debug)]
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<Result<()>>,
}

impl Observer {
    /// Begins to look at the positions of a group in some topics, with a pause after each look. Where
    /// positions stand now is not told as a step.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn start(
        stack: &Stack,
        group: &str,
        topics: &[String],
        pause: Duration,
    ) -> Result<Self> {
        let seen = Arc::new(Mutex::new(Seen {
            steps: BTreeMap::new(),
            rounds: Histogram::new(3)?,
        }));
        let client = stack.postgres().await?;
        let whose = (group.to_owned(), topics.to_vec());
        let known = positions(&client, &whose).await?;
        let task = tokio::spawn(look(client, whose, known, pause, Arc::clone(&seen)));
        Ok(Self { seen, task })
    }

    /// Ends and gives what was seen.
    ///
    /// # Errors
    /// When looking had failed.
    pub async fn finish(mut self) -> Result<Seen> {
        if self.task.is_finished() {
            (&mut self.task).await.attempt("watch positions")??;
        } else {
            self.task.abort();
        }
        Ok(self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone())
    }
}

type Positions = BTreeMap<Partition, i64>;

/// A group and the topics of which it is looked at.
type Whose = (String, Vec<String>);

const POSITIONS: &str = "select topic, partition, next_offset from leafcutter.offsets \
    where consumer_group = $1 and topic = any($2)";

async fn positions(client: &tokio_postgres::Client, (group, topics): &Whose) -> Result<Positions> {
    // The consumer makes the table, when it first starts.
    let there = "select to_regclass('leafcutter.offsets') is not null";
    let there = client
        .query_one(there, &[])
        .await
        .attempt("look for positions")?;
    if !there.get::<_, bool>(0) {
        return Ok(Positions::new());
    }
    let rows = client
        .query(POSITIONS, &[group, topics])
        .await
        .attempt("read positions")?;
    let position = |row: &tokio_postgres::Row| ((row.get(0), row.get(1)), row.get(2));
    Ok(rows.iter().map(position).collect())
}

async fn look(
    client: tokio_postgres::Client,
    whose: Whose,
    mut known: Positions,
    pause: Duration,
    seen: Arc<Mutex<Seen>>,
) -> Result<()> {
    let mut prepared = None;
    let mut before = Instant::now();
    loop {
        let statement = match &prepared {
            Some(statement) => statement,
            None if positions(&client, &whose).await?.is_empty() => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            None => {
                before = Instant::now();
                prepared.insert(client.prepare(POSITIONS).await?)
            }
        };
        let rows = client
            .query(statement, &[&whose.0, &whose.1])
            .await
            .attempt("read positions")?;
        let now = Instant::now();
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            for row in &rows {
                let partition: Partition = (row.get(0), row.get(1));
                let next: i64 = row.get(2);
                // A replay sets positions back first: that is no step.
                if next > known.insert(partition.clone(), next).unwrap_or(0) {
                    seen.steps.entry(partition).or_default().push((now, next));
                }
            }
            let round = u64::try_from((now - before).as_micros()).unwrap_or(u64::MAX);
            seen.rounds.record(round)?;
        }
        before = now;
        tokio::time::sleep(pause).await;
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
