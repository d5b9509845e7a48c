//! Deletes and changes the rows that staged ones lead to, by their places where the target has such
//! ([`crate::statement::ByTarget`]).

use super::attempt::Attempt;
use crate::{error::ApplyError, statement::ByTarget};
use tokio_postgres::types::ToSql;

/// Executes it; gives how many rows were written. `plain`: the target is a table and nothing else.
pub(crate) async fn write(
    t: &mut Attempt<'_>,
    sql: &ByTarget,
    plain: bool,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, ApplyError> {
    let mut done = 0;
    if let Some(by_places) = sql.by_places().filter(|_| plain) {
        let row = t.session.query_one(by_places, parameters).await?;
        let (found, written): (i64, i64) = (row.get(0), row.get(1));
        done = u64::try_from(written).unwrap_or(0);
        if found == written {
            return Ok(done);
        }
        // Somebody else has changed a row since it was looked for, and it has another place.
    }
    Ok(done + t.session.execute(sql.by_keys(), parameters).await?)
}
