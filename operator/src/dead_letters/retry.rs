//! `leafcutter dead-letters retry`: dead letters once more, under the present mapping.
//!
//! The originals come from the dead-letter topics and go through the consumer's own steps, applied
//! only where they are strictly newer than what is stored. What fails again stays open with its new
//! reason; what waits for its parent stays open until it is placed. Letters are taken some at a time,
//! each time in one transaction; where PostgreSQL refuses one, the others are tried without it.

mod outcome;

use super::{
    find, headers, original_offset,
    select::{self, select},
    settings::RetrySettings,
};
use crate::{
    catalog::Catalog,
    connect::State,
    in_force::{self, Purpose},
    kafka::{Next, Read, Topics, ask},
    progress::drawn,
    show::Show,
};
use indicatif::ProgressBar;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_schemas::{dead_letter::Reason, name::dead_letter_topic};
use leafcutter_sink::{
    ApplyError,
    change::{Delivery, Record, RecordOrigin},
    connection::Connection,
    decode,
    ids::Partition,
    isolate::{AfterError, Attempts, Isolated, Parts},
    model::Model,
    retry::{Retried, Retrier},
    state::dead_letters::DeadLetterRow,
    transform::Rows,
};
use outcome::{Line, Outcome, render};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Letters in one transaction at most.
const LETTERS_MAX: usize = 200;
/// Their bytes at most, so that large documents do not add up.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Tries them.
///
/// # Errors
/// When a server cannot be asked, the mapping is not the one in force, or a name is unknown.
pub async fn run(settings: RetrySettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let mut catalog = Catalog::of(&settings.installation, &mut state).await?;
    let purpose = Purpose {
        what: "could not try dead letters again",
        group: &settings.installation.group,
        file: settings.installation.mapping.as_deref(),
    };
    // A dry run is taken back, so it may be of any mapping.
    let (model, generation) = if settings.dry_run {
        let in_force = in_force::look(&mut state, purpose).await?;
        let model = catalog.model.clone().ok_or_else(no_mapping)?;
        (model, in_force.generation)
    } else {
        in_force::required(&mut state, &mut catalog, purpose, no_mapping).await?
    };
    let (letters, closed) = wanted(&settings, &mut state, &catalog).await?;
    let connection = Connection::new(
        state.config.clone(),
        "leafcutter retry",
        &settings.installation.group,
        "leafcutter retry",
        (Arc::clone(&model), generation),
    );
    let progress = progress(letters.len(), show);
    let mut retry = Retry {
        model,
        retrier: Retrier::new(connection),
        place: state.place.clone(),
        dry_run: settings.dry_run,
        topics: Some(Topics::open(&settings.kafka)?),
        lines: closed,
        progress,
    };
    let done = retry.all(letters).await;
    retry.progress.finish_and_clear();
    let mut lines = std::mem::take(&mut retry.lines);
    lines.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    for line in &lines {
        tracing::info!(
            dead_letter = format!("{}/{}/{}", line.topic, line.partition, line.offset),
            dry_run = line.dry_run,
            "tried again: {}",
            line.outcome.words()
        );
    }
    // What was committed before a failure is told all the same.
    if show.json {
        for line in &lines {
            show.json_line(line);
        }
    } else {
        show.text(&render(&lines, &catalog, settings.dry_run, show.paint));
    }
    done?;
    let bad = lines.iter().any(|line| line.outcome.is_bad());
    Ok(if bad { Exit::Differences } else { Exit::Done })
}

fn no_mapping() -> Failure {
    let fault = Fault::new(
        "could not try dead letters again",
        "--mapping",
        "without the mapping nobody knows which rows they become",
        "Give --mapping or LEAFCUTTER_MAPPING: the file that the consumers run with.",
    );
    Failure::one(Exit::Settings, fault)
}

/// The open letters that are meant, and those named by hand that are not open.
async fn wanted(
    settings: &RetrySettings,
    state: &mut State,
    catalog: &Catalog,
) -> Result<(Vec<DeadLetterRow>, Vec<Line>), Failure> {
    let mut filter = select(&settings.selection, &settings.ids, catalog)?;
    let closed = select::not_open(&filter, state).await?.into_iter();
    let closed = closed.map(|(id, row)| {
        let discarded = row.and_then(|row| row.discard_reason);
        Line {
            topic: id.topic,
            partition: id.partition,
            offset: id.offset,
            outcome: match discarded {
                Some(_) => Outcome::Discarded,
                None => Outcome::Closed,
            },
            dry_run: settings.dry_run,
            reason: None,
            message: discarded.map(|why| format!("discarded by a person: {why}")),
        }
    });
    let closed = closed.collect();
    filter.state = Some("open");
    Ok((find(state, &filter, 0).await?, closed))
}

fn progress(letters: usize, show: &Show<'_>) -> ProgressBar {
    if letters <= LETTERS_MAX {
        return ProgressBar::hidden();
    }
    let whole = u64::try_from(letters).unwrap_or(u64::MAX);
    drawn(
        Some(whole),
        "{bar:30} {pos}/{len} dead letters, {eta} left",
        show,
    )
}

struct Retry {
    model: Arc<Model>,
    retrier: Retrier,
    place: String,
    dry_run: bool,
    /// Away while a thread reads with it.
    topics: Option<Topics>,
    lines: Vec<Line>,
    progress: ProgressBar,
}

impl Retry {
    /// Partition after partition; those of parents first, so that their children need not wait.
    async fn all(&mut self, letters: Vec<DeadLetterRow>) -> Result<(), Failure> {
        let mut partitions: BTreeMap<(usize, String, i32), BTreeSet<i64>> = BTreeMap::new();
        for letter in letters {
            let Some(collection) = self.model.collection_of_topic(&letter.topic) else {
                let (topic, partition) = (letter.topic, letter.partition);
                self.note(topic, partition, letter.offset, Outcome::Unmapped, None);
                continue;
            };
            let place = self.model.collection(collection).roots[0].0;
            partitions
                .entry((place, letter.topic, letter.partition))
                .or_default()
                .insert(letter.offset);
        }
        for ((_, topic, partition), offsets) in partitions {
            self.partition(&topic, partition, offsets).await?;
        }
        Ok(())
    }

    async fn partition(
        &mut self,
        topic: &str,
        partition: i32,
        mut wanted: BTreeSet<i64>,
    ) -> Result<(), Failure> {
        let mut position = None;
        while !wanted.is_empty() {
            let topics = self.topics.take().map_or_else(|| Err(gone()), Ok)?;
            let letters = dead_letter_topic(topic);
            let (topics, read, next, rest) = ask(move || {
                let (read, next) = some(&topics, &letters, partition, position, &mut wanted)?;
                Ok((topics, read, next, wanted))
            })
            .await?;
            self.topics = Some(topics);
            wanted = rest;
            position = Some(next);
            if read.is_empty() {
                break;
            }
            self.apply(topic, partition, read).await?;
        }
        for offset in wanted {
            self.note(topic.to_owned(), partition, offset, Outcome::Missing, None);
        }
        Ok(())
    }

    /// Applies some letters of one partition, in halves where one of them is refused.
    async fn apply(
        &mut self,
        topic: &str,
        partition: i32,
        read: Vec<(i64, Read)>,
    ) -> Result<(), Failure> {
        let model = Arc::clone(&self.model);
        let Some(collection) = model.collection_of_topic(topic) else {
            return Ok(());
        };
        let mut rows = Rows::default();
        let record = |(offset, read): (i64, Read)| {
            let timestamp = headers(&read).get("timestamp").and_then(|t| t.parse().ok());
            let prepared = decode::prepare(&model, collection, read.value.as_deref(), &mut rows);
            let (key, value) = (read.key, read.value);
            let delivery = Delivery {
                origin: RecordOrigin {
                    partition: Partition {
                        collection,
                        number: partition,
                    },
                    offset,
                    timestamp,
                },
                key,
                value,
                headers: Vec::new(),
            };
            Record { delivery, prepared }
        };
        let records: Vec<Record> = read.into_iter().map(record).collect();
        let mut parts = Parts::of(records);
        while let Some(part) = parts.next_part() {
            let attempts = parts.attempts(&part);
            match self.attempt(&part, &mut rows, attempts).await? {
                Ok(outcomes) => {
                    for (record, retried) in part.iter().zip(outcomes) {
                        let (outcome, reason) = told(retried);
                        let offset = record.delivery.origin.offset;
                        self.note(topic.to_owned(), partition, offset, outcome, reason);
                    }
                }
                Err(reason) => {
                    let place = self.place.clone();
                    let why = reason.as_ref().map(|reason| reason.message.clone());
                    if parts.isolate(part, reason) == Isolated::Stuck {
                        let what = "could not write down why a dead letter stays open";
                        let next =
                            "Try again; letters already applied are not touched a second time.";
                        let fault = Fault::new(what, place, why.unwrap_or_default(), next);
                        return Err(Failure::one(Exit::Preflight, fault));
                    }
                }
            }
        }
        Ok(())
    }

    /// One transaction: what became of each, or why one of them is refused.
    async fn attempt(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        mut attempts: Attempts,
    ) -> Result<Result<Vec<Retried>, Option<Box<Reason>>>, Failure> {
        loop {
            let error = match self.retrier.retry(records, rows, self.dry_run).await {
                Ok(outcomes) => return Ok(Ok(outcomes)),
                Err(error) => error,
            };
            match attempts.after(error) {
                AfterError::Isolate(reason) => return Ok(Err(reason)),
                AfterError::AtOnce | AfterError::AfterPause(ApplyError::Doubtful(_)) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                // It passes no fence, so it is never fenced off.
                AfterError::Without(_) => return Ok(Err(None)),
                AfterError::AfterPause(error) => {
                    let next = "Try again; letters already applied are not touched a second time.";
                    let fault = Fault::new(
                        "could not try dead letters again",
                        self.place.clone(),
                        causes(&error),
                        next,
                    );
                    return Err(Failure::one(Exit::Preflight, fault));
                }
            }
        }
    }

    fn note(
        &mut self,
        topic: String,
        partition: i32,
        offset: i64,
        outcome: Outcome,
        reason: Option<Reason>,
    ) {
        self.progress.inc(1);
        let (reason, message) = match reason {
            Some(reason) => (Some(reason.code.to_owned()), Some(reason.message)),
            None => (None, None),
        };
        let dry_run = self.dry_run;
        self.lines.push(Line {
            topic,
            partition,
            offset,
            outcome,
            dry_run,
            reason,
            message,
        });
    }
}

/// Reads on until there are enough wanted letters; gives them and where to go on. A letter that was
/// written twice is taken once: the original in it is the same.
fn some(
    topics: &Topics,
    topic: &str,
    partition: i32,
    position: Option<i64>,
    wanted: &mut BTreeSet<i64>,
) -> Result<(Vec<(i64, Read)>, i64), Failure> {
    if topics
        .partitions(topic)?
        .is_none_or(|partitions| partition >= partitions)
    {
        return Ok((Vec::new(), 0));
    }
    let (first, end) = topics.bounds(topic, partition)?;
    let mut next = position.unwrap_or(first);
    let mut letters = Vec::new();
    let mut bytes = 0;
    topics.read(topic, partition, next, end, &mut |read| {
        next = read.offset + 1;
        if let Some(offset) = original_offset(&read)
            && wanted.remove(&offset)
        {
            bytes += read.bytes();
            letters.push((offset, read));
        }
        let enough = wanted.is_empty() || letters.len() >= LETTERS_MAX || bytes >= BYTES_MAX;
        if enough { Next::Enough } else { Next::On }
    })?;
    Ok((letters, next))
}

fn told(retried: Retried) -> (Outcome, Option<Reason>) {
    match retried {
        Retried::Applied => (Outcome::Applied, None),
        Retried::Superseded => (Outcome::Superseded, None),
        Retried::Waits(reason) => (Outcome::Waiting, Some(reason)),
        Retried::Refused(reason) => (Outcome::Failed, Some(reason)),
        Retried::Closed => (Outcome::Closed, None),
    }
}

fn gone() -> Failure {
    let what = "could not try dead letters again";
    Failure::one(
        Exit::Bug,
        Fault::new(
            what,
            "this program",
            "its reader is gone",
            "Please report this.",
        ),
    )
}
