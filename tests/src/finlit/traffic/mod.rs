//! The application goes on writing while it is migrated.
//!
//! What is written follows from the seed alone ([`plan`], [`stories`]); when it is written follows
//! the rate. Every kind of write is there: single ones, changes inside arrays, deletions with and
//! without a return under the same `_id`, and transactions over several collections.

mod write;
mod plan;
mod stories;

pub use plan::{Plan, Step};
pub use write::Write;

use super::{FinLit, ledger::Ledger};
use crate::failure::{Attempt, Failure, Result};
use bson::{Timestamp, doc};
use mongodb::{Client, ClientSession, Database};
use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::watch, time::Instant};

/// How often a transaction is tried that the server calls off.
const ATTEMPTS: u32 = 5;

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
/// When MongoDB fails.
pub async fn run(
    finlit: FinLit,
    client: Client,
    database: Database,
    per_second: u32,
    stop: watch::Receiver<bool>,
) -> Result<Done> {
    let mut session = client.start_session().await.attempt("start a session")?;
    let mut plan = Plan::new(finlit);
    let mut counted = Counted::default();
    let start = Instant::now();
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut due = start;
    while !*stop.borrow() {
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
        [write] => write.run(database, session).await.map_err(Failure::from),
        writes => together(database, session, writes).await,
    }
    .attempt(step.what)
}

async fn together(
    database: &Database,
    session: &mut ClientSession,
    writes: &[Write],
) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match transaction(database, session, writes).await {
            Ok(()) => return Ok(()),
            Err(error) if error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR) => {
                // Called off already, where the server did it.
                drop(session.abort_transaction().await);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!(
        "a transaction was called off {ATTEMPTS} times"
    )))
}

async fn transaction(
    database: &Database,
    session: &mut ClientSession,
    writes: &[Write],
) -> mongodb::error::Result<()> {
    session.start_transaction().await?;
    for write in writes {
        write.run(database, session).await?;
    }
    session.commit_transaction().await
}

/// A cluster time at or after everything that was written before this call.
///
/// # Errors
/// When MongoDB fails or is no replica set.
pub async fn now(database: &Database) -> Result<Timestamp> {
    let reply = database
        .run_command(doc! { "ping": 1 })
        .await
        .attempt("ask MongoDB for its time")?;
    reply
        .get_timestamp("operationTime")
        .map_err(|_| Failure::new("MongoDB tells no operation time: is it a replica set?"))
}
