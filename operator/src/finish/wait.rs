//! Waiting until everything that the producer has read is applied.
//!
//! How far that is the source says: its time when the wait begins. Once the producer has told that it is past
//! it, and the consumers have passed what was in Kafka then, the rows show at least that time
//! (`docs/protocol.md`, Heartbeats). Where nobody names the source, it is the time of the newest heartbeat.

use crate::{
    figures::{counted, span},
    progress::drawn,
    show::{Show, wrap},
    status::{
        Watch,
        facts::{ControlFollower, Facts},
        readiness::{About, HEARTBEAT_AGE_MAX, Reason},
        report::Report,
    },
    verify::covered::{Covered, Trouble},
};
use leafcutter_runtime::{kafka::KafkaSettings, report::Failure, shutdown::Shutdown};
use leafcutter_schemas::{name, version::Version};
use leafcutter_sink::session::Session;
use std::{
    collections::BTreeMap,
    io::Write as _,
    time::{Duration, Instant},
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);
/// For how long something that does not pass by itself may be there before the wait is given up.
const LASTS: Duration = Duration::from_secs(15);

/// How it was waited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// How long at most.
    pub(super) most: Duration,
    /// Reasons not to go on are passed over.
    pub(super) force: bool,
}

/// How the wait ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Everything up to this time is applied, as far as a time is known.
    Applied(Option<Version>),
    /// Not everything is, and it goes on by force: why.
    Short(Vec<Reason>),
    /// Not everything is: why.
    Refused(Vec<Reason>),
    /// A person has stopped it.
    Interrupted,
}

/// What is waited for: of each topic, the time that has to be applied.
pub(super) struct Goals(BTreeMap<String, Version>);

impl Goals {
    /// `now` is the source's time. A topic of which no living producer tells is waited for as far as one has
    /// told, and one of which nobody ever has, not at all.
    pub(super) fn of(facts: &Facts, topics: &[String], now: Option<Version>) -> Self {
        let Ok(control) = &facts.control else {
            return Self(BTreeMap::new());
        };
        let fresh = |sent_at: i64| (facts.at - sent_at) / 1000 <= HEARTBEAT_AGE_MAX;
        let goal = |topic: &String| {
            let told = control.claim(topic).map(|claim| claim.time);
            let mut newest = control.newest.values();
            let is_followed =
                newest.any(|beat| beat.offsets.contains_key(topic) && fresh(beat.sent_at));
            let time = match (now, is_followed) {
                (Some(now), true) => Some(now),
                _ => told,
            };
            Some((topic.clone(), time?))
        };
        Self(topics.iter().filter_map(goal).collect())
    }

    /// The topics that are not there yet.
    fn open(&self, covered: &Covered) -> usize {
        let open = |(topic, goal): &(&String, &Version)| covered.until(topic) < **goal;
        self.0.iter().filter(open).count()
    }

    fn least(&self) -> Option<Version> {
        self.0.values().copied().min()
    }
}

/// Waits.
///
/// # Errors
/// When PostgreSQL is lost.
pub(super) async fn wait(
    watch: &mut Watch,
    goals: &Goals,
    (kafka, mut session): (KafkaSettings, Session),
    waits: Waits,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Ended, Failure> {
    let control = name::control_topic(&watch.installation.prefix);
    let follower = ControlFollower::new(kafka, control);
    let mut covered = Covered::new(follower, &watch.installation.group);
    let bar = drawn(None, "{spinner} {wide_msg} {elapsed}", show);
    let began = Instant::now();
    let mut told = Instant::now();
    let mut lasts: Option<Instant> = None;
    loop {
        let (report, reasons) = watch.look().await?;
        let open = match covered.look(&mut session).await {
            Ok(()) => goals.open(&covered),
            Err(Trouble::PostgreSql(error)) => return Err(watch.state.lost(&error)),
            // The look at everything tells it.
            Err(Trouble::Kafka(_) | Trouble::Gone) => goals.0.len(),
        };
        let (passing, lasting): (Vec<Reason>, Vec<Reason>) = reasons
            .into_iter()
            .partition(|reason| reason.about == About::Passing);
        let applied = open == 0 && passing.is_empty();
        if applied && (lasting.is_empty() || waits.force) {
            bar.finish_and_clear();
            return Ok(Ended::Applied(goals.least()));
        }
        let since = *lasts.get_or_insert_with(Instant::now);
        if lasting.is_empty() {
            lasts = None;
        } else if !waits.force && since.elapsed() > LASTS {
            bar.finish_and_clear();
            return Ok(Ended::Refused(lasting));
        }
        let hopeless = waits.force && nobody_applies(&report);
        if hopeless || began.elapsed() > waits.most {
            bar.finish_and_clear();
            let mut why = vec![Reason::stored(left(&report, open, waits.most, hopeless))];
            why.extend(passing);
            if waits.force {
                return Ok(Ended::Short(why));
            }
            why.extend(lasting);
            return Ok(Ended::Refused(why));
        }
        let words = message(&report, open);
        bar.set_message(words.clone());
        bar.tick();
        if bar.is_hidden() && !show.json && !show.quiet && told.elapsed() > TELL {
            told = Instant::now();
            let said = write!(std::io::stderr(), "{}", wrap("", &words));
            said.unwrap_or_default();
        }
        if !shutdown.sleep(LOOK).await {
            bar.finish_and_clear();
            return Ok(Ended::Interrupted);
        }
    }
}

/// Nothing will be applied however long one waits.
fn nobody_applies(report: &Report) -> bool {
    report.kafka.is_some() || report.consumers.iter().all(|consumer| !consumer.alive)
}

fn left(report: &Report, open: usize, most: Duration, hopeless: bool) -> String {
    let collections = counted(i64::try_from(open).unwrap_or(i64::MAX), "collection");
    let behind: i64 = report.collections.iter().map(|line| line.behind).sum();
    let records = counted(behind, "record");
    if hopeless {
        return format!("nobody applies anything; {records} behind, as far as it is known");
    }
    let time = span(i64::try_from(most.as_secs()).unwrap_or(i64::MAX));
    format!(
        "not everything was applied within {time} (--wait): {collections} to go, {records} behind"
    )
}

fn message(report: &Report, open: usize) -> String {
    let behind: i64 = report.collections.iter().map(|line| line.behind).sum();
    let waiting = report.waiting.iter().filter(|waiting| !waiting.orphans);
    let waiting: i64 = waiting.map(|waiting| waiting.documents).sum();
    let mut parts = Vec::new();
    if behind > 0 {
        parts.push(format!("{} behind", counted(behind, "record")));
    }
    if waiting > 0 {
        parts.push(format!("{} waiting", counted(waiting, "document")));
    }
    if parts.is_empty() && open > 0 {
        parts.push("what the producer has read last is on its way".to_owned());
    }
    if parts.is_empty() {
        parts.push(report.not_ready_because.join("; "));
    }
    format!("Waiting until everything is applied: {}", parts.join(", "))
}
