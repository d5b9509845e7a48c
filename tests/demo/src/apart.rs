//! The demo's parts one by one, for programs that somebody else starts: Docker Compose, or a person.
//!
//! [`load`] fills MongoDB. [`compare()`] holds what is there against what is there, at any time and
//! as often as one likes. [`trial`] goes on writing until Ctrl-C, as an application would, whatever
//! is done to the programs meanwhile; it knows what must become of each document that it wrote, so
//! its comparison asks for that as well.

use super::{
    args::{scale, seconds},
    screen::{Loading, Screen, number, say},
};
use bson::{Document, Timestamp, doc};
use clap::Args;
use leafcutter_finlit::{
    Collection, FinLit, MAPPING,
    compare::{self, Sides, dead_letters, report::Report},
    ledger::Ledger,
    traffic, unsettled,
};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    source::now,
    stack::Stack,
    watch::Watch,
    world::Place,
};
use mongodb::Database;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Which data.
#[derive(Debug, Args)]
pub struct Data {
    /// Which data: the same seed gives the same documents
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// How much data: 1 is about 200,000 documents
    #[arg(long, env = "SCALE", default_value_t = 1.0, value_parser = scale)]
    pub scale: f64,
    /// The database of MongoDB
    #[arg(long, default_value = "finlit", value_name = "NAME")]
    pub database: String,
}

/// The settings of `load`.
#[derive(Debug, Args)]
pub struct LoadSettings {
    /// Which data.
    #[command(flatten)]
    pub data: Data,
    /// Leave a database that is not empty as it is, and be content
    #[arg(long)]
    pub if_empty: bool,
}

/// The settings of `compare`.
#[derive(Debug, Args)]
pub struct CompareSettings {
    /// Which data: it sets the length of the bars, and `trial` writes to it.
    #[command(flatten)]
    pub data: Data,
    /// Seconds after which the wait is given up
    #[arg(long, default_value = "600", value_name = "SECS", value_parser = seconds)]
    pub deadline: Duration,
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// The consumer group
    #[arg(long, env = "LEAFCUTTER_GROUP", default_value = "leafcutter")]
    pub group: String,
}

/// The settings of `trial`.
#[derive(Debug, Args)]
pub struct TrialSettings {
    /// What is compared in the end.
    #[command(flatten)]
    pub compare: CompareSettings,
    /// Writes a second
    #[arg(long, env = "RATE", default_value_t = 300, value_name = "N")]
    pub rate: u32,
}

impl Data {
    fn finlit(&self) -> FinLit {
        FinLit::new(self.seed, self.scale)
    }

    async fn source(&self, stack: &Stack) -> Result<Database> {
        Ok(stack.mongodb().await?.database(&self.database))
    }
}

/// Fills MongoDB. True when it is filled.
///
/// # Errors
/// When MongoDB fails, or already holds something.
pub async fn load(settings: &LoadSettings) -> Result<bool> {
    let Data { seed, database, .. } = &settings.data;
    let finlit = settings.data.finlit();
    let source = settings.data.source(&Stack::from_env()?).await?;
    if settings.if_empty {
        let there = source.list_collection_names().await;
        if !there.attempt("list the collections")?.is_empty() {
            say(&format!(
                "`{database}` holds something already: left as it is"
            ))?;
            return Ok(true);
        }
    }
    let began = Instant::now();
    let loading = Loading::new(finlit.total());
    leafcutter_finlit::load::load(&finlit, &source, |documents| loading.at(documents)).await?;
    drop(loading);
    say(&format!(
        "`{database}` filled with {} documents in {} collections, seed {seed} ({} s)",
        number(finlit.total()),
        Collection::ALL.len(),
        began.elapsed().as_secs()
    ))?;
    Ok(true)
}

/// Waits until everything that is written by now is applied, and compares everything.
///
/// # Errors
/// When a server fails, or the deadline passes.
pub async fn compare(settings: &CompareSettings) -> Result<bool> {
    let stack = Stack::from_env()?;
    let source = settings.data.source(&stack).await?;
    let now = now(&source).await?;
    until_equal(settings, stack, &source, now, &Ledger::default()).await
}

/// Writes until Ctrl-C, waits until everything is applied, and compares everything.
///
/// # Errors
/// When a server fails, or the deadline passes.
pub async fn trial(settings: &TrialSettings) -> Result<bool> {
    let TrialSettings { compare, rate } = settings;
    let stack = Stack::from_env()?;
    let source = compare.data.source(&stack).await?;
    let finlit = compare.data.finlit();
    refuse_other_data(&finlit, &source).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut end = signal(SignalKind::interrupt()).attempt("listen for signals")?;
    say(&format!(
        "Write {rate} times a second until Ctrl-C, then compare everything"
    ))?;
    let writing = traffic::run(
        finlit,
        source.client().clone(),
        source.clone(),
        *rate,
        stopped,
    );
    let asked = async {
        end.recv().await;
        stop.send_replace(true);
        // The writes that were promised for later are made now.
        std::future::pending::<Result<traffic::Done>>().await
    };
    let done = tokio::select! {
        done = writing => done.attempt("write to MongoDB")?,
        never = asked => never?,
    };
    say(&format!(
        "{} writes in {} s, {} of them transactions",
        number(done.total()),
        done.took.as_secs(),
        number(done.transactions)
    ))?;
    let mut ledger = Ledger::of_load(&finlit);
    ledger.extend(done.ledger);
    tokio::select! {
        equal = until_equal(compare, stack, &source, done.last_write, &ledger) => equal,
        _ = end.recv() => Err(Failure::new("interrupted before the comparison")),
    }
}

/// The fates of documents that somebody else wrote are not known.
async fn refuse_other_data(finlit: &FinLit, source: &Database) -> Result<()> {
    for collection in Collection::ALL {
        let documents = source.collection::<Document>(collection.name());
        let documents = documents.count_documents(doc! {}).await;
        let documents = documents.attempt(&format!("count `{}`", collection.name()))?;
        let loaded = u64::from(finlit.count(collection));
        if documents != loaded {
            return Err(Failure::new(format!(
                "`{}` has {} documents, and {} were loaded: a trial needs data that nobody has \
                 written to since, of the same seed and scale",
                collection.name(),
                number(documents),
                number(loaded)
            )));
        }
    }
    Ok(())
}

async fn until_equal(
    settings: &CompareSettings,
    stack: Stack,
    source: &Database,
    last_write: Timestamp,
    ledger: &Ledger,
) -> Result<bool> {
    let folder = std::env::temp_dir().join("leafcutter-demo");
    let place = Place::new(
        MAPPING,
        stack,
        &settings.data.database,
        &settings.prefix,
        &folder,
    )?;
    say("Wait until everything is applied")?;
    let mut screen = Screen::new(&place, &settings.data.finlit(), Instant::now())?;
    let watch = Watch::new(&place, &settings.group).await?;
    watch
        .until_settled(last_write, settings.deadline, &unsettled::count(), |seen| {
            screen.show(seen)
        })
        .await?;
    drop(screen);
    say("Compare every document with every row")?;
    let began = Instant::now();
    let mut target = place.stack.postgres().await?;
    let sides = Sides {
        mongodb: source,
        postgres: &mut target,
        prefix: &settings.prefix,
        group: &settings.group,
    };
    let mut report = compare::compare(sides, ledger).await?;
    for finding in dead_letters::check(&place, &report.dead_letters)? {
        report.add(finding);
    }
    tell(&report, began.elapsed())?;
    Ok(report.is_clean())
}

fn tell(report: &Report, took: Duration) -> Result<()> {
    let rows = report.tallies.values().map(|tally| tally.rows).sum();
    let held: u64 = report.tallies.values().map(|tally| tally.held).sum();
    let dead_letters = u64::try_from(report.dead_letters.len()).unwrap_or(0);
    say(&format!(
        "{} documents, {} rows ({} held), {} dead letters, {} fates ({} s)",
        number(report.documents()),
        number(rows),
        number(held),
        number(dead_letters),
        number(report.fates),
        took.as_secs()
    ))?;
    if report.is_clean() {
        say("Nothing is missing, nothing is extra, nothing differs.")
    } else {
        say(&format!("It is not right:\n{report}"))
    }
}
