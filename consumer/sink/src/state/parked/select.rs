//! Which parked documents are locked and tried, and by whom: a batch its own and those that wait for its
//! rows, the settling task what can be placed by now ([`crate::settle`]).

use super::{
    super::{index_key, is_key},
    ParkedRow, columns, columns_with,
};
use crate::session::Session;
use tokio_postgres::{Error, Row, types::ToSql};

/// Most waiting documents that one batch releases; the settling task does the rest.
pub const RELEASED_MAX: usize = 5_000;

/// Parked documents that the settling task tries in one transaction.
pub const TRIED_MAX: usize = 500;

/// Bytes of parked records that one transaction takes up, beside the records of a batch: a document may have as
/// many by itself.
pub const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a document is left alone after it was tried. A parent's own batch releases what waits for
/// it, so looking again is for those that both missed, and they were parked a moment ago: the longer one
/// has waited the less there is to see, however many wait. A value that comes free is only seen here.
pub(super) const PAUSE: &str = "greatest(\
    case when p.state = 'waiting' then interval '0.5 s' else interval '10 s' end, \
    case when p.reason = 'parent' then least((now() - p.parked_at) / 10, interval '5 min') end)";

/// Which tables' rows `wait_table` names: `$2` there, `$3` in `table_name`, which differ where several
/// collections fill a table.
pub(super) const NAMED: &str = "unnest($2::text[], $3::text[]) as k(named, state)";

/// The tables that documents wait for: their names, and beside each its name in the state.
#[derive(Debug, Default)]
pub struct WaitTables<'a> {
    /// The names.
    pub names: Vec<String>,
    /// The names in the state.
    pub state_names: Vec<&'a str>,
}

impl WaitTables<'_> {
    /// Those that are not busy, as the state names them.
    fn free(&self, busy: &[&str]) -> Vec<&str> {
        let names = self.state_names.iter().copied();
        names.filter(|name| !busy.contains(name)).collect()
    }
}

/// Locks and returns documents that wait for nothing that is parked: what they wait for is there by
/// now, or missing. Those that were not tried for longest, since more may wait than one round holds.
/// Of these tables only, and not of those that are `busy`: what another group has parked, or a mapping of before,
/// is not ours to try, and would take the places of what is.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn lock_free(
    session: &mut Session,
    tables: &WaitTables<'_>,
    busy: &[&str],
) -> Result<Vec<ParkedRow>, Error> {
    let is_parked = |key: &str| {
        format!(
            "exists (select 1 from {NAMED} join leafcutter.parked q on q.table_name = k.state and {key} \
             and q.state = 'waiting' and not q.incomplete where k.named = p.wait_table \
             and (q.table_name, q.row_key) <> (p.table_name, p.row_key))"
        )
    };
    // Apart, each is found by its index; in one condition all that is parked would be read for each.
    let condition = format!(
        "p.tried_at < now() - {PAUSE} and not (p.reason = 'parent' and ({} or {}))",
        is_parked(&is_key("q.row_key", "p.wait_key")),
        is_parked("q.wanted_key = p.wait_key"),
    );
    let free = tables.free(busy);
    let parameters: &[&(dyn ToSql + Sync)] = &[&free, &tables.names, &tables.state_names];
    lock_some(session, &condition, TRIED_MAX, parameters).await
}

/// A row that something waits for.
#[derive(Debug, Clone)]
pub struct AwaitedKey {
    /// Its table.
    pub wait_table: String,
    /// Its key, or that of its document.
    pub wait_key: Vec<u8>,
    /// The root table of a document that waits for it, as the state names it.
    pub table: String,
    /// The column that points to it.
    pub wait_column: Option<String>,
}

/// Longest key that is looked for: no index has longer ones, unless they compress well.
const KEY_BYTES_MAX: usize = 8_000;

/// So many of the rows of these tables that anything waits for, or what the state names so, those behind `after`
/// (table and key) in the order of the index.
///
/// # Errors
/// As [`lock_free`].
pub async fn awaited(
    session: &mut Session,
    (tables, waiting): (&[String], Option<&[&str]>),
    after: &(String, Vec<u8>),
    most: usize,
) -> Result<Vec<AwaitedKey>, Error> {
    let sql = format!(
        "select p.wait_table, p.wait_key, p.table_name, p.wait_column \
         from leafcutter.parked p \
         where p.reason = 'parent' and p.state <> 'refused' and p.wait_table = any($1) \
         and octet_length(p.wait_key) <= {KEY_BYTES_MAX} \
         and ($4::text[] is null or p.table_name = any($4)) \
         and (p.wait_table, {own}) > ($2, {last}) \
         group by 1, {own}, 2, 3, 4 order by 1, {own} limit {most}",
        own = index_key("p.wait_key"),
        last = index_key("$3::bytea"),
    );
    let rows = session
        .query(&sql, &[&tables, &after.0, &after.1, &waiting])
        .await?;
    let read = |row: &Row| AwaitedKey {
        wait_table: row.get(0),
        wait_key: row.get(1),
        table: row.get(2),
        wait_column: row.get(3),
    };
    Ok(rows.iter().map(read).collect())
}

/// Locks and returns documents that were not tried for long, whatever they wait for: a row may be there
/// already of which a newer image is parked.
///
/// # Errors
/// As [`lock_free`].
pub async fn lock_rest(
    session: &mut Session,
    tables: &WaitTables<'_>,
    busy: &[&str],
) -> Result<Vec<ParkedRow>, Error> {
    let condition = format!("p.tried_at < now() - greatest({PAUSE}, interval '10 s')");
    let free = tables.free(busy);
    lock_some(session, &condition, TRIED_MAX / 5, &[&free]).await
}

async fn lock_some(
    session: &mut Session,
    condition: &str,
    most: usize,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<ParkedRow>, Error> {
    let some = format!(
        "select * from leafcutter.parked p \
         where p.table_name = any($1) and p.state <> 'refused' and {condition} \
         order by p.tried_at limit {most} for update skip locked"
    );
    let fits = format!("p.total <= {TAKEN_BYTES_MAX} or p.total = p.bytes");
    let sql = within(&some, "q.tried_at, q.table_name, q.row_key", &fits);
    Ok(read(&session.query(&sql, parameters).await?))
}

/// What fits into `$3` bytes; with `$4` the first row does, however large it is.
const FITS: &str = "p.total <= $3::bigint or ($4::bool and p.total = p.bytes)";

/// The first rows of `some` that fit, in this order: `bytes` are a row's own, `total` those up to it. A long value
/// is not read for its length. Rows that do not fit are locked until the transaction ends, and come with the next.
fn within(some: &str, order: &str, fits: &str) -> String {
    format!(
        "select {} from (select q.*, octet_length(q.record_value)::bigint as bytes, \
         sum(octet_length(q.record_value)) over (order by {order} rows unbounded preceding) as total \
         from ({some}) q) p where {fits} order by p.total",
        columns()
    )
}

/// Locks and returns what is parked for these rows (S2), without its records: they are only compared.
///
/// # Errors
/// As [`lock_free`], or when another session holds a lock for too long.
pub async fn lock_of_rows(
    session: &mut Session,
    tables: &[&str],
    keys: &[&[u8]],
) -> Result<Vec<ParkedRow>, Error> {
    let sql = format!(
        "select {} from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and {} \
         order by p.table_name, p.row_key for update of p",
        columns_with("''::bytea"),
        is_key("p.row_key", "k.k")
    );
    Ok(read(&session.query(&sql, &[&tables, &keys]).await?))
}

/// Locks and returns those of these documents that wait and that no other session works on.
///
/// # Errors
/// As [`lock_free`].
pub async fn lock_these(
    session: &mut Session,
    tables: &[&str],
    keys: &[&[u8]],
) -> Result<Vec<ParkedRow>, Error> {
    let sql = format!(
        "select {} from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and {} \
         where p.state <> 'refused' \
         order by p.table_name, p.row_key for update of p skip locked",
        columns(),
        is_key("p.row_key", "k.k")
    );
    Ok(read(&session.query(&sql, &[&tables, &keys]).await?))
}

/// Locks and returns those of these documents that wait for anything, as [`lock_waiters`] does.
///
/// # Errors
/// As [`lock_free`].
pub async fn lock_holders(
    session: &mut Session,
    tables: &[&str],
    keys: &[&[u8]],
    (room, first): (i64, bool),
) -> Result<Vec<ParkedRow>, Error> {
    let some = format!(
        "select p.* from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and {} \
         where p.state <> 'refused' \
         order by p.table_name, p.row_key limit {TRIED_MAX} for update of p skip locked",
        is_key("p.row_key", "k.k")
    );
    let sql = within(&some, "q.table_name, q.row_key", FITS);
    let parameters: &[&(dyn ToSql + Sync)] = &[&tables, &keys, &room, &first];
    Ok(read(&session.query(&sql, parameters).await?))
}

/// Locks and returns what waits for these rows to be there, but for what another session works on:
/// two batches that wait for each other's documents would be a deadlock, and the settling task sees
/// what is left. No more than `room` bytes, but one document where `first` says that none was taken up before.
///
/// # Errors
/// As [`lock_free`].
pub async fn lock_waiters(
    session: &mut Session,
    tables: &[String],
    keys: &[&[u8]],
    (room, first): (i64, bool),
) -> Result<Vec<ParkedRow>, Error> {
    let some = format!(
        "select p.* from leafcutter.parked p \
         join unnest($1::text[], $2::bytea[]) as k(t, k) on p.wait_table = k.t and {} \
         where p.reason = 'parent' and p.state <> 'refused' \
         order by p.table_name, p.row_key limit {RELEASED_MAX} for update of p skip locked",
        is_key("p.wait_key", "k.k")
    );
    let sql = within(&some, "q.table_name, q.row_key", FITS);
    Ok(read(
        &session
            .query(&sql, &[&tables, &keys, &room, &first])
            .await?,
    ))
}

fn read(found: &[Row]) -> Vec<ParkedRow> {
    found.iter().filter_map(ParkedRow::read).collect()
}
