//! Parked documents that are gone.

use crate::{guard::sql, session::Session, state::swept};
use leafcutter_schemas::version::Version;
use tokio_postgres::Error;

/// Adds to what is gone: the documents of a table that are parked below a version and were not seen
/// ([`swept`]).
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn gone(
    session: &mut Session,
    (root, table): (i32, &str),
    below: Version,
) -> Result<(), Error> {
    let older = sql::is_older("p.version", "$3");
    let sql = swept::insert_gone(
        "p.row_key, p.wanted_key, p.version",
        &format!("leafcutter.parked p where p.table_name = $2 and {older}"),
        "p.row_key",
    );
    let below = below.as_i64();
    session
        .execute(&sql, &[&root, &table, &below])
        .await
        .map(drop)
}
