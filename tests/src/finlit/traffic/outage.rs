//! Writes while MongoDB may go away at any moment.
//!
//! What follows from a write is in the ledger before it is made, so a write must not stay in
//! doubt. A single one is made again until MongoDB has confirmed it: twice over it leaves the same
//! document behind, but for counters and arrays, of which the ledger says nothing, and an insert
//! that finds its own document there was done. A transaction is all or nothing: its commit is
//! repeated until MongoDB says which it was, and only one that was not committed is made again.

use super::Write;
use crate::failure::{Attempt, Failure, Result};
use bson::{Timestamp, doc};
use mongodb::{
    ClientSession, Database,
    error::{
        Error, ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR,
        UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
    },
};
use std::time::Duration;
use tokio::time::Instant;

/// How long MongoDB may be away before the traffic gives up.
const AWAY: Duration = Duration::from_secs(120);
/// Between two attempts while it is away.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a transaction is tried that the server calls off.
const ATTEMPTS: u32 = 5;

/// The code of a unique key that is there already.
const DUPLICATE_KEY: i32 = 11_000;
/// Codes of a server that goes, comes or has no primary: HostUnreachable, HostNotFound,
/// NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, SocketException, NotWritablePrimary,
/// InterruptedAtShutdown, InterruptedDueToReplStateChange, NotPrimaryNoSecondaryOk,
/// NotPrimaryOrSecondary.
const AWAY_CODES: [i32; 11] = [
    6, 7, 89, 91, 189, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436,
];

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

/// A cluster time at or after everything that was written before this call.
///
/// # Errors
/// When MongoDB fails or is no replica set.
pub async fn now(database: &Database) -> Result<Timestamp> {
    let end = Instant::now() + AWAY;
    let reply = loop {
        match database.run_command(doc! { "ping": 1 }).await {
            Err(error) if is_away(&error) && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            decided => break decided.attempt("ask MongoDB for its time")?,
        }
    };
    reply
        .get_timestamp("operationTime")
        .map_err(|_| Failure::new("MongoDB tells no operation time: is it a replica set?"))
}

/// Whether an error says that MongoDB is away, not that it refuses.
fn is_away(error: &Error) -> bool {
    error.contains_label(RETRYABLE_WRITE_ERROR)
        || matches!(
            *error.kind,
            ErrorKind::Io(_)
                | ErrorKind::ConnectionPoolCleared { .. }
                | ErrorKind::ServerSelection { .. }
        )
        || code(error).is_some_and(|code| AWAY_CODES.contains(&code))
}

fn code(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}
