//! The steps of reading one collection again, in their order.
//!
//! 1. What is passed by for good is noted in PostgreSQL, in one transaction with the positions that move.
//! 2. Where history is lost, a checkpoint lets a producer follow the collection from that time on.
//! 3. The documents are read and sent.
//! 4. The `_id`s are read; then it is asked where the topic ends, and waited until that is applied.
//! 5. What is stored and was not seen is deleted. Only then it is finished.

use super::{
    part::Part,
    sweep,
    tell::{Sweep, Told, plan, tell},
    work::{Outcome, Work, bar, u64_of},
};
use crate::{
    catalog::usage,
    confirm::{Answer, SAY, agreed, asked, somebody},
    figures::count,
    progress::{say, watched},
    show::{Show, wrap},
};
use indicatif::ProgressBar;
use leafcutter_runtime::report::Failure;
use leafcutter_sink::{
    session::Session,
    state::{offsets, older_rows, resnapshots},
    sweep::held,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How many documents are looked for in one statement.
const LOOKED_FOR: usize = 5_000;
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);

impl Work<'_> {
    /// All of it.
    pub(super) async fn run(&mut self, show: &mut Show<'_>) -> Result<Outcome, Failure> {
        self.look().await?;
        let (name, part) = (self.collection.name.clone(), self.part.word());
        if !show.json {
            let truncate = self.settings.truncate_first;
            show.text(&plan(&name, part, &self.facts, truncate));
        }
        let mut told = Told {
            collection: name,
            part,
            documents: self.facts.documents,
            rows: self.facts.rows,
            history_lost: self.facts.lost,
            ..Told::default()
        };
        if self.settings.dry_run {
            told.dry_run = true;
            told.gone = sweep::count_gone(self, show).await?;
            tell(show, &told);
            return Ok(Outcome::Done);
        }
        if !self.settings.yes && !self.confirmed(show).await? {
            show.line("nothing was changed");
            return Ok(Outcome::Refused);
        }
        tracing::info!(
            collection = told.collection,
            part,
            documents = told.documents,
            rows = told.rows,
            "reading again"
        );
        let ended = self.steps(show, &mut told).await?;
        tracing::info!(
            collection = told.collection,
            documents = told.documents,
            deleted = told.deleted,
            held = told.held,
            refused = told.refused,
            outcome = ?ended,
            "ended reading again"
        );
        told.seconds = self.begun.elapsed().as_secs();
        told.done = ended == Outcome::Done;
        tell(show, &told);
        if ended == Outcome::Done && told.refused > 0 {
            return Ok(Outcome::Differences);
        }
        Ok(ended)
    }

    async fn look(&mut self) -> Result<(), Failure> {
        self.facts.documents = match &self.part {
            Part::Ids(groups) => u64::try_from(groups.len()).unwrap_or(u64::MAX),
            part => self.reader.count(part.filter()).await?,
        };
        self.facts.rows = sweep::finder(self)
            .await?
            .rows()
            .await
            .map_err(|e| self.state.lost(&e))?;
        self.facts.sweep = match (&self.part, self.settings.no_sweep) {
            (_, true) => Sweep::No,
            (Part::Ids(_), _) => Sweep::OfIds,
            _ if self.reader.is_series() => Sweep::Series,
            _ => Sweep::Yes,
        };
        let gap = self.facts.lost || !self.facts.expired.is_empty();
        if gap && self.settings.no_sweep {
            return Err(usage(
                "could not leave the sweep out",
                "`--no-sweep`",
                "deletes are among what was lost, and only the sweep finds them",
                "Leave the flag out.",
            ));
        }
        Ok(())
    }

    /// Whether a whole read is noted until it is finished.
    fn is_noted(&self) -> bool {
        matches!(self.part, Part::Whole) && !self.settings.no_sweep
    }

    async fn steps(&mut self, show: &mut Show<'_>, told: &mut Told) -> Result<Outcome, Failure> {
        if self.is_noted() {
            told.passed_by = self.begin().await?;
        }
        if self.facts.lost {
            let text = format!(
                "The history of {} is lost up to now. A producer that had stopped for it can be started.",
                self.collection.name
            );
            say(show, &wrap("", &text));
        }
        if self.settings.truncate_first && !sweep::all(self, show, told).await? {
            return Ok(Outcome::Stopped);
        }
        if !self.read(show, told).await? {
            return Ok(Outcome::Stopped);
        }
        let mut finder = None;
        if self.facts.sweep == Sweep::Yes {
            let mut found = sweep::finder(self).await?;
            let Some(time) = sweep::see(self, &mut found, show).await? else {
                return Ok(Outcome::Stopped);
            };
            finder = Some((found, time));
        }
        if !self.applied(show).await? {
            return Ok(Outcome::Stopped);
        }
        if let Part::Ids(groups) = &self.part
            && told.deleted > 0
        {
            let mut all = 0;
            for groups in groups.chunks(LOOKED_FOR) {
                let session = &mut self.state.session;
                let held = held(session, &self.model, self.id, &groups.concat()).await;
                all += held.map_err(|error| self.state.lost(&error))?;
            }
            told.held = i64::try_from(all).unwrap_or(i64::MAX).min(told.deleted);
            told.deleted -= told.held;
        }
        if let Some((finder, time)) = finder {
            match sweep::sweep(self, finder, time, show, told).await? {
                Outcome::Done => {}
                other => return Ok(other),
            }
        }
        let topic = &self.collection.topic;
        if self.is_noted() {
            let finished = resnapshots::finish(&mut self.state.session, topic);
            finished.await.map_err(|error| self.state.lost(&error))?;
        }
        if matches!(self.part, Part::Whole) {
            let group = &self.settings.installation.group;
            let session = &mut self.state.session;
            let cleared = older_rows::clear(session, group, topic, self.generation);
            cleared.await.map_err(|error| self.state.lost(&error))?;
        }
        Ok(Outcome::Done)
    }

    /// Notes that it begins, and passes by what is lost for good; gives the records of it.
    async fn begin(&mut self) -> Result<i64, Failure> {
        let time = self.reader.now().await?;
        let (group, topic) = (&self.settings.installation.group, &self.collection.topic);
        let session = &mut self.state.session;
        let noted = begin_noted(session, (group, topic), time, &self.facts.expired).await;
        let passed_by = noted.map_err(|error| self.state.lost(&error))?;
        if self.facts.lost {
            self.reader.cover(time).await?;
        }
        Ok(passed_by)
    }

    /// Reads and sends; false when it was stopped.
    async fn read(&mut self, show: &mut Show<'_>, told: &mut Told) -> Result<bool, Failure> {
        let reader = Arc::clone(&self.reader);
        let bar = bar(self.facts.documents, "reading", show);
        let reading = async {
            match &self.part {
                Part::Whole => Ok(reader.whole(&self.shutdown).await?.then_some((0, None))),
                Part::Ids(groups) => {
                    let read = reader.documents(groups, &self.shutdown).await?;
                    Ok(read.map(|(there, gone)| (there, Some(gone))))
                }
                Part::Matching(_, filter) => {
                    let read = reader.matching(filter, &self.shutdown).await?;
                    Ok(read.map(|there| (there, None)))
                }
            }
        };
        let read: Option<(u64, Option<u64>)> =
            watched(Box::pin(reading), &bar, show, || self.reader.progress().0).await?;
        bar.finish_and_clear();
        let Some((_, gone)) = read else {
            return Ok(false);
        };
        told.documents = self.reader.progress().0;
        tracing::info!(documents = told.documents, "read and sent");
        if let Some(gone) = gone {
            let gone = i64::try_from(gone).unwrap_or(i64::MAX);
            told.gone = Some(gone);
            told.deleted = gone;
        }
        Ok(true)
    }

    /// Waits until what was sent is applied; false when it was stopped.
    async fn applied(&mut self, show: &mut Show<'_>) -> Result<bool, Failure> {
        let ends = self.reader.ends().await?;
        let group = self.settings.installation.group.clone();
        let mut first: Option<i64> = None;
        let mut whole: Option<ProgressBar> = None;
        let mut told = Instant::now();
        loop {
            let progress = offsets::progress(&mut self.state.session, &group).await;
            let mut progress = progress.map_err(|error| self.state.lost(&error))?;
            let positions = progress.remove(&self.collection.topic).unwrap_or_default();
            let next = |partition: i32| positions.get(&partition).copied().unwrap_or_default();
            let left: i64 = (0..)
                .zip(&ends)
                .map(|(partition, end)| (end - next(partition)).max(0))
                .sum();
            let most = *first.get_or_insert(left);
            let bar = whole.get_or_insert_with(|| bar(u64_of(most), "applying", show));
            bar.set_position(u64_of(most - left));
            if left == 0 {
                tracing::info!(records = most, "applied");
                bar.finish_and_clear();
                return Ok(true);
            }
            if bar.is_hidden() && told.elapsed() > TELL {
                told = Instant::now();
                say(show, &format!("{} records to be applied\n", count(left)));
            }
            if !self.shutdown.sleep(LOOK).await {
                bar.finish_and_clear();
                return Ok(false);
            }
        }
    }

    async fn confirmed(&self, show: &mut Show<'_>) -> Result<bool, Failure> {
        somebody(show, "could not read a collection again", SAY)?;
        if agreed(show, "\nRead again? [y/N] ", &self.shutdown).await != Answer::Yes {
            return Ok(false);
        }
        if !self.settings.truncate_first {
            return Ok(true);
        }
        let name = &self.collection.name;
        let rows = count(self.facts.rows);
        let text = format!(
            "All {rows} rows of {name} are deleted first, and are missing until they are read again. \
             To go on, type the collection's name."
        );
        show.text(&wrap("", &text));
        Ok(asked(show, "> ", &self.shutdown).await == *name)
    }
}

async fn begin_noted(
    session: &mut Session,
    (group, topic): (&str, &str),
    time: leafcutter_schemas::version::Version,
    expired: &[(i32, i64)],
) -> Result<i64, tokio_postgres::Error> {
    session.batch("begin").await?;
    resnapshots::begin(session, topic, time).await?;
    let passed_by = offsets::pass_by(session, group, topic, expired).await?;
    session.batch("commit").await?;
    Ok(passed_by)
}
