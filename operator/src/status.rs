//! `leafcutter status`: how far everything is, what waits and why, and whether to cut over.
//!
//! It reads Leafcutter's state in PostgreSQL and the control topic, nothing else; it costs the
//! consumers nothing. Facts are gathered, then judged without any server at hand, then shown.

pub mod facts;
pub mod judge;
pub mod readiness;
pub mod render;
pub mod report;

use crate::{
    catalog::Catalog,
    connect::State,
    kafka::ask,
    settings::{Installation, StatusSettings},
    show::Show,
};
use facts::{ControlFollower, Facts};
use judge::judge;
use leafcutter_consumer::settings::PostgresSettings;
use leafcutter_runtime::{
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault},
};
use leafcutter_schemas::name::control_topic;
use readiness::Reason;
use report::Report;
use std::time::Duration;

/// Between two looks when only one answer is wanted: long enough to tell a rate.
const SAMPLE: Duration = Duration::from_millis(700);

/// Shows the status, once or until interrupted.
///
/// # Errors
/// When PostgreSQL cannot be asked, or the settings are wrong. Kafka's absence is part of the
/// answer, and of the exit code.
pub async fn run(settings: StatusSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let installation = settings.installation;
    let mut watch = Watch::open(installation, &settings.postgres, settings.kafka).await?;
    match settings.watch {
        None => watch.once(show).await,
        Some(pause) => watch.until_interrupted(show, pause).await,
    }
}

/// Looks at everything, as often as it is wanted.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Away while a thread reads with it.
    follower: Option<ControlFollower>,
    pub(crate) state: State,
    pub(crate) catalog: Catalog,
    pub(crate) installation: Installation,
    before: Option<Facts>,
}

impl Watch {
    /// Connects to PostgreSQL; Kafka is asked with the first look.
    pub(crate) async fn open(
        installation: Installation,
        postgres: &PostgresSettings,
        kafka: KafkaSettings,
    ) -> Result<Self, Failure> {
        let catalog = Catalog::load(&installation.prefix, installation.mapping.as_deref())?;
        let state = State::open(postgres).await?;
        let topic = control_topic(&installation.prefix);
        Ok(Self {
            follower: Some(ControlFollower::new(kafka, topic)),
            state,
            catalog,
            installation,
            before: None,
        })
    }

    async fn once(&mut self, show: &mut Show<'_>) -> Result<Exit, Failure> {
        let (mut report, _) = self.look().await?;
        if report.collections.iter().any(|line| line.behind > 0) {
            tokio::time::sleep(SAMPLE).await;
            (report, _) = self.look().await?;
        }
        if show.json {
            show.json(&report);
        } else {
            show.text(&render::render(&report, show.paint));
        }
        if let Some(fault) = &report.kafka {
            return Err(Failure::one(Exit::Preflight, fault.clone()));
        }
        Ok(exit(&report))
    }

    async fn until_interrupted(
        &mut self,
        show: &mut Show<'_>,
        every: Duration,
    ) -> Result<Exit, Failure> {
        let mut last = Exit::Done;
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !show.is_gone() {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => break,
                _ = ticks.tick() => {}
            }
            let looked = tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => break,
                looked = self.look() => looked,
            };
            match looked {
                Ok((report, _)) => {
                    last = exit(&report);
                    show_again(show, &report);
                }
                // The first look failed: the settings are wrong rather than the server away.
                Err(failure) if self.before.is_none() => return Err(failure),
                Err(failure) => show.text(&format!("\n{failure}\n")),
            }
        }
        Ok(last)
    }

    /// Looks; each reason not to cut over comes with what it is about.
    pub(crate) async fn look(&mut self) -> Result<(Report, Vec<Reason>), Failure> {
        let follower = self.follower.take();
        let mut follower =
            follower.ok_or_else(|| bug("the reader of the control topic is gone"))?;
        let (follower, control) = ask(move || {
            let control = follower.refresh();
            Ok((follower, control))
        })
        .await?;
        self.follower = Some(follower);
        if self.state.session.is_closed() {
            self.state.reconnect().await?;
        }
        let facts = facts::gather(&mut self.state, &self.installation.group, control).await?;
        // A mapping says which collections there are; otherwise the topics have to.
        if self.catalog.model.is_none() {
            let topics = facts.topics();
            self.catalog.add_topics(topics.iter().map(String::as_str));
        }
        let judged = judge(
            &facts,
            self.before.as_ref(),
            &self.catalog,
            &self.installation,
        );
        self.before = Some(facts);
        Ok(judged)
    }

    /// What was known at the last look.
    pub(crate) fn facts(&self) -> Option<&Facts> {
        self.before.as_ref()
    }
}

fn show_again(show: &mut Show<'_>, report: &Report) {
    if show.json {
        show.json_line(report);
        return;
    }
    let mut text = render::render(report, show.paint);
    if show.terminal {
        // To the upper left; each line clears what was behind it, then the rest of the screen. No
        // flicker, unlike clearing first.
        text = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
    } else {
        text.push('\n');
    }
    show.text(&text);
    if let Some(fault) = &report.kafka {
        show.text(&format!("{fault}\n"));
    }
}

fn exit(report: &Report) -> Exit {
    if report.accounting.broken.is_empty() {
        Exit::Done
    } else {
        Exit::Differences
    }
}

fn bug(why: &str) -> Failure {
    Failure::one(
        Exit::Bug,
        Fault::new(
            "could not show the status",
            "this program",
            why,
            "Please report this.",
        ),
    )
}
