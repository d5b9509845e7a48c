//! The consumer that fills the new tables, in this process, and how far it is.

use super::{
    super::settings::ReplaySettings,
    tables::{Tables, WHAT},
};
use crate::{
    connect::State,
    figures::{count, percent},
    kafka::{Topics, ask},
    progress::{drawn, say},
    show::Show,
};
use leafcutter_consumer::{
    pipeline,
    settings::{Ddl, MappingSettings, RunSettings},
};
use leafcutter_runtime::{
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    session::Session,
    state::{
        deferred_constraints::{self, DeferredRow},
        offsets, parked,
    },
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::task::{JoinError, JoinHandle};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How often Kafka is asked.
const ASK: Duration = Duration::from_secs(1);
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);
/// The columns of the bar.
const BAR: &str = "{wide_bar} {percent} %  {human_pos} of {human_len}  {rate}  {eta} to go";
/// So few records are passed in no time.
const NEARLY: i64 = 1_000;
/// After how many looks without a document less that waits it is taken for what waits for long.
const STILL: u32 = 5;

/// The next offset of each partition.
pub(super) type Positions = BTreeMap<(String, i32), i64>;

/// Where the topics begin and end.
pub(super) struct Ends {
    firsts: Positions,
    ends: Positions,
}

/// Asks Kafka where the topics begin and end.
pub(super) async fn ends(kafka: &KafkaSettings, topics: &[String]) -> Result<Ends, Failure> {
    let (kafka, names) = (kafka.clone(), topics.to_vec());
    ask(move || {
        let topics = Topics::open(&kafka)?;
        let mut found = Ends {
            firsts: Positions::new(),
            ends: Positions::new(),
        };
        for topic in names {
            let Some(partitions) = topics.partitions(&topic)? else {
                let place = format!("topic `{topic}` on `{}`", kafka.brokers);
                let next = "Start the producer with this mapping once, or check --prefix.";
                let fault = Fault::new(WHAT, place, "there is no such topic", next);
                return Err(Failure::one(Exit::Preflight, fault));
            };
            for partition in 0..partitions {
                let (first, end) = topics.bounds(&topic, partition)?;
                found.firsts.insert((topic.clone(), partition), first);
                found.ends.insert((topic.clone(), partition), end);
            }
        }
        Ok(found)
    })
    .await
}

fn next(positions: &Positions, partition: &(String, i32)) -> i64 {
    positions.get(partition).copied().unwrap_or_default()
}

impl Ends {
    /// Sees to it that everything that is still to be applied is there.
    pub(super) fn all_there(&self, applied: &Positions) -> Result<(), Failure> {
        let mut gone = Vec::new();
        for (partition, first) in &self.firsts {
            if next(applied, partition) < *first {
                gone.push(format!("{}/{} begins at {first}", partition.0, partition.1));
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        let why = format!(
            "the first records are gone (retention): {}",
            gone.join(", ")
        );
        let next = "Change the tables in use: leafcutter plan --apply, then leafcutter resnapshot.";
        Err(Failure::one(
            Exit::HistoryLost,
            Fault::new(WHAT, "Kafka", why, next),
        ))
    }

    /// Records that are to be applied.
    pub(super) fn left(&self, applied: &Positions) -> i64 {
        let ends = self.ends.iter();
        ends.map(|(partition, end)| (end - next(applied, partition)).max(0))
            .sum()
    }
}

/// How far a group is.
pub(super) async fn positions(
    session: &mut Session,
    group: &str,
) -> Result<Positions, tokio_postgres::Error> {
    let found = offsets::positions(session, group).await?;
    let next = |(partition, position): (_, offsets::Position)| (partition, position.next);
    Ok(found.into_iter().map(next).collect())
}

/// Whether one is as far as the other in every partition of these topics.
pub(super) fn is_as_far(topics: &[String], one: &Positions, other: &Positions) -> bool {
    let mut of_these = other
        .iter()
        .filter(|((topic, _), _)| topics.contains(topic));
    of_these.all(|(partition, end)| next(one, partition) >= *end)
}

/// How filling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filled {
    /// The new tables are as far as the topics.
    Done,
    /// A person has stopped it.
    Interrupted,
}

/// The consumer.
pub(super) struct Filler {
    task: JoinHandle<Result<Exit, Failure>>,
    shutdown: Shutdown,
}

impl Filler {
    /// Starts it.
    pub(super) fn start(
        settings: &ReplaySettings,
        tables: &Tables,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let model = tables.staged()?;
        let installation = &settings.installation;
        let flags = ["--group", &tables.group, "--admin", "127.0.0.1:0"];
        let place = MappingSettings {
            mapping: installation.mapping.clone().unwrap_or_default(),
            prefix: installation.prefix.clone(),
        };
        let servers = (settings.kafka.clone(), settings.postgres.clone());
        let settings = RunSettings {
            // Kafka may remember it from new tables that were given up.
            begin_anew: true,
            ddl: Ddl::Create,
            ..RunSettings::with_flags(place, servers, &flags)?
        };
        let shutdown = shutdown.child();
        let stop = shutdown.clone();
        let task = tokio::spawn(Box::pin(pipeline::run_with(settings, model, stop)));
        Ok(Self { task, shutdown })
    }

    /// Ends it: what it has read is applied.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.shutdown.trigger();
        ended(self.task.await).map(drop)
    }

    /// Why it has ended by itself, if it has.
    pub(super) async fn look(&mut self) -> Result<(), Failure> {
        if !self.task.is_finished() || self.shutdown.is_triggered() {
            return Ok(());
        }
        ended((&mut self.task).await)?;
        let why = "the consumer that fills them ended by itself";
        let next = "Say the command once more: it goes on.";
        Err(Failure::one(
            Exit::Bug,
            Fault::new(WHAT, "this program", why, next),
        ))
    }

    async fn left(
        &mut self,
        state: &mut State,
        tables: &Tables,
        ends: &Ends,
    ) -> Result<i64, Failure> {
        self.look().await?;
        let applied = positions(&mut state.session, &tables.group).await;
        Ok(ends.left(&applied.map_err(|error| state.lost(&error))?))
    }

    /// Waits until the new tables are as far as the topics were.
    pub(super) async fn fill(
        &mut self,
        state: &mut State,
        tables: &Tables,
        ends: &Ends,
        (show, shutdown): (&mut Show<'_>, &Shutdown),
    ) -> Result<Filled, Failure> {
        let whole = self.left(state, tables, ends).await?;
        let bar = drawn(Some(u64::try_from(whole).unwrap_or(0)), BAR, show);
        let mut told = Instant::now();
        let mut left = whole;
        while left > 0 {
            bar.set_position(u64::try_from(whole - left).unwrap_or(0));
            if bar.is_hidden() && told.elapsed() > TELL {
                told = Instant::now();
                let (done, part) = (whole - left, percent(whole - left, whole));
                say(
                    show,
                    &format!("{part} %, {} of {}\n", count(done), count(whole)),
                );
            }
            if !shutdown.sleep(LOOK).await {
                bar.finish_and_clear();
                return Ok(Filled::Interrupted);
            }
            left = self.left(state, tables, ends).await?;
        }
        bar.finish_and_clear();
        Ok(Filled::Done)
    }

    /// Waits until it is nearly as far as the topics are now, and what it has parked and can place is placed.
    pub(super) async fn follow(
        &mut self,
        state: &mut State,
        tables: &Tables,
        (kafka, shutdown): (&KafkaSettings, &Shutdown),
    ) -> Result<Filled, Failure> {
        let (mut least, mut still) = (i64::MAX, 0);
        loop {
            let now = ends(kafka, &tables.exchange.topics).await?;
            let is_near = self.left(state, tables, &now).await? <= NEARLY;
            let waiting = parked::of_group(&mut state.session, &tables.group).await;
            let waiting = waiting.map_err(|error| state.lost(&error))?;
            let mut deferred = deferred_constraints::rows(&mut state.session).await;
            let deferred = deferred.as_mut().map_err(|error| state.lost(error))?;
            deferred.retain(|row| row.is_in(&tables.schema));
            if let Some(row) = deferred.iter().find(|row| row.problem.is_some()) {
                return Err(unproven(row));
            }
            let is_near = is_near && deferred.is_empty();
            still = if is_near && waiting >= least {
                still + 1
            } else {
                0
            };
            least = least.min(waiting);
            if is_near && (waiting == 0 || still >= STILL) {
                return Ok(Filled::Done);
            }
            if !shutdown.sleep(ASK).await {
                return Ok(Filled::Interrupted);
            }
        }
    }
}

/// The new tables do not get a constraint.
fn unproven(row: &DeferredRow) -> Failure {
    let place = format!("{} on {}", row.name, row.table);
    let why = row.problem.clone().unwrap_or_default();
    let next = "Mend the rows of the new table, and say the command again.";
    Failure::one(Exit::Preflight, Fault::new(WHAT, place, why, next))
}

/// How the consumer's task has ended.
fn ended(joined: Result<Result<Exit, Failure>, JoinError>) -> Result<Exit, Failure> {
    joined.unwrap_or_else(|error| {
        let why = error.to_string();
        let fault = Fault::new(WHAT, "this program", why, "Please report this.");
        Err(Failure::one(Exit::Bug, fault))
    })
}
