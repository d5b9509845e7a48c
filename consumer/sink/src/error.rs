//! Why a batch was not applied.

use crate::{
    ids::{CollectionId, Generation, Partition},
    session::ConnectError,
    sqlstate::{self, Said, Verdict},
};
use leafcutter_schemas::dead_letter::{Reason, Stage};
use std::time::Duration;

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// These partitions belong to another consumer now.
    #[error("{} partitions are owned by another consumer", .0.len())]
    Fenced(Vec<Partition>),
    /// Another mapping is in force.
    #[error("mapping generation {in_force} is in force, and this is generation {ours}")]
    Mapping {
        /// That of this program.
        ours: Generation,
        /// The one in force.
        in_force: Generation,
    },
    /// Something changed between a look and a write; nothing is wrong with the batch, which is tried
    /// again. The reason is for the case that it happens again and again.
    #[error("the target changed while the batch was written")]
    Again(Option<Box<Reason>>),
    /// More refused records of a collection than its breaker lets by, with those that other consumers refused
    /// meanwhile.
    #[error("{failures} records of a collection in a row could not be applied before")]
    TooMany {
        /// The collection.
        collection: CollectionId,
        /// How many there were before.
        failures: i64,
        /// Why not the last one.
        reason: Option<String>,
        /// The breaker was open already.
        open: bool,
    },
    /// The world is at fault.
    #[error("{what}")]
    Transient {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The world may be at fault, or a record of the batch: it is tried again, but not for ever.
    #[error("PostgreSQL says {}: {}", .0.sqlstate.as_deref().unwrap_or_default(), .0.message)]
    Doubtful(Box<Reason>),
    /// A record of the batch is at fault.
    #[error("PostgreSQL refuses a row: {}", .0.message)]
    Definite(Box<Reason>),
}

/// PostgreSQL is reached through a pooler that gives each transaction another session.
#[derive(Debug, thiserror::Error)]
#[error("{}; {}", sqlstate::OF_A_POOLER, sqlstate::KEEP_SESSIONS)]
struct OfAPooler;

/// PostgreSQL takes a statement and gives no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer for {} s", .0.as_secs())]
struct Silent(Duration);

impl ApplyError {
    /// PostgreSQL has given no answer for so long.
    pub fn silent(since: Duration) -> Self {
        Self::Transient {
            what: "cannot ask PostgreSQL".to_owned(),
            source: Box::new(Silent(since)),
        }
    }

    /// A transaction has begun in a session that is not the one that was opened.
    pub(crate) fn of_a_pooler() -> Self {
        Self::Transient {
            what: "the session of PostgreSQL is another one".to_owned(),
            source: Box::new(OfAPooler),
        }
    }

    /// Whether other rows, or other ways to write them, may succeed.
    pub fn is_of_rows(&self) -> bool {
        match self {
            Self::Again(_) | Self::Doubtful(_) | Self::Definite(_) => true,
            Self::Fenced(_)
            | Self::Mapping { .. }
            | Self::TooMany { .. }
            | Self::Transient { .. } => false,
        }
    }

    /// Whether the session is to be given up, since what it has prepared or how it was set up may be
    /// the cause.
    pub(crate) fn spoils_session(&self) -> bool {
        match self {
            Self::Transient { source, .. } => source
                .downcast_ref::<tokio_postgres::Error>()
                .and_then(tokio_postgres::Error::code)
                .is_some_and(|code| sqlstate::spoils_session(code.code())),
            Self::Doubtful(reason) => reason
                .sqlstate
                .as_deref()
                .is_some_and(sqlstate::spoils_session),
            Self::Fenced(_)
            | Self::Mapping { .. }
            | Self::Again(_)
            | Self::TooMany { .. }
            | Self::Definite(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for ApplyError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Transient {
                what: "lost PostgreSQL".to_owned(),
                source: error.into(),
            };
        };
        let state = db.code().code();
        let reason = || {
            let place = db.column().or(db.constraint()).map(str::to_owned);
            let reason = Reason::new(Stage::Apply, "refused", db.message());
            Box::new(
                reason
                    .at(db.table().map(str::to_owned), place)
                    .sqlstate(state),
            )
        };
        let verdict = sqlstate::judge(Said {
            state,
            context: db.where_(),
            routine: db.routine(),
        });
        match verdict {
            Verdict::Again => Self::Again(Some(reason())),
            Verdict::Definite => Self::Definite(reason()),
            Verdict::Doubtful => Self::Doubtful(reason()),
            Verdict::Transient => {
                let advice = sqlstate::advice(state).map(|advice| format!("; {advice}"));
                let (said, advice) = (db.message(), advice.unwrap_or_default());
                Self::Transient {
                    what: format!("PostgreSQL says {state} {said}{advice}"),
                    source: error.into(),
                }
            }
        }
    }
}

impl From<ConnectError> for ApplyError {
    fn from(error: ConnectError) -> Self {
        Self::Transient {
            what: error.to_string(),
            source: error.into(),
        }
    }
}
