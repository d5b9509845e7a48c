//! The steps of a finish, in their order.
//!
//! 1. It is asked whether to cut over, as `leafcutter status` does. What passes by itself is waited for.
//! 2. It is waited until everything is applied that had happened in the source when it began ([`super::wait`]).
//! 3. Every document is compared with its rows once more.
//! 4. Sequences are moved ahead of the numbers that rows have.
//! 5. Constraints that are not known to hold are proven, each for itself.
//! 6. What was found is written down. A step that finds something does not keep the others from being made.

use super::{
    counted,
    files::Files,
    refusal::{forced, interrupted, interrupted_after, no_kafka, no_mapping, refused},
    report::{NOT_CLEAN, Report, Times, Verified},
    session::session,
    settings::FinishSettings,
    tell,
    wait::{Ended, Goals, Waits, wait},
};
use crate::{
    connect::{State, stoppable},
    figures::{utc, version_utc},
    show::Show,
    status::{
        Watch,
        readiness::{About, Reason},
        report::Report as Status,
    },
    verify::{self, settings::VerifySettings, source::Source},
};
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_schemas::version::Version;
use leafcutter_sink::{
    model::Model,
    session::Session,
    state::finished,
    target::{
        sequences::{self, Standing},
        unproven::{self, Proof},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Differences that verify names in the report at most.
const DIFFERENCES: usize = 10;

/// What a person says to begin again.
const AGAIN: &str = "leafcutter finish";

/// What the steps work with.
struct Steps<'a> {
    settings: &'a FinishSettings,
    kafka: KafkaSettings,
    watch: Watch,
    model: Arc<Model>,
    source: Option<Source>,
    files: Files,
    shutdown: &'a Shutdown,
}

/// Finishes.
///
/// # Errors
/// As [`super::run`].
pub(super) async fn run(
    settings: &FinishSettings,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Exit, Failure> {
    let files = Files::of(&settings.report)?;
    let kafka = settings.kafka.0.clone().ok_or_else(no_kafka)?;
    let installation = settings.installation.clone();
    let watch = Watch::open(installation, &settings.postgres, kafka.clone()).await?;
    let model = watch
        .catalog
        .model
        .clone()
        .ok_or_else(|| no_mapping("could not finish"))?;
    let mongodb = &settings.mongodb;
    let is_named = mongodb.mongodb_uri.is_some() || mongodb.mongodb_uri_file.is_some();
    let source = if is_named || !settings.no_verify {
        Some(Source::open(mongodb).await?)
    } else {
        None
    };
    let mut steps = Steps {
        settings,
        kafka,
        watch,
        model,
        source,
        files,
        shutdown,
    };
    Box::pin(steps.run(show)).await
}

impl Steps<'_> {
    async fn run(&mut self, show: &mut Show<'_>) -> Result<Exit, Failure> {
        let (status, reasons) = self.watch.look().await?;
        if self.settings.dry_run {
            return self.dry_run(show, &status, &reasons).await;
        }
        if let Some(fault) = status.kafka.as_ref().filter(|_| !self.settings.force) {
            return Err(Failure::one(Exit::Preflight, fault.clone()));
        }
        // Whether what a consumer has said lasts shows while it is waited.
        let lasts = |reason: &Reason| !matches!(reason.about, About::Passing | About::Said);
        let lasting: Vec<Reason> = reasons.into_iter().filter(lasts).collect();
        if !lasting.is_empty() && !self.settings.force {
            return Ok(refused(show, "not ready to cut over", &lasting));
        }
        forced(show, &lasting);
        self.files.try_out()?;
        let now = match &self.source {
            Some(source) => Some(source.now().await?),
            None => None,
        };
        let began = Instant::now();
        let (until, mut passed_over) = match self.applied(now, show).await? {
            Ended::Applied(until) => (until, Vec::new()),
            Ended::Short(why) => {
                forced(show, &why);
                (None, why)
            }
            Ended::Refused(why) => return Ok(refused(show, "not ready to cut over", &why)),
            Ended::Interrupted => return Ok(interrupted(show, AGAIN)),
        };
        let waited = began.elapsed().as_secs();
        tracing::info!(
            waited_seconds = waited,
            passed_over = passed_over.len(),
            "applied"
        );
        let Some(verified) = self.verified(show).await? else {
            return Ok(interrupted(show, AGAIN));
        };
        passed_over.extend(lasting);
        let Some(mut report) = self.report(verified, until).await? else {
            let done = "sequences that were moved and constraints that were proven stay so";
            return Ok(interrupted_after(show, done, AGAIN));
        };
        report.times.waited_seconds = waited;
        report.judge(passed_over.into_iter().map(|reason| reason.words).collect());
        for step in &report.sequences {
            let moved_to = step
                .moved_to
                .map_or("ahead already".to_owned(), |to| to.to_string());
            tracing::info!(sequence = step.sequence, moved_to, "looked at a sequence");
        }
        for proof in &report.constraints {
            tracing::info!(
                table = %proof.table,
                constraint = proof.constraint,
                valid = proof.valid,
                "looked at a constraint"
            );
        }
        for why in &report.because {
            tracing::warn!(because = why, "not clean");
        }
        self.files.write(&report)?;
        tracing::info!(verdict = report.verdict, "finished");
        tell::told(show, &report, &self.files);
        // Last, so that the report is there whether or not this user may do it.
        let state = &mut self.watch.state;
        let noted = finished::note(&mut state.session, &report.kept()).await;
        noted.map_err(|error| unnoted(state, &error))?;
        Ok(if report.because.is_empty() {
            Exit::Done
        } else {
            Exit::Differences
        })
    }

    /// Waits until everything is applied.
    async fn applied(
        &mut self,
        now: Option<Version>,
        show: &mut Show<'_>,
    ) -> Result<Ended, Failure> {
        let collections = self.model.collections.iter();
        let topics: Vec<String> = collections.map(|c| c.topic.clone()).collect();
        let goals = match self.watch.facts() {
            Some(facts) => Goals::of(facts, &topics, now),
            None => return Ok(Ended::Applied(None)),
        };
        let session = session(&self.watch.state).await?;
        let place = (self.kafka.clone(), session);
        let waits = Waits {
            most: self.settings.wait,
            force: self.settings.force,
        };
        Box::pin(wait(
            &mut self.watch,
            &goals,
            place,
            waits,
            show,
            self.shutdown,
        ))
        .await
    }

    /// Compares documents with rows; nothing where a person has stopped it.
    async fn verified(&self, show: &mut Show<'_>) -> Result<Option<Verified>, Failure> {
        let settings = self.settings;
        if settings.no_verify {
            return Ok(Some(Verified {
                what: "none",
                sample: None,
                report: None,
            }));
        }
        if !show.json {
            let what = settings.sample.map_or_else(
                || "every document".to_owned(),
                |sample| format!("{sample} documents of each collection"),
            );
            show.line(&format!(
                "Everything is applied. Comparing {what} with its rows:\n"
            ));
        }
        let wanted = verify_settings(settings, self.kafka.clone());
        let report = Box::pin(verify::compare_once(&wanted, show, self.shutdown)).await?;
        if self.shutdown.is_triggered() {
            return Ok(None);
        }
        if !show.json {
            report.tell(show, true);
            show.line("");
        }
        Ok(Some(Verified {
            what: if settings.sample.is_some() {
                "sample"
            } else {
                "all"
            },
            sample: settings.sample,
            report: Some(report),
        }))
    }

    /// The steps that make the tables ready, and everything that is told; nothing where a person has stopped it.
    async fn report(
        &mut self,
        verified: Verified,
        until: Option<Version>,
    ) -> Result<Option<Report>, Failure> {
        let mut session = session(&self.watch.state).await?;
        let lost = |error: tokio_postgres::Error| self.watch.state.lost(&error);
        let sequences = standings(&mut session, &self.model, true).await;
        let sequences = sequences.map_err(lost)?;
        let canceller = session.canceller();
        let work = proofs(&mut session, &self.model, self.shutdown);
        let constraints = stoppable(canceller, self.shutdown, work).await;
        if self.shutdown.is_triggered() {
            return Ok(None);
        }
        let constraints = constraints.map_err(lost)?;
        let group = &self.settings.installation.group;
        let (moved_at, times): (_, Times) =
            counted::times(&mut session, group).await.map_err(lost)?;
        let collections = counted::tables(&mut session, &self.model, &moved_at).await;
        let mut collections = collections.map_err(lost)?;
        let whole = verified.report.as_ref().filter(|_| verified.what == "all");
        let source = self.source.as_ref();
        counted::documents(&mut collections, &self.model, source, whole).await?;
        let dead_letters = counted::causes(&mut session, &self.watch.catalog).await;
        let dead_letters = dead_letters.map_err(lost)?;
        let (status, _) = self.watch.look().await?;
        Ok(Some(Report {
            done: true,
            verdict: NOT_CLEAN,
            because: Vec::new(),
            at: status.at,
            leafcutter: env!("CARGO_PKG_VERSION"),
            group: status.group,
            mapping: self.model.mapping.hash.clone(),
            target: self.watch.state.place.clone(),
            applied_until: until.map(version_utc),
            collections,
            records: status.accounting.outcomes,
            dead_letters,
            held: status.held,
            cascaded: status.cascaded,
            verified,
            sequences,
            constraints,
            times,
        }))
    }

    async fn dry_run(
        &self,
        show: &mut Show<'_>,
        status: &Status,
        reasons: &[Reason],
    ) -> Result<Exit, Failure> {
        let mut session = session(&self.watch.state).await?;
        let lost = |error: tokio_postgres::Error| self.watch.state.lost(&error);
        let sequences = standings(&mut session, &self.model, false).await;
        let sequences = sequences.map_err(lost)?;
        let unproven = unproven::find(&mut session, &self.model).await;
        let unproven = unproven.map_err(lost)?;
        let plan = tell::Plan {
            dry_run: true,
            ready: status.ready,
            not_ready_because: reasons.iter().map(|reason| reason.words.clone()).collect(),
            at: utc(self.watch.facts().map_or(0, |facts| facts.at)),
            verify: match (self.settings.no_verify, self.settings.sample) {
                (true, _) => "none".to_owned(),
                (false, Some(sample)) => format!("{sample} documents of each collection"),
                (false, None) => "every document".to_owned(),
            },
            sequences,
            constraints: unproven.iter().map(unproven::Unproven::statement).collect(),
            report: self.files.markdown.display().to_string(),
        };
        tell::plan(show, &plan, self.settings.force);
        let goes_on = self.settings.force || reasons.iter().all(|r| r.about == About::Passing);
        Ok(if goes_on { Exit::Done } else { Exit::Stopped })
    }
}

/// Where the sequences stand, moved ahead of the rows' numbers if that is wanted.
async fn standings(
    session: &mut Session,
    model: &Model,
    moves: bool,
) -> Result<Vec<Standing>, tokio_postgres::Error> {
    let mut lines = Vec::new();
    for sequence in sequences::find(session, model).await? {
        lines.push(sequence.stand(session, moves).await);
    }
    Ok(lines)
}

/// Proves what is not proven, until a person stops it.
async fn proofs(
    session: &mut Session,
    model: &Model,
    shutdown: &Shutdown,
) -> Result<Vec<Proof>, tokio_postgres::Error> {
    let mut lines = Vec::new();
    for constraint in unproven::find(session, model).await? {
        if shutdown.is_triggered() {
            break;
        }
        lines.push(constraint.prove(session).await?);
    }
    Ok(lines)
}

fn unnoted(state: &State, error: &tokio_postgres::Error) -> Failure {
    let fault = Fault::new(
        "could not note the verdict as the comment on schema `leafcutter`",
        state.place.clone(),
        leafcutter_runtime::report::causes(error),
        "Run it as the user of the consumers, who owns the schema. The rest is done, and the report written.",
    );
    Failure::one(Exit::Preflight, fault)
}

fn verify_settings(settings: &FinishSettings, kafka: KafkaSettings) -> VerifySettings {
    VerifySettings {
        collections: Vec::new(),
        counts_only: false,
        sample: settings.sample,
        since: None,
        jobs: settings.jobs,
        rate: settings.rate,
        out: None,
        resume: None,
        show: DIFFERENCES,
        no_values: false,
        patience: Duration::from_secs(60),
        repair: false,
        repair_sql: None,
        watch: None,
        installation: settings.installation.clone(),
        mongodb: settings.mongodb.clone(),
        kafka,
        postgres: PostgresSettings {
            postgres_uri: settings.postgres.postgres_uri.clone(),
            postgres_uri_file: settings.postgres.postgres_uri_file.clone(),
        },
    }
}
