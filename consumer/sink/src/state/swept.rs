//! Temporary tables of a session that looks for documents which are gone ([`crate::sweep`]): what the source
//! has, and what is stored and not among it.

use crate::session::Session;
use tokio_postgres::Error;

/// Keys of documents that were seen in the source, as the guard knows them: `root`, `key`.
pub(crate) const SEEN: &str = "pg_temp.lc_seen";
/// What is gone: `root`, `key`, the row's key where that is another one, the version that is stored.
pub(crate) const GONE: &str = "pg_temp.lc_gone";
/// The same in order, each document once, with a number `n`.
pub(crate) const DUE: &str = "pg_temp.lc_due";

/// Creates them. They may outgrow what a statement of a batch may take.
pub(crate) const CREATE: &str = "\
    set statement_timeout = 0; \
    create temp table lc_seen (root int not null, key bytea not null); \
    create temp table lc_gone (root int not null, key bytea not null, row_key bytea, version bigint)";

/// Adds to what is gone: `columns` are key, row key and version of what `from` gives, up to its condition;
/// `$1` is the root table.
pub(crate) fn insert_gone(columns: &str, from: &str, key: &str) -> String {
    format!(
        "insert into {GONE} (root, key, row_key, version) select $1::int, {columns} from {from} \
         and not exists (select 1 from {SEEN} seen where seen.root = $1 and seen.key = {key})"
    )
}

/// Puts what is gone in order: referring tables before referenced ones, each document once.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub(crate) async fn order(session: &mut Session) -> Result<i64, Error> {
    let sql = format!(
        "drop table if exists {DUE}; create temp table lc_due as \
         select row_number() over (order by root desc, key) as n, root, key, row_key from \
         (select distinct on (root, key) root, key, row_key from {GONE} \
         order by root, key, row_key nulls last) each; analyze {DUE}"
    );
    session.batch(&sql).await?;
    let row = session
        .client()
        .query_one(&format!("select count(*) from {DUE}"), &[])
        .await?;
    Ok(row.get(0))
}
