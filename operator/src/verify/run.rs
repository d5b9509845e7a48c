//! The course of a verification.

use super::{
    again,
    board::Board,
    counted::{self, Counted},
    covered::{Covered, Trouble},
    integrity::{self, Integrity},
    job::Job,
    pace::Pace,
    progress,
    read::{self, Which},
    repair,
    report::{How, Report, tell_counts},
    resume::Progress,
    seen::Seen,
    settings::VerifySettings,
    source::{Range, Source},
    suspects::{Matter, Suspect, Suspects},
    target::Target,
    work::Work,
};
use crate::{
    catalog::{Catalog, usage},
    connect::State,
    in_force::{self, Purpose},
    show::Show,
    status::facts::ControlFollower,
};
use leafcutter_runtime::{exit::Exit, report::Failure, shutdown::Shutdown};
use leafcutter_schemas::name;
use leafcutter_sink::{ids::CollectionId, model::Model};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

/// How often it is looked how far the target is.
const COVERED: Duration = Duration::from_millis(500);
/// Batches of keys on their way to the temporary table at most.
const KEYS: usize = 16;

/// Verifies.
///
/// # Errors
/// When the mapping has faults, a collection is unknown, or a server refuses or is lost.
pub async fn run(settings: VerifySettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Preflight, fault))?;
    let Some(pause) = settings.watch else {
        let (end, job) = Box::pin(once(&settings, show, &shutdown)).await?;
        let wanted = settings.repair && end.exit() != Exit::Done && !shutdown.is_triggered();
        if !wanted {
            return Ok(end.tell(&settings, show));
        }
        if !show.json {
            end.tell(&settings, show);
        }
        repair::repair(&settings, &job.works, job.board.repairs(), show).await?;
        let (end, _) = Box::pin(once(&settings, show, &shutdown)).await?;
        return Ok(end.tell(&settings, show));
    };
    let mut worst = Exit::Done;
    loop {
        let (end, _) = Box::pin(once(&settings, show, &shutdown)).await?;
        let exit = end.tell(&settings, show);
        worst = if exit == Exit::Done { worst } else { exit };
        tokio::select! {
            () = shutdown.wait() => return Ok(worst),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Compares once, for another verb: shows how far it is, and leaves telling what it came to.
///
/// # Errors
/// As [`run`].
pub async fn compare(
    settings: &VerifySettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Report, Failure> {
    let job = Arc::new(open(settings, shutdown.clone()).await?);
    Box::pin(compared(settings, show, shutdown, &job)).await
}

/// What a verification came to.
enum End {
    Counted(Vec<Counted>),
    Compared(Report),
}

impl End {
    fn exit(&self) -> Exit {
        match self {
            Self::Counted(counted) if counted.iter().all(Counted::fits) => Exit::Done,
            Self::Counted(_) => Exit::Differences,
            Self::Compared(report) => report.exit(),
        }
    }

    fn tell(&self, settings: &VerifySettings, show: &mut Show<'_>) -> Exit {
        match self {
            Self::Counted(counted) => tell_counts(show, counted),
            Self::Compared(report) => report.tell(show, !settings.no_values),
        }
        self.exit()
    }
}

async fn once(
    settings: &VerifySettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<(End, Arc<Job>), Failure> {
    let job = Arc::new(open(settings, shutdown.clone()).await?);
    if settings.counts_only {
        return Ok((End::Counted(counted::count(&job).await?), job));
    }
    let report = Box::pin(compared(settings, show, shutdown, &job)).await?;
    Ok((End::Compared(report), job))
}

async fn compared(
    settings: &VerifySettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
    job: &Arc<Job>,
) -> Result<Report, Failure> {
    let began = Instant::now();
    tracing::info!(
        collections = job.works.len(),
        "comparing documents with rows"
    );
    let hash = job.works.first().map_or("", |work| work.hash.as_str());
    let progress = Arc::new(Progress::open(settings.resume.as_deref(), hash)?);
    let mut whole = 0;
    for work in &job.works {
        let all = job.source.estimate(work).await?;
        whole += settings.sample.map_or(all, |sample| all.min(sample.into()));
    }
    let course = Box::pin(course(job, settings, &progress));
    let integrity = progress::shown(job, whole, show, course).await?;
    job.board.flush()?;
    let how = How {
        integrity,
        whole: settings.sample.is_none() && settings.since.is_none(),
        interrupted: shutdown.is_triggered(),
        seconds: began.elapsed().as_secs(),
    };
    let report = Report::of(job, &job.board, &how);
    for part in &report.collections {
        tracing::info!(
            collection = part.collection,
            documents = part.counts.documents,
            rows = part.counts.rows,
            children = part.counts.children,
            differ = part.counts.differ,
            missing = part.missing,
            extra = part.extra,
            "compared"
        );
    }
    tracing::info!(verdict = report.verdict, seconds = how.seconds, "verified");
    Ok(report)
}

async fn open(settings: &VerifySettings, shutdown: Shutdown) -> Result<Job, Failure> {
    let Some(file) = &settings.installation.mapping else {
        let next = "Give --mapping or LEAFCUTTER_MAPPING.";
        return Err(usage(
            "could not verify",
            "`--mapping`",
            "there is no mapping to verify by",
            next,
        ));
    };
    let catalog = Catalog::load(&settings.installation.prefix, Some(file))?;
    let Some(model) = &catalog.model else {
        return Err(usage(
            "could not verify",
            "`--mapping`",
            "there is no mapping",
            "Give --mapping.",
        ));
    };
    let works = works(settings, &catalog, model)?;
    let mut state = State::open(&settings.postgres).await?;
    if settings.repair {
        let purpose = Purpose {
            what: "could not repair",
            group: &settings.installation.group,
            file: Some(file),
        };
        in_force::same(&mut state, model, purpose).await?;
    }
    let source = Source::open(&settings.mongodb).await?;
    let control = name::control_topic(&settings.installation.prefix);
    let follower = ControlFollower::new(settings.kafka.clone(), control);
    let files = (settings.out.as_deref(), settings.repair_sql.as_deref());
    Ok(Job {
        board: Board::new(works.len(), settings.show, files)?,
        started: source.now().await?,
        works,
        source,
        config: state.config.clone(),
        place: state.place.clone(),
        suspects: Suspects::default(),
        covered: Arc::new(Mutex::new(Covered::new(
            follower,
            &settings.installation.group,
        ))),
        pace: Pace::new(settings.rate),
        patience: settings.patience,
        shutdown,
    })
}

fn works(
    settings: &VerifySettings,
    catalog: &Catalog,
    model: &Model,
) -> Result<Vec<Work>, Failure> {
    let mut chosen: Vec<usize> = Vec::new();
    for called in &settings.collections {
        chosen.push(catalog.find(called)?);
    }
    if chosen.is_empty() {
        chosen.extend(0..model.collections.len());
    }
    chosen.sort_unstable();
    chosen.dedup();
    let works = chosen.into_iter().enumerate();
    let works: Vec<Work> = works
        .map(|(index, id)| Work::of(index, CollectionId(id), model))
        .collect();
    let undated = works
        .iter()
        .find(|work| settings.since.is_some() && work.poll_by.is_empty());
    if let Some(undated) = undated {
        return Err(usage(
            "could not find documents by their dates",
            &format!("`{}`", undated.full_name()),
            "the mapping names no dates of this collection",
            "Add `poll_by` to it, or choose others with --collection.",
        ));
    }
    Ok(works)
}

/// Everything, and what holds within PostgreSQL.
async fn course(
    job: &Arc<Job>,
    settings: &VerifySettings,
    progress: &Arc<Progress>,
) -> Result<Option<Integrity>, Failure> {
    let follows = follow(job).await?;
    let settling = tokio::spawn(again::settle(Arc::clone(job)));
    let read = read_all(job, settings, progress);
    let read = tokio::select! {
        read = Box::pin(read) => read,
        failure = broken(&settling) => Err(failure),
    };
    job.suspects.close();
    if read.is_err() {
        settling.abort();
    }
    let settled = settling.await;
    follows.abort();
    read?;
    match settled {
        Ok(settled) => settled?,
        Err(error) => return Err(read::bug(&error)),
    }
    if job.shutdown.is_triggered() {
        return Ok(None);
    }
    let mut target = Target::open(&job.config)
        .await
        .map_err(|error| job.unreachable(&error))?;
    let mut all = Integrity::default();
    for work in &job.works {
        let found = integrity::check(&mut target, work, &job.board).await;
        all.add(
            &found.map_err(|error| job.refused("could not look at references and keys", &error))?,
        );
    }
    Ok(Some(all))
}

/// Never comes back unless settling has ended too early; its own failure is told by whoever joins it.
async fn broken(settling: &JoinHandle<Result<(), Failure>>) -> Failure {
    loop {
        tokio::time::sleep(COVERED).await;
        if settling.is_finished() {
            return usage(
                "could not go on verifying",
                "a server",
                "looking again has failed",
                "See above.",
            );
        }
    }
}

/// Looks all the time how far the target is.
async fn follow(job: &Arc<Job>) -> Result<JoinHandle<()>, Failure> {
    let mut target = Target::open(&job.config)
        .await
        .map_err(|error| job.unreachable(&error))?;
    // What cannot be read at the start is told; later on it is waited for.
    match job.covered.lock().await.look(&mut target.session).await {
        Ok(()) | Err(Trouble::Gone) => {}
        Err(Trouble::Kafka(fault)) => return Err(Failure::one(Exit::Preflight, fault)),
        Err(Trouble::PostgreSql(error)) => {
            return Err(job.refused("could not read positions", &error));
        }
    }
    let job = Arc::clone(job);
    Ok(tokio::spawn(async move {
        loop {
            let looked = job.covered.lock().await.look(&mut target.session).await;
            if let Err(trouble) = looked {
                tracing::warn!(?trouble, "it cannot be told how far the consumers are");
            }
            tokio::time::sleep(COVERED).await;
        }
    }))
}

async fn read_all(
    job: &Arc<Job>,
    settings: &VerifySettings,
    progress: &Arc<Progress>,
) -> Result<(), Failure> {
    for work in 0..job.works.len() {
        if job.shutdown.is_triggered() {
            return Ok(());
        }
        let (jobs, place) = (settings.jobs, (None, progress));
        match (settings.sample, settings.since) {
            (Some(size), _) => read::read(job, work, Which::Sample(size), jobs, place).await?,
            (None, Some(date)) => read::read(job, work, Which::Since(date), jobs, place).await?,
            (None, None) => read_whole(job, work, jobs, progress).await?,
        }
    }
    Ok(())
}

/// All documents of a collection, and then its rows without a document.
async fn read_whole(
    job: &Arc<Job>,
    work: usize,
    jobs: u16,
    progress: &Arc<Progress>,
) -> Result<(), Failure> {
    let name = job.works[work].full_name();
    let ranges = match progress.of(&name) {
        Some((ranges, doubts)) => {
            job.suspects.add(
                doubts
                    .into_iter()
                    .map(|id| Suspect::new(work, Matter::Document(id))),
            );
            ranges
        }
        None => {
            let documents = job.source.estimate(&job.works[work]).await?;
            let bounds = job.source.bounds(&job.works[work], documents).await?;
            progress.begin(&name, &bounds);
            Range::between(bounds)
        }
    };
    let (keys, taken) = mpsc::channel(KEYS);
    let seen = tokio::spawn(Seen::open(job, work).await?.take(taken));
    let read = read::read(job, work, Which::All(ranges), jobs, (Some(keys), progress)).await;
    let seen = seen.await.map_err(|error| read::bug(&error))?;
    // Where both failed, the first cause is that of the keys.
    let seen = seen?;
    read?;
    if job.shutdown.is_triggered() {
        return Ok(());
    }
    seen.look().await
}
