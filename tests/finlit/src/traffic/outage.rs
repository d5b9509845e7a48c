//! Writes while MongoDB may go away at any moment.
//!
//! What follows from a write is in the ledger before it is made, so a write must not stay in
//! doubt. A single one is made again until MongoDB has confirmed it: twice over it leaves the same
//! document behind, but for counters and arrays, of which the ledger says nothing, and an insert
//! that finds its own document there was done. A transaction is all or nothing: its commit is
//! repeated until MongoDB says which it was, and only one that was not committed is made again.

use super::Write;
use leafcutter_harness::{
    failure::{Failure, Result},
    source::{AWAY, PAUSE, code, is_away},
};
use mongodb::{
    ClientSession, Database,
    error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT},
};
use tokio::time::Instant;

/// How often a transaction is tried that the server calls off.
const ATTEMPTS: u32 = 5;

/// The code of a unique key that is there already.
const DUPLICATE_KEY: i32 = 11_000;
/// Makes one write.
pub(super) async fn single(
    database: &Database,
    session: &mut ClientSession,
    write: &Write,
) -> Result<()> {
    let end = Instant::now() + AWAY;
    let mut in_doubt = false;
    loop {
        match write.run(database, session).await {
            Ok(()) => return Ok(()),
            Err(error) if in_doubt && code(&error) == Some(DUPLICATE_KEY) => return Ok(()),
            Err(error) if is_away(&error) && Instant::now() < end => in_doubt = true,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes several writes in one transaction.
pub(super) async fn together(
    database: &Database,
    session: &mut ClientSession,
    writes: &[Write],
) -> Result<()> {
    let end = Instant::now() + AWAY;
    let mut called_off = 0;
    loop {
        let Err(error) = transaction(database, session, writes, end).await else {
            return Ok(());
        };
        if is_away(&error) && Instant::now() < end {
            tokio::time::sleep(PAUSE).await;
        } else if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
            called_off += 1;
            if called_off == ATTEMPTS {
                return Err(Failure::new(format!(
                    "a transaction was called off {ATTEMPTS} times"
                )));
            }
        } else {
            return Err(error.into());
        }
        // Called off already, where the server did it.
        drop(session.abort_transaction().await);
    }
}

async fn transaction(
    database: &Database,
    session: &mut ClientSession,
    writes: &[Write],
    end: Instant,
) -> mongodb::error::Result<()> {
    session.start_transaction().await?;
    for write in writes {
        write.run(database, session).await?;
    }
    loop {
        match session.commit_transaction().await {
            // The same commit again: the server knows whether it was done, also after a restart.
            Err(error)
                if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                    && Instant::now() < end =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            decided => return decided,
        }
    }
}
