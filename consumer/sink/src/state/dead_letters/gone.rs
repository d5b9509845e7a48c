//! Open dead letters of documents that are gone.

use crate::{guard::sql, session::Session, state::swept};
use leafcutter_schemas::version::Version;
use tokio_postgres::Error;

/// Adds to what is gone: the documents of a table with open dead letters below a version that were not seen
/// ([`swept`]).
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn gone(
    session: &mut Session,
    (root, table): (i32, &str),
    below: Version,
) -> Result<(), Error> {
    let older = sql::is_older("d.version", "$3");
    let sql = swept::insert_gone(
        "d.row_key, null::bytea, d.version",
        &format!(
            "leafcutter.dead_letters d where d.table_name = $2 and {older} \
             and d.state = 'open' and d.row_key is not null"
        ),
        "d.row_key",
    );
    let below = below.as_i64();
    session
        .execute(&sql, &[&root, &table, &below])
        .await
        .map(drop)
}
