//! The writer: batches into PostgreSQL, whatever happens.
//!
//! Errors of the world wait and try the same batch again, for as long as it takes. A record that cannot be
//! applied is isolated by halving the batch, each half a transaction with positions of its own, until it
//! stands alone; it becomes a dead letter, confirmed by Kafka before the position moves, and is sent once,
//! however often its transaction is tried. A refused record that cannot even be listed waits, and says so.
//! When too many records of a collection in a row cannot be applied, a systemic fault is likelier than bad
//! data, and the program stops rather than drain a topic into the dead letters.

use crate::{
    assemble::{Batch, WriterEvent},
    breaker::Breaker,
    dead_letter::{Acknowledged, DeadLetters},
    handover::Taker,
    metrics,
};
use leafcutter_runtime::{
    admin::{Condition, Health},
    report::causes,
    retry::Backoff,
    shutdown::Shutdown,
};
use leafcutter_schemas::dead_letter::Reason;
use leafcutter_sink::{
    ApplyError,
    batch::{Applied, BatchWriter, Fence},
    change::{Counts, Record},
    decode,
    ids::{CollectionId, Generation, Partition},
    isolate::{AfterError, Attempts, Isolated, Parts},
    model::Model,
    state::breakers::BreakerRow,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The writer.
pub struct Writer {
    model: Arc<Model>,
    batches: BatchWriter,
    dead_letters: DeadLetters,
    events: mpsc::UnboundedSender<WriterEvent>,
    shutdown: Shutdown,
    applying: Condition,
    health: Health,
    breaker: Breaker,
    acknowledged: Acknowledged,
    batches_in: Taker<Batch>,
    /// Taken from the channel already.
    next: Option<Batch>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

/// Why the writer stops.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too many records in a row cannot be applied.
    #[error("too many records in a row cannot be applied")]
    Breaker(Vec<BreakerRow>),
    /// Another mapping was put in force meanwhile.
    #[error("mapping generation {in_force} was put in force meanwhile; this is generation {ours}")]
    Mapping {
        /// That of this program.
        ours: Generation,
        /// The one in force.
        in_force: Generation,
    },
}

/// How the attempts at some records ended.
enum Step {
    Done,
    /// The breakers are open.
    Open(Vec<BreakerRow>),
    /// Another mapping is in force.
    Mapping(WriteError),
    /// To be tried again, fewer at a time.
    Fewer,
    /// To be tried again with these records only: others' partitions are lost.
    Without(Vec<Partition>),
    Isolate(Option<Box<Reason>>),
    /// To be tried again together with the batch that follows.
    TakeIn,
    Stop,
}

/// How long dead letters are waited for before that is a condition; the same for those under way after a
/// signal.
const LETTERS_WAIT: Duration = Duration::from_secs(3);

impl Writer {
    /// A writer of the batches that come in.
    #[expect(
        clippy::too_many_arguments,
        reason = "a stage has what it takes, what it gives, and where it writes"
    )]
    pub fn new(
        model: Arc<Model>,
        batches_in: Taker<Batch>,
        batches: BatchWriter,
        dead_letters: DeadLetters,
        events: mpsc::UnboundedSender<WriterEvent>,
        shutdown: Shutdown,
        health: &Health,
        breaker: u32,
    ) -> Self {
        let applying = health.condition("applying");
        applying.set(true, "");
        Self {
            model,
            batches: batches.with_breaker(breaker),
            dead_letters,
            events,
            shutdown,
            applying,
            health: health.clone(),
            breaker: Breaker::new(breaker),
            acknowledged: Acknowledged::default(),
            batches_in,
            next: None,
        }
    }

    /// Writes batches until the channel ends or the shutdown.
    ///
    /// # Errors
    /// When the breaker opens, or another mapping is in force.
    pub async fn run(mut self) -> Result<(), WriteError> {
        loop {
            self.health.beat("writer");
            let batch = match self.next.take() {
                Some(batch) => batch,
                None => {
                    let next = self.batches_in.take();
                    match tokio::time::timeout(Duration::from_secs(1), next).await {
                        Err(_) => continue,
                        Ok(None) => return Ok(()),
                        Ok(Some(batch)) => batch,
                    }
                }
            };
            self.acknowledged.clear();
            self.write(batch).await?;
        }
    }

    /// Applies records, in halves where one of them is definite. Partitions that are lost on the
    /// way are told to the assembler and left out.
    async fn write(&mut self, mut batch: Batch) -> Result<(), WriteError> {
        let mut parts = Parts::of(std::mem::take(&mut batch.records));
        let mut attempts_made: Option<Attempts> = None;
        let mut lost: Vec<Partition> = Vec::new();
        let mut pauses = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        while let Some(mut part) = parts.next_part() {
            part.retain(|record| !lost.contains(&record.delivery.origin.partition));
            if part.is_empty() {
                continue;
            }
            let room = self.breaker.room(&part);
            let mut part = parts.cut(part, room);
            let attempts = attempts_made.take();
            let mut attempts = attempts.unwrap_or_else(|| parts.attempts(&part));
            let is_last = parts.is_empty();
            let attempted = self.attempt_until(&mut batch, &mut attempts, &part, is_last);
            match attempted.await {
                Step::Done => {}
                Step::Open(open) => return Err(WriteError::Breaker(open)),
                Step::Mapping(error) => return Err(error),
                Step::Stop => return Ok(()),
                Step::TakeIn => {
                    self.take_in(&mut batch, &mut part);
                    attempts_made = Some(attempts);
                    parts.again(part);
                }
                Step::Fewer => parts.again(part),
                Step::Without(gone) => {
                    for partition in &gone {
                        let epoch = batch.epochs.get(partition).copied().unwrap_or_default();
                        self.tell(WriterEvent::Lost(*partition, epoch));
                    }
                    lost.extend(gone);
                    parts.again(part);
                }
                Step::Isolate(reason) => {
                    let stuck = self.stuck(&part, reason.as_deref());
                    if parts.isolate(part, reason) == Isolated::Stuck {
                        tracing::warn!("{stuck}");
                        self.applying.set(false, stuck);
                        metrics::attempt_failed("refused");
                        if !self.pause(pauses.next_delay()).await {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What is said where a refused record cannot be passed by.
    fn stuck(&self, part: &[Record], reason: Option<&Reason>) -> String {
        let Some(record) = part.first() else {
            return String::new();
        };
        let origin = &record.delivery.origin;
        let topic = &self.model.collection(origin.partition.collection).topic;
        let (state, why) = reason.map_or(("", "unknown"), |reason| {
            let state = reason.sqlstate.as_deref().unwrap_or_default();
            (state, reason.message.as_str())
        });
        format!(
            "a refused record cannot be listed in the index of dead letters, {topic}/{}/{}: {state} {why}",
            origin.partition.number, origin.offset
        )
    }

    /// The assembler outlives the writer unless the program is ending.
    fn tell(&self, event: WriterEvent) {
        self.events.send(event).unwrap_or_default();
    }

    /// Waits, alive; false when the program ends.
    async fn pause(&self, delay: Duration) -> bool {
        self.health.beat("writer");
        self.shutdown.sleep(delay).await
    }

    /// Whether the batch that follows has come, and follows these partitions without a gap: what was read
    /// under another epoch may begin elsewhere (F5).
    fn has_next(&mut self, batch: &Batch) -> bool {
        if self.next.is_none() {
            self.next = self.batches_in.try_take();
        }
        self.next.as_ref().is_some_and(|next| {
            let mut epochs = next.epochs.iter();
            epochs.all(|(partition, epoch)| {
                let known = batch.epochs.get(partition);
                known.is_none_or(|known| known == epoch)
            })
        })
    }

    /// Takes the records of the batch that follows in: one of them may be newer than the one in doubt, and
    /// mend it. Their rows are made anew, behind those of this batch.
    fn take_in(&mut self, batch: &mut Batch, part: &mut Vec<Record>) {
        let Some(next) = self.next.take() else {
            return;
        };
        batch.epochs.extend(next.epochs);
        batch.permits.extend(next.permits);
        part.extend(next.records.into_iter().map(|Record { delivery, .. }| {
            let collection = delivery.origin.partition.collection;
            let value = delivery.value.as_deref();
            let prepared = decode::prepare(&self.model, collection, value, &mut batch.rows);
            Record { delivery, prepared }
        }));
    }

    async fn attempt_until(
        &mut self,
        batch: &mut Batch,
        attempts: &mut Attempts,
        records: &[Record],
        is_last: bool,
    ) -> Step {
        let fences = Fence::of(records, &batch.epochs);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut failed = 0;
        loop {
            if self.shutdown.is_forced() {
                return Step::Stop;
            }
            self.health.beat("writer");
            let started = Instant::now();
            let result = match self.send_dead_letters(records).await {
                Ok(()) => self.batches.apply(records, &mut batch.rows, &fences).await,
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(applied) => {
                    self.applying.set(true, "");
                    metrics::batch_applied(records.len(), started.elapsed());
                    self.report(&applied);
                    let positions = fences.iter().map(|f| (f.partition, f.next)).collect();
                    self.tell(WriterEvent::Committed(positions));
                    let open = self.breaker.take(&applied);
                    return if open.is_empty() {
                        Step::Done
                    } else {
                        Step::Open(open)
                    };
                }
                Err(ApplyError::Mapping { ours, in_force }) => {
                    return Step::Mapping(WriteError::Mapping { ours, in_force });
                }
                Err(ApplyError::TooMany {
                    collection,
                    failures,
                    reason,
                    open,
                }) => {
                    if open {
                        let topic = self.model.collection(collection).topic.clone();
                        return Step::Open(vec![BreakerRow {
                            topic,
                            failures,
                            reason,
                            open_seconds: Some(0),
                        }]);
                    }
                    self.breaker.leave(collection, failures);
                    return Step::Fewer;
                }
                Err(error) => error,
            };
            match attempts.after(error) {
                AfterError::Without(lost) => return Step::Without(lost),
                AfterError::Isolate(reason) => return Step::Isolate(reason),
                AfterError::AtOnce => metrics::attempt_failed("again"),
                AfterError::AfterPause(error) => {
                    failed += 1;
                    self.note_wait(&error, records.len(), failed);
                    if !self.pause(backoff.next_delay()).await {
                        return Step::Stop;
                    }
                    let in_doubt = matches!(error, ApplyError::Doubtful(_));
                    if in_doubt && is_last && self.has_next(batch) {
                        return Step::TakeIn;
                    }
                }
            }
        }
    }

    /// One failed attempt is daily life (a deadlock, a restart); more are news.
    fn note_wait(&self, error: &ApplyError, records: usize, attempts: u32) {
        let class = match error {
            ApplyError::Doubtful(_) => "doubtful",
            _ => "transient",
        };
        metrics::attempt_failed(class);
        let error_text = causes(error);
        if attempts > 1 {
            tracing::warn!(error = error_text, records, attempts, "batch waits");
            self.applying
                .set(false, format!("records cannot be applied: {error_text}"));
        } else {
            tracing::debug!(error = error_text, records, attempts, "batch waits");
        }
    }

    /// Sends the dead letters of the refused records that Kafka has not confirmed yet, alive meanwhile.
    async fn send_dead_letters(&mut self, records: &[Record]) -> Result<(), ApplyError> {
        let begun = Instant::now();
        let (model, letters) = (&self.model, &self.dead_letters);
        let send = letters.send_refused(model, records, &self.acknowledged);
        tokio::pin!(send);
        let sent = loop {
            tokio::select! {
                sent = &mut send => break sent,
                () = tokio::time::sleep(Duration::from_secs(1)) => self.health.beat("writer"),
            }
            if begun.elapsed() > LETTERS_WAIT {
                let what = "Kafka does not confirm dead letters";
                self.applying.set(false, what);
                if self.shutdown.is_triggered() {
                    let source = "the program ends".into();
                    let what = what.to_owned();
                    return Err(ApplyError::Transient { what, source });
                }
            }
        };
        sent.map_err(|error| ApplyError::Transient {
            what: "cannot write dead letters".to_owned(),
            source: error.into(),
        })
    }

    fn report(&self, applied: &Applied) {
        let mut collections: BTreeMap<CollectionId, Counts> = BTreeMap::new();
        for (partition, counts) in &applied.counts {
            collections
                .entry(partition.collection)
                .or_default()
                .merge(counts);
        }
        for (collection, counts) in collections {
            metrics::records(&self.model.collection(collection).name, &counts);
        }
        metrics::released(applied.released);
    }
}
