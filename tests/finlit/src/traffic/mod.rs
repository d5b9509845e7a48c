//! The application goes on writing while it is migrated.
//!
//! What is written follows from the seed alone ([`plan`], [`stories`]); when it is written follows
//! the rate. Every kind of write is there: single ones, changes inside arrays, deletions with and
//! without a return under the same `_id`, and transactions over several collections.

mod write;
mod outage;
mod plan;
mod stories;

pub use plan::{Plan, Step};
pub use write::Write;

use super::{FinLit, ledger::Ledger};
use bson::Timestamp;
use leafcutter_harness::{
    failure::{Attempt, Result},
    source::now,
};
use mongodb::{Client, ClientSession, Database};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::Instant};

/// What the traffic did.
#[derive(Debug)]
pub struct Done {
    /// The fates that it decided.
    pub ledger: Ledger,
    /// Steps, by what they were.
    pub steps: BTreeMap<&'static str, u64>,
    /// Steps of several writes, in one transaction each.
    pub transactions: u64,
    /// A cluster time at or after the last write.
    pub last_write: Timestamp,
    /// How long it took.
    pub took: Duration,
}

impl Done {
    /// How many steps there were.
    pub fn total(&self) -> u64 {
        self.steps.values().sum()
    }
}

#[derive(Default)]
struct Counted {
    steps: BTreeMap<&'static str, u64>,
    transactions: u64,
}

/// Writes `per_second` steps a second until `stop` becomes true, then what was promised for later.
///
/// # Errors
/// When MongoDB fails otherwise than by being away for a while.
pub async fn run(
    finlit: FinLit,
    client: Client,
    database: Database,
    per_second: u32,
    stop: watch::Receiver<bool>,
) -> Result<Done> {
    steps_while(finlit, client, database, per_second, |_| !*stop.borrow()).await
}

/// Writes so many steps as fast as it can, then what was promised for later.
///
/// # Errors
/// As [`run`].
pub async fn run_steps(
    finlit: FinLit,
    client: Client,
    database: Database,
    steps: u64,
) -> Result<Done> {
    steps_while(finlit, client, database, u32::MAX, |made| made < steps).await
}

/// Writes while it is to go on, which is asked with the number of steps made.
async fn steps_while(
    finlit: FinLit,
    client: Client,
    database: Database,
    per_second: u32,
    mut goes_on: impl FnMut(u64) -> bool,
) -> Result<Done> {
    let mut session = client.start_session().await.attempt("start a session")?;
    let mut plan = Plan::new(finlit);
    let mut counted = Counted::default();
    let start = Instant::now();
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut due = start;
    let mut made = 0;
    while goes_on(made) {
        made += 1;
        tokio::time::sleep_until(due).await;
        // A server that cannot keep up is not punished for it afterwards.
        due = (due + pause).max(Instant::now() - Duration::from_secs(1));
        step(&database, &mut session, plan.next_step(), &mut counted).await?;
    }
    for last in plan.remaining() {
        step(&database, &mut session, last, &mut counted).await?;
    }
    let last_write = now(&database).await?;
    Ok(Done {
        ledger: plan.into_ledger(),
        steps: counted.steps,
        transactions: counted.transactions,
        last_write,
        took: start.elapsed(),
    })
}

async fn step(
    database: &Database,
    session: &mut ClientSession,
    step: Step,
    counted: &mut Counted,
) -> Result<()> {
    *counted.steps.entry(step.what).or_default() += 1;
    counted.transactions += u64::from(step.writes.len() > 1);
    match step.writes.as_slice() {
        [write] => outage::single(database, session, write).await,
        writes => outage::together(database, session, writes).await,
    }
    .attempt(step.what)
}
