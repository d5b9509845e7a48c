//! The settling task: rounds of the sink's settler, and the dead letters that they decide.
//!
//! A round lists the dead letters that are due before it gives them here to be sent, and no lock is held
//! while Kafka is waited for; a document is given up when Kafka has its dead letter. One that was not
//! sent is decided again by a later round.

use crate::{control::SharedControl, dead_letter::DeadLetters, metrics};
use futures_util::future::join_all;
use leafcutter_runtime::{admin::Condition, report::causes, shutdown::Shutdown};
use leafcutter_sink::{
    ApplyError,
    settle::{DueDeadLetter, OrphanPolicy, Settler},
    state::{offsets, pauses},
};
use std::time::{Duration, Instant};

/// Runs the settler's rounds.
pub struct SettlingTask {
    /// The settler.
    pub settler: Settler,
    /// Where dead letters go.
    pub dead_letters: DeadLetters,
    /// What the control topic says.
    pub control: SharedControl,
    /// How long a document waits at least before it is given up.
    pub orphan_after: Duration,
    /// When it ends.
    pub shutdown: Shutdown,
    /// Whether its rounds succeed.
    pub settling: Condition,
}

/// How long a dead letter's confirmation is waited for before other documents have their turn.
const SEND_WAIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(700);

impl SettlingTask {
    /// Runs until the shutdown; errors of PostgreSQL are waited out.
    pub async fn run(mut self) {
        let mut failed = 0;
        self.settling.set(true, "");
        while !self.shutdown.is_triggered() {
            let begun = Instant::now();
            let round = self.round().await;
            metrics::settling_round(round.is_ok());
            if round.is_ok() {
                failed = 0;
                self.settling.set(true, "");
            }
            match round {
                Ok(true) => {}
                Ok(false) => {
                    // Where a great many wait, looking takes long, and half of the time is enough.
                    let pause = PAUSE.max(begun.elapsed());
                    self.shutdown.sleep(pause).await;
                }
                Err(error) => {
                    failed += 1;
                    let text = causes(&error);
                    // The first failures are told one by one, the same ones of a long outage now and then.
                    if failed <= 3 || failed % 60 == 0 {
                        tracing::warn!(error = text, failed, "settling waits");
                    }
                    if failed > 1 {
                        let why = format!("what waits cannot be looked at: {text}");
                        self.settling.set(false, why);
                    }
                    self.shutdown.sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// One round; whether the next one is to follow at once.
    async fn round(&mut self) -> Result<bool, ApplyError> {
        // Both are read before any parent is looked for.
        let control = self.control.snapshot();
        let connection = self.settler.connection();
        let group = connection.group().to_owned();
        let pauses = pauses::rows(connection.session().await?, &group).await?;
        if pauses.iter().any(|pause| pause.topic.is_none()) {
            // A person wants nothing to be written at all.
            return Ok(false);
        }
        let progress = offsets::progress(connection.session().await?, &group).await?;
        let policy = OrphanPolicy {
            orphan_after: self.orphan_after,
            control,
            progress,
        };
        // Each has its turn, whatever becomes of the others.
        let settled = self.settler.settle_parked(&policy).await;
        let placed = settled.placed;
        let given_up = self.send(settled.due).await;
        let deleted = self.settler.settle_held(&policy).await;
        metrics::released(u64::try_from(placed).unwrap_or(0));
        if let Some(error) = settled.failed {
            return Err(error);
        }
        let (given_up, deleted) = (given_up?, deleted?);
        if placed > 0 || given_up > 0 || deleted > 0 {
            tracing::debug!(placed, given_up, deleted, "settled");
        }
        // What waits for documents that were given up has its own turn now; of a great many held rows a
        // round deletes some.
        Ok(settled.more || given_up > 0 || deleted > 0)
    }

    /// Sends dead letters, and gives up the documents of those that Kafka has; gives how many.
    async fn send(&mut self, due: Vec<DueDeadLetter>) -> Result<u64, ApplyError> {
        let dead_letters = &self.dead_letters;
        let sends = due.iter().map(async |due| {
            let sent = tokio::time::timeout(SEND_WAIT, dead_letters.send_due(due)).await;
            matches!(sent, Ok(Ok(())))
        });
        let confirmed = join_all(sends).await;
        let sent = due.into_iter().zip(confirmed);
        let sent: Vec<DueDeadLetter> = sent
            .filter_map(|(due, confirmed)| confirmed.then_some(due))
            .collect();
        for due in &sent {
            metrics::dead_letter_written(due.reason.stage.as_str(), due.reason.code);
        }
        self.settler.give_up(&sent).await
    }
}
