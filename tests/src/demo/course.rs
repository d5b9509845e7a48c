//! The demo, step by step.

use super::{
    args::Settings,
    screen::{Loading, Screen, number, say},
    table,
};
use crate::{
    failure::{Attempt, Failure, Result},
    finlit::{
        Collection, FinLit,
        compare::{Sides, compare, letters, report::Report},
        ledger::Ledger,
        load::load,
        traffic,
    },
    probe,
    program::Program,
    stack::Stack,
    watch::{Seen, Watch},
    world::Place,
};
use mongodb::Database;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long a program may take to end.
const STOP: Duration = Duration::from_secs(60);

/// What was measured on the way.
#[derive(Debug, Default)]
pub struct Measured {
    start: Option<Instant>,
    /// Per collection: when its first record was applied, when its snapshot was, its documents.
    snapshots: BTreeMap<Collection, (Instant, Option<Instant>, u64)>,
    /// The most memory of each program, in KiB.
    pub peaks: Vec<(String, u64)>,
    /// Steps of the traffic.
    pub writes: u64,
    /// Those of several writes.
    pub transactions: u64,
    /// How long the traffic went on.
    pub traffic: Duration,
    /// How long the comparison took.
    pub comparison: Duration,
}

impl Measured {
    fn see(&mut self, place: &Place, seen: &Seen) -> Result<()> {
        let now = Instant::now();
        for collection in Collection::ALL {
            let topic = place.topic(collection.name())?;
            if seen.applied(&topic) == 0 {
                continue;
            }
            let (_, done, documents) = self.snapshots.entry(collection).or_insert((now, None, 0));
            if done.is_none() && seen.is_snapshot_applied(&topic) {
                *done = Some(now);
                *documents = seen
                    .said
                    .complete
                    .get(&topic)
                    .map_or(0, |complete| complete.documents);
            }
        }
        Ok(())
    }

    /// Seconds from the programs' start until the snapshot of a collection was applied, and its
    /// documents per second from the first one on.
    pub fn snapshot(&self, collection: Collection) -> Option<(f64, u64)> {
        let (first, done, documents) = self.snapshots.get(&collection)?;
        let done = (*done)?;
        Some((
            (done - self.start?).as_secs_f64(),
            per_second(*documents, done - *first),
        ))
    }

    /// The same for all, from the programs' start.
    pub fn whole_snapshot(&self) -> (f64, u64) {
        let last = self
            .snapshots
            .values()
            .filter_map(|(_, done, _)| *done)
            .max();
        let documents = self
            .snapshots
            .values()
            .map(|(_, _, documents)| documents)
            .sum();
        match (self.start, last) {
            (Some(start), Some(last)) => (
                (last - start).as_secs_f64(),
                per_second(documents, last - start),
            ),
            _ => (0.0, 0),
        }
    }
}

fn per_second(documents: u64, took: Duration) -> u64 {
    // Progress is looked at a few times a second: less than that cannot be told from nothing.
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(250);
    documents * 1000 / millis
}

/// Does everything. True: the comparison found nothing.
///
/// # Errors
/// When it cannot be carried through.
pub async fn run(settings: &Settings) -> Result<bool> {
    let stack = Stack::from_env()?;
    let finlit = FinLit::new(settings.seed, settings.scale);
    let folder = settings.folder();
    let place = Place::new(stack, &settings.database, &settings.prefix, &folder)?;
    let client = place.stack.mongodb().await?;
    let source = client.database(&settings.database);
    refuse_old_target(&place).await?;

    say(&format!(
        "Fill MongoDB: {} documents in 9 collections, seed {}, with the dirt real data has",
        number(finlit.total()),
        settings.seed
    ))?;
    let loading = Loading::new(finlit.total());
    load(&finlit, &source, |documents| loading.at(documents)).await?;
    drop(loading);

    let mut measured = Measured::default();
    let ledger = migrate(settings, &place, &finlit, &source, &mut measured).await?;

    say("Compare every document with every row")?;
    let began = Instant::now();
    let report = judge(&place, settings, &source, &ledger).await?;
    measured.comparison = began.elapsed();
    say("")?;
    say(&table::render(settings, &report, &measured))?;
    Ok(report.is_clean())
}

/// Another run's tables would be found extra.
async fn refuse_old_target(place: &Place) -> Result<()> {
    let target = place.stack.postgres().await?;
    let sql =
        "select to_regclass('learners') is not null or to_regnamespace('leafcutter') is not null";
    if target
        .query_one(sql, &[])
        .await
        .attempt("look into PostgreSQL")?
        .get(0)
    {
        return Err(Failure::new(
            "PostgreSQL already holds a migration: give the demo a database of its own",
        ));
    }
    Ok(())
}

/// From the first write of the traffic until everything is applied and the programs have ended.
async fn migrate(
    settings: &Settings,
    place: &Place,
    finlit: &FinLit,
    source: &Database,
    measured: &mut Measured,
) -> Result<Ledger> {
    say(&format!(
        "Migrate, with one producer and {} consumers, while an application writes {} times a second",
        settings.consumers, settings.rate
    ))?;
    let watch = Watch::new(place, &settings.group).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic = traffic::run(
        *finlit,
        source.client().clone(),
        source.clone(),
        settings.rate,
        stopped,
    );
    let traffic = tokio::spawn(traffic);
    measured.start = Some(Instant::now());
    let mut programs = start(settings, place).await?;
    let mut screen = Screen::new(place, finlit)?;

    let mut read_at = None;
    probe::until(settings.deadline, "the end of the snapshots", async || {
        let seen = watch.look().await?;
        show(&seen, &mut programs, &mut screen, measured, place)?;
        if traffic.is_finished() {
            return Ok(Some(()));
        }
        if read_at.is_none() && seen.said.complete.len() == Collection::ALL.len() {
            read_at = Some(Instant::now());
        }
        Ok(read_at
            .filter(|at| at.elapsed() >= settings.after)
            .map(|_| ()))
    })
    .await?;
    stop.send_replace(true);
    let done = traffic
        .await
        .attempt("write to MongoDB")?
        .attempt("write to MongoDB")?;
    watch
        .until_applied(done.last_write, settings.deadline, |seen| {
            show(seen, &mut programs, &mut screen, measured, place)
        })
        .await?;
    drop(screen);

    measured.writes = done.total();
    measured.traffic = done.took;
    measured.transactions = done.transactions;
    measured.peaks = programs
        .iter_mut()
        .map(|p| (p.name.clone(), p.peak_kib()))
        .collect();
    for program in programs {
        program.stop(STOP).await?;
    }
    let mut ledger = Ledger::of_load(finlit);
    ledger.extend(done.ledger);
    Ok(ledger)
}

async fn start(settings: &Settings, place: &Place) -> Result<Vec<Program>> {
    let mut producer = place.producer(&[])?;
    place.until_topics(&mut producer).await?;
    let mut programs = vec![producer];
    for n in 1..=settings.consumers {
        programs.push(place.consumer(&format!("consumer-{n}"), &settings.group, &[])?);
    }
    Ok(programs)
}

fn show(
    seen: &Seen,
    programs: &mut [Program],
    screen: &mut Screen,
    measured: &mut Measured,
    place: &Place,
) -> Result<()> {
    programs.iter_mut().try_for_each(Program::check)?;
    measured.see(place, seen)?;
    screen.show(seen)
}

async fn judge(
    place: &Place,
    settings: &Settings,
    source: &Database,
    ledger: &Ledger,
) -> Result<Report> {
    let mut target = place.stack.postgres().await?;
    let sides = Sides {
        mongodb: source,
        postgres: &mut target,
        prefix: &settings.prefix,
        group: &settings.group,
    };
    let mut report = compare(sides, ledger).await?;
    for finding in letters::check(place, &report.letters)? {
        report.add(finding);
    }
    Ok(report)
}
