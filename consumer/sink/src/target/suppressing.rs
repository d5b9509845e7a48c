//! Which tables may swallow rows without an error: those with triggers that run before, or in place of, a write,
//! with rules, with policies for rows, and those that are more than a plain table. What becomes of rows there
//! costs a little to find out, and is asked for such tables only.

use crate::{ids::TableId, model::Model, names::qualified, session::Session};
use std::collections::BTreeSet;
use tokio_postgres::Error;

/// The tables that may swallow rows. Somebody may add a trigger at any time, so it is asked for each
/// transaction.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn suppressing(session: &mut Session, model: &Model) -> Result<BTreeSet<TableId>, Error> {
    const LOOK: &str = "\
        select n.place from unnest($1::text[], $2::int[]) as n(name, place) \
        join pg_class c on c.oid = to_regclass(n.name) \
        where c.relkind <> 'r' or c.relhasrules or c.relrowsecurity or c.relhassubclass \
        or c.relispartition or (c.relhastriggers and exists (select 1 from pg_trigger g \
        where g.tgrelid = c.oid and not g.tgisinternal and g.tgenabled <> 'D' \
        and g.tgtype::int & 66 <> 0))";
    let names = model
        .tables
        .iter()
        .map(|entry| qualified(&entry.table.name));
    let names: Vec<String> = names.collect();
    let places: Vec<i32> = (0..).take(names.len()).collect();
    let rows = session.query(LOOK, &[&names, &places]).await?;
    let found = rows
        .iter()
        .filter_map(|row| usize::try_from(row.get::<_, i32>(0)).ok());
    Ok(found.map(TableId).collect())
}
