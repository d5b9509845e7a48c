//! The writer: batches into PostgreSQL, whatever happens.
//!
//! Transient errors wait and try the same batch again, for as long as it takes. A definite error is
//! isolated by halving the batch, each half a transaction with positions of its own, until the
//! record stands alone; it becomes a dead letter, confirmed by Kafka before the position moves. When
//! too many records in a row are definite, a systemic fault is likelier than bad data, and the
//! program stops rather than drain a topic into the dead letters.

use crate::{
    assemble::{Batch, Told, describe},
    dead_letter::DeadLetters,
    decode::{Prepared, Record},
    metrics,
    model::Model,
    sink::{ApplyError, apply::Applied, apply::Applier},
    source::poll::Partition,
    transform::Rows,
};
use leafcutter_runtime::{
    admin::{Condition, Health},
    retry::Backoff,
    shutdown::Shutdown,
};
use leafcutter_schemas::dead_letter::Reason;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Attempts at a batch whose target changes under it, before the batch is halved.
const AGAIN_MAX: u32 = 8;

/// The writer.
pub struct Writer {
    model: Arc<Model>,
    applier: Applier,
    letters: DeadLetters,
    told: mpsc::UnboundedSender<Told>,
    shutdown: Shutdown,
    database: Condition,
    health: Health,
    breaker: Breaker,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("applier", &self.applier)
            .finish_non_exhaustive()
    }
}

/// Counts definite failures in a row, per partition.
#[derive(Debug)]
pub struct Breaker {
    limit: u32,
    row: HashMap<Partition, u32>,
}

impl Breaker {
    /// A breaker that opens after so many in a row; 0 never.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            row: HashMap::new(),
        }
    }

    /// Notes a record; whether the breaker opens.
    pub fn note(&mut self, partition: Partition, definite: bool) -> bool {
        let count = self.row.entry(partition).or_default();
        *count = if definite { *count + 1 } else { 0 };
        self.limit > 0 && *count >= self.limit
    }
}

/// Why the writer stops.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too many records in a row can never be applied.
    #[error(
        "{limit} records in a row of topic `{topic}`, partition {partition}, can never be applied; the last one: {last}"
    )]
    Breaker {
        /// The limit.
        limit: u32,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The last one's reason.
        last: String,
    },
}

/// How an attempt ended.
enum Step {
    Done,
    /// To be tried again with these records only: others' partitions are lost.
    Without(Vec<Partition>),
    Halve(Option<Box<Reason>>),
    Stop,
}

impl Writer {
    /// A writer.
    pub fn new(
        model: Arc<Model>,
        applier: Applier,
        letters: DeadLetters,
        told: mpsc::UnboundedSender<Told>,
        shutdown: Shutdown,
        health: &Health,
        breaker: Breaker,
    ) -> Self {
        let database = health.condition("postgres");
        database.set(true, "");
        Self {
            model,
            applier,
            letters,
            told,
            shutdown,
            database,
            health: health.clone(),
            breaker,
        }
    }

    /// Writes batches until the channel ends or the shutdown.
    ///
    /// # Errors
    /// When the breaker opens.
    pub async fn run(mut self, mut batches: mpsc::Receiver<Batch>) -> Result<(), WriteError> {
        loop {
            self.health.beat("writer");
            let next = tokio::time::timeout(Duration::from_secs(1), batches.recv());
            match next.await {
                Err(_) => {}
                Ok(None) => return Ok(()),
                Ok(Some(mut batch)) => {
                    let mut records = std::mem::take(&mut batch.records);
                    let mut rows = std::mem::take(&mut batch.rows);
                    self.check_breaker(&records)?;
                    self.write(&batch, &mut records, &mut rows).await;
                }
            }
        }
    }

    fn check_breaker(&mut self, records: &[Record]) -> Result<(), WriteError> {
        for record in records {
            let partition = (record.delivery.collection, record.delivery.partition);
            let reason = match &record.prepared {
                Prepared::Refused { reason, .. } => Some(&reason.message),
                Prepared::Write { .. } | Prepared::Ignored => None,
            };
            if self.breaker.note(partition, reason.is_some()) {
                return Err(WriteError::Breaker {
                    limit: self.breaker.limit,
                    topic: self.model.collections[partition.0].topic.clone(),
                    partition: partition.1,
                    last: reason.cloned().unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// Applies records, in halves where one of them is definite. Partitions that are lost on the
    /// way are told to the assembler and left out. An explicit stack takes the place of recursion.
    async fn write(&mut self, batch: &Batch, records: &mut Vec<Record>, rows: &mut Rows) {
        let mut stack: Vec<Vec<Record>> = vec![std::mem::take(records)];
        let mut lost: Vec<Partition> = Vec::new();
        while let Some(mut part) = stack.pop() {
            part.retain(|r| !lost.contains(&(r.delivery.collection, r.delivery.partition)));
            if part.is_empty() {
                continue;
            }
            match self.attempt_until(batch, &part, rows).await {
                Step::Done => {}
                Step::Stop => return,
                Step::Without(gone) => {
                    for partition in &gone {
                        let epoch = batch.epochs.get(partition).copied().unwrap_or_default();
                        self.told
                            .send(Told::Lost(*partition, epoch))
                            .unwrap_or_default();
                    }
                    lost.extend(gone);
                    stack.push(part);
                }
                Step::Halve(reason) => {
                    if part.len() == 1 {
                        part[0].refuse(reason);
                        stack.push(part);
                    } else {
                        let second = part.split_off(part.len() / 2);
                        stack.push(second);
                        stack.push(part);
                    }
                }
            }
        }
    }

    async fn attempt_until(&mut self, batch: &Batch, records: &[Record], rows: &mut Rows) -> Step {
        let fences = batch.fences(records);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut again = 0;
        let mut failed = 0;
        let mut sent = false;
        loop {
            if self.shutdown.is_forced() {
                return Step::Stop;
            }
            self.health.beat("writer");
            let started = Instant::now();
            let result = match self.send_letters(records, &mut sent).await {
                Ok(()) => self.applier.apply(records, rows, &fences).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(applied) => {
                    self.database.set(true, "");
                    metrics::batch_applied(records.len(), started.elapsed());
                    self.report(&applied);
                    let positions = fences
                        .iter()
                        .map(|f| ((f.collection, f.partition), f.next))
                        .collect();
                    self.told
                        .send(Told::Committed(positions))
                        .unwrap_or_default();
                    return Step::Done;
                }
                Err(ApplyError::Fenced(lost)) => return Step::Without(lost),
                Err(ApplyError::Definite(reason)) => return Step::Halve(Some(reason)),
                Err(ApplyError::Again(reason)) => {
                    metrics::attempt_failed("again");
                    again += 1;
                    if again > AGAIN_MAX {
                        return Step::Halve(reason);
                    }
                }
                Err(error @ ApplyError::Transient { .. }) => {
                    metrics::attempt_failed("transient");
                    failed += 1;
                    // One failed attempt is daily life (a deadlock, a restart); more are news.
                    if failed > 1 {
                        self.database.set(false, "batches cannot be applied");
                        tracing::warn!(error = %describe(&error), records = records.len(), attempts = failed, "batch waits");
                    } else {
                        tracing::debug!(error = %describe(&error), records = records.len(), "batch waits");
                    }
                    let delay = backoff.next_delay(&mut rand::rng());
                    if !self.shutdown.sleep(delay).await {
                        return Step::Stop;
                    }
                }
            }
        }
    }

    async fn send_letters(&self, records: &[Record], sent: &mut bool) -> Result<(), ApplyError> {
        if *sent {
            return Ok(());
        }
        let letters = records.iter().filter_map(|record| match &record.prepared {
            Prepared::Refused {
                reason, version, ..
            } => Some((record, reason, version)),
            Prepared::Write { .. } | Prepared::Ignored => None,
        });
        let sends = letters.map(async |(record, reason, version)| {
            let topic = &self.model.collections[record.delivery.collection].topic;
            metrics::dead_letter_written(reason.stage.as_str(), reason.code);
            self.letters
                .send(topic, &record.delivery, reason, *version)
                .await
        });
        futures_util::future::try_join_all(sends)
            .await
            .map_err(|error| ApplyError::Transient {
                what: "cannot write dead letters".to_owned(),
                source: error.into(),
            })?;
        *sent = true;
        Ok(())
    }

    fn report(&self, applied: &Applied) {
        let mut collections: BTreeMap<usize, crate::sink::work::Counts> = BTreeMap::new();
        for ((collection, _), counts) in &applied.counts {
            collections.entry(*collection).or_default().merge(counts);
        }
        for (collection, counts) in collections {
            metrics::records(&self.model.collections[collection].name, &counts);
        }
        let released: i64 = applied.released.values().sum();
        metrics::released(u64::try_from(released).unwrap_or(0));
    }
}

impl Record {
    /// Makes a record that PostgreSQL does not take a refused one.
    fn refuse(&mut self, reason: Option<Box<Reason>>) {
        let (key, stamp) = match &self.prepared {
            Prepared::Write { stamp, parts } => (
                parts.first().map(|part| part.key.clone()),
                Some(stamp.version),
            ),
            Prepared::Refused { .. } | Prepared::Ignored => return,
        };
        let reason = reason.unwrap_or_else(|| {
            Box::new(Reason {
                stage: leafcutter_schemas::dead_letter::Stage::Apply,
                code: "refused",
                message: "the target changes under every attempt".to_owned(),
                table: None,
                column: None,
                path: None,
                sqlstate: None,
            })
        });
        self.prepared = Prepared::Refused {
            reason,
            key,
            version: stamp,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_opens_after_a_row_of_definite_records() {
        let mut breaker = Breaker::new(3);
        for definite in [true, true, false, true, true] {
            assert!(!breaker.note((0, 0), definite));
        }
        assert!(!breaker.note((0, 1), true));
        assert!(breaker.note((0, 0), true));
        assert!((0..100).all(|_| !Breaker::new(0).note((0, 0), true)));
    }
}
