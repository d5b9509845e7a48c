//! Which of the rarely used tables hold anything.

use super::{breakers, cascaded_rows, dead_letters, deferred_constraints, held, parked};
use crate::session::Session;
use tokio_postgres::{Error, Row};

/// Which of the rarely used tables hold anything, as this transaction sees it. A row that another
/// transaction is taking away is still seen, so "nothing" is safe to act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateFlags {
    /// Something is parked.
    pub parked: bool,
    /// Something is held.
    pub held: bool,
    /// There are open dead letters.
    pub dead_letters: bool,
    /// Rows went with a parent.
    pub cascaded: bool,
    /// Records could not be applied lately.
    pub failures: bool,
    /// Foreign keys are not there yet.
    pub deferred: bool,
}

impl StateFlags {
    /// Asks for them.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn read(session: &mut Session) -> Result<Self, Error> {
        let row = session.query_one(&Self::sql(), &[]).await?;
        Ok(Self::of(&row))
    }

    /// The question, which gives one row.
    pub(super) fn sql() -> String {
        let any = [
            parked::ANY,
            held::ANY,
            dead_letters::ANY_OPEN,
            cascaded_rows::ANY,
            breakers::ANY,
            deferred_constraints::ANY,
        ];
        format!("select {}", any.join(", "))
    }

    /// The answer.
    pub(super) fn of(row: &Row) -> Self {
        Self {
            parked: row.get(0),
            held: row.get(1),
            dead_letters: row.get(2),
            cascaded: row.get(3),
            failures: row.get(4),
            deferred: row.get(5),
        }
    }
}
