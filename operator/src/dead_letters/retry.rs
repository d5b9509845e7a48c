//! `leafcutter dead-letters retry`: dead letters once more, under the present mapping.
//!
//! The originals come from the dead-letter topics and go through the consumer's own steps, applied
//! only where they are strictly newer than what is stored. What fails again stays open with its new
//! reason; what waits for its parent stays open until it is placed. Letters are taken some at a time,
//! each time in one transaction; where PostgreSQL refuses one, the others are tried without it.

mod outcome;

use super::{Filter, Letter, find, headers, original_offset, parse_id};
use crate::{
    catalog::Catalog,
    connect::State,
    kafka::{Next, Read, Topics, ask},
    settings::RetrySettings,
    show::Show,
};
use indicatif::{ProgressBar, ProgressStyle};
use leafcutter_consumer::{
    decode::{self, Prepared, Record},
    model::Model,
    preflight::causes,
    sink::{ApplyError, apply::Applier, retry::Retried},
    source::Delivery,
    transform::Rows,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    name::dead_letter_topic,
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
/// Attempts at letters whose rows change at the same moment.
const AGAIN_MAX: u32 = 8;

/// Tries them.
///
/// # Errors
/// When a server cannot be asked, the mapping is not the consumers', or a name is unknown.
pub async fn run(settings: RetrySettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &state).await?;
    let model = catalog.model.clone().ok_or_else(no_mapping)?;
    if !settings.dry_run {
        same_mapping(&state, &settings.installation.group, &model.mapping.hash).await?;
    }
    let (letters, closed) = wanted(&settings, &state, &catalog).await?;
    let applier = Applier::new(
        state.config.clone(),
        "leafcutter retry",
        &settings.installation.group,
        "leafcutter retry",
        Arc::clone(&model),
    );
    let progress = progress(letters.len(), show);
    let mut retry = Retry {
        model,
        applier,
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

/// Rows written under another mapping than the consumers' would be written again by the next event.
async fn same_mapping(state: &State, group: &str, ours: &str) -> Result<(), Failure> {
    const MAPPINGS: &str = "\
        select distinct mapping from leafcutter.consumers \
        where consumer_group = $1 and seen_at > now() - interval '15 s' and mapping <> $2";
    let rows = state
        .client
        .query(MAPPINGS, &[&group, &ours])
        .await
        .map_err(|error| state.lost(&error))?;
    let Some(row) = rows.first() else {
        return Ok(());
    };
    let theirs: String = row.get(0);
    let fault = Fault::new(
        "could not try dead letters again",
        format!("consumers of group `{group}`"),
        format!("they run with mapping {theirs}, and --mapping is {ours}"),
        "Start the consumers with this mapping first; or use --dry-run to see what this mapping \
         would do.",
    );
    Err(Failure::one(Exit::StateMismatch, fault))
}

/// The open letters that are meant, and those named by hand that are not open.
async fn wanted(
    settings: &RetrySettings,
    state: &State,
    catalog: &Catalog,
) -> Result<(Vec<Letter>, Vec<Line>), Failure> {
    let called = settings.collection.as_deref();
    let found = called.map(|called| catalog.find(called)).transpose()?;
    let mut ids = Vec::new();
    for id in &settings.ids {
        ids.push(parse_id(catalog, id)?);
    }
    let filter = Filter {
        topic: found.map(|index| catalog.collections[index].topic.clone()),
        reason: settings.reason.clone(),
        state: Some("open"),
        ids: (!ids.is_empty()).then(|| ids.clone()),
    };
    let letters = find(state, &filter, 0).await?;
    let there = |id: &leafcutter_schemas::dead_letter::Origin| {
        letters.iter().any(|l| {
            (l.topic.as_str(), l.partition, l.offset)
                == (id.topic.as_str(), id.partition, id.offset)
        })
    };
    let closed = ids.iter().filter(|id| !there(id)).map(|id| Line {
        topic: id.topic.clone(),
        partition: id.partition,
        offset: id.offset,
        outcome: Outcome::Closed,
        dry_run: settings.dry_run,
        reason: None,
        message: None,
    });
    let closed = closed.collect();
    Ok((letters, closed))
}

fn progress(letters: usize, show: &Show<'_>) -> ProgressBar {
    if !show.terminal || show.json || letters <= LETTERS_MAX {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(letters).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} dead letters, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

struct Retry {
    model: Arc<Model>,
    applier: Applier,
    place: String,
    dry_run: bool,
    /// Away while a thread reads with it.
    topics: Option<Topics>,
    lines: Vec<Line>,
    progress: ProgressBar,
}

impl Retry {
    /// Partition after partition; those of parents first, so that their children need not wait.
    async fn all(&mut self, letters: Vec<Letter>) -> Result<(), Failure> {
        let mut partitions: BTreeMap<(usize, String, i32), BTreeSet<i64>> = BTreeMap::new();
        for letter in letters {
            let Some(collection) = self.model.collection_of_topic(&letter.topic) else {
                let (topic, partition) = (letter.topic, letter.partition);
                self.note(topic, partition, letter.offset, Outcome::Unmapped, None);
                continue;
            };
            let place = self.model.collections[collection].roots[0].0;
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
                collection,
                partition,
                offset,
                timestamp,
                key,
                value,
                headers: None,
            };
            Record { delivery, prepared }
        };
        let records: Vec<Record> = read.into_iter().map(record).collect();
        let mut stack = vec![records];
        while let Some(mut part) = stack.pop() {
            match self.attempt(&part, &mut rows).await? {
                Ok(outcomes) => {
                    for (record, retried) in part.iter().zip(outcomes) {
                        let (outcome, reason) = told(retried);
                        let offset = record.delivery.offset;
                        self.note(topic.to_owned(), partition, offset, outcome, reason);
                    }
                }
                Err(reason) if part.len() == 1 => {
                    part[0].prepared = Prepared::Refused {
                        reason: Box::new(reason),
                        key: None,
                        version: None,
                    };
                    stack.push(part);
                }
                Err(_) => {
                    let second = part.split_off(part.len() / 2);
                    stack.push(second);
                    stack.push(part);
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
    ) -> Result<Result<Vec<Retried>, Reason>, Failure> {
        let mut again = 0;
        loop {
            match self
                .applier
                .retry(&self.model, records, rows, self.dry_run)
                .await
            {
                Ok(outcomes) => return Ok(Ok(outcomes)),
                Err(ApplyError::Definite(reason)) => return Ok(Err(*reason)),
                Err(ApplyError::Again(reason)) => {
                    again += 1;
                    if again > AGAIN_MAX {
                        return Ok(Err(reason.map_or_else(changing, |reason| *reason)));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error @ (ApplyError::Transient { .. } | ApplyError::Fenced(_))) => {
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

fn changing() -> Reason {
    Reason {
        stage: Stage::Apply,
        code: "refused",
        message: "the target changes under every attempt".to_owned(),
        table: None,
        column: None,
        path: None,
        sqlstate: None,
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
