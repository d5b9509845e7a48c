//! Batches into PostgreSQL. The contract:
//!
//! - the same batch may arrive twice, and its answer may be lost after the commit;
//! - a row is overwritten only by a higher version, or an equal one with other content; the same
//!   again writes nothing;
//! - a delete leaves its version behind (a tombstone), so that a late row cannot bring it back;
//! - what waits for its parent is part of what is stored: the guard looks at parked rows too;
//! - rows, position and counters commit together or not at all.
//!
//! `PROTOCOL.md` §3, §4 and §8 has the reason for each rule; the statements stand in
//! [`statement`], their order in [`apply`].

pub mod sqlstate;
pub mod session;
pub mod statement;
pub mod ddl;
pub mod existing;
pub mod migrations;
pub mod copy;
pub mod work;
pub mod fence;
pub mod parking;
pub mod deletes;
pub mod gone;
pub mod cascade;
pub mod upserts;
mod children;
mod rings;
pub mod direct;
pub mod keys;
pub mod transaction;
mod waiting;
mod counters;
pub mod letters;
pub mod apply;
pub mod settle;
mod decide;
mod held;
pub mod retry;
mod overtaken;

use leafcutter_schemas::{
    class::Class,
    dead_letter::{Reason, Stage},
};
use sqlstate::Verdict;

/// Why a batch was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// These partitions (collection, partition) belong to somebody else now.
    #[error("{} partitions are owned by another consumer", .0.len())]
    Fenced(Vec<(usize, i32)>),
    /// Something changed between a look and a write; nothing is wrong with it. The reason is for
    /// the case that it happens again and again.
    #[error("the target changed while the batch was written")]
    Again(Option<Box<Reason>>),
    /// The world is at fault.
    #[error("{what}")]
    Transient {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record of the batch is at fault.
    #[error("PostgreSQL refuses a row: {}", .0.message)]
    Definite(Box<Reason>),
}

impl From<tokio_postgres::Error> for ApplyError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Transient {
                what: "lost PostgreSQL".to_owned(),
                source: error.into(),
            };
        };
        let reason = || {
            Box::new(Reason {
                stage: Stage::Apply,
                code: "refused",
                message: db.message().to_owned(),
                table: db.table().map(str::to_owned),
                column: db.column().or(db.constraint()).map(str::to_owned),
                path: None,
                sqlstate: Some(db.code().code().to_owned()),
            })
        };
        match sqlstate::judge(db.code().code()) {
            Verdict::Again => Self::Again(Some(reason())),
            Verdict::Class(Class::Definite) => Self::Definite(reason()),
            Verdict::Class(Class::Transient | Class::Fatal) => Self::Transient {
                what: format!("PostgreSQL says {} {}", db.code().code(), db.message()),
                source: error.into(),
            },
        }
    }
}

impl From<session::ConnectError> for ApplyError {
    fn from(error: session::ConnectError) -> Self {
        Self::Transient {
            what: error.to_string(),
            source: error.into(),
        }
    }
}
