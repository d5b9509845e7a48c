//! Taking back what Leafcutter wrote, until cut-over.
//!
//! It takes a session on which a transaction has begun, the mapping, and which collections are meant; and gives
//! what would go, what would come back, and what is in the way ([`prepare`]); then it does it ([`put_back`]) and
//! takes apart what was made ([`apart`]). All of it is one transaction, so there is no half of it, and nothing
//! to go on with after a crash.
//!
//! **Which rows are Leafcutter's** the rows say themselves ([`place::Mark`]). They go, unless an image is there
//! of the same key: then the row is the application's, and gets its old values in place, so that whatever
//! refers to it does not notice. An image without a row becomes a row again.
//!
//! **It is one statement.** Foreign keys are looked at when a statement has ended. So no order of tables is
//! needed, and none would do for tables that refer to each other. Within it all deletes come first, then what
//! is overwritten, then what is inserted: each part reads the number of rows of the part before, and so is not
//! begun earlier. A unique value is free by then.
//!
//! **What is in the way is found before**, by the same locks under which it is done: rows that stay and refer
//! to rows that go ([`way`]), images whose place is taken ([`images`]).

pub mod apart;
mod images;
mod place;
mod triggers;
mod way;

pub use images::Blocked;
pub use place::Place;
pub use way::InTheWay;

use crate::{
    ids::CollectionId,
    model::Model,
    names::{list, quote},
    session::Session,
    state::origins::Found,
};
use images::Images;
use serde::Serialize;
use tokio_postgres::Error;

/// What a session may set of how values are read, as it was when they were written.
const SETTINGS: &str = "\
    set local leafcutter.session = ''; set local statement_timeout = 0; set local datestyle = 'ISO, YMD'; \
    set local intervalstyle = 'postgres'; set local timezone = 'UTC'; set local bytea_output = 'hex'; \
    set local lc_monetary = 'C'; set local array_nulls = on; set local xmloption = content";

/// What becomes of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The table.
    pub table: String,
    /// Rows of Leafcutter's, which go.
    pub written: i64,
    /// Rows of the application's that were overwritten, and get their values back.
    pub overwritten: i64,
    /// Rows of the application's that were deleted, and come back.
    pub deleted: i64,
    /// Rows that stay as they are.
    pub untouched: i64,
}

/// What would be done.
#[derive(Debug)]
pub struct Prepared {
    /// The tables.
    pub places: Vec<Place>,
    images: Vec<Images>,
    /// What becomes of them.
    pub counts: Vec<Count>,
    /// Rows of the application's that cannot come back.
    pub blocked: Vec<Blocked>,
    /// Rows that refer to rows that go.
    pub in_the_way: Vec<InTheWay>,
}

impl Prepared {
    /// Whether a table was created, and all of its rows are Leafcutter's: then it need not be emptied to be dropped.
    fn is_whole(&self, place: &Place) -> bool {
        let is_created = place
            .origin
            .as_ref()
            .is_some_and(|origin| origin.found == Found::Created);
        let count = self.counts.get(place.n);
        is_created && count.is_some_and(|c| (c.untouched, c.overwritten, c.deleted) == (0, 0, 0))
    }
}

/// Finds out what would be done, in temporary tables of the transaction. With `locks`, nobody writes to the
/// tables until it ends.
///
/// # Errors
/// When PostgreSQL is lost, an image cannot be read any more, or a lock cannot be had in time.
pub async fn prepare(
    session: &mut Session,
    model: &Model,
    chosen: Option<&[CollectionId]>,
    locks: bool,
) -> Result<Prepared, Error> {
    session.batch(SETTINGS).await?;
    let places = place::find(session, model, chosen).await?;
    if locks && !places.is_empty() {
        let tables = list(places.iter().map(|place| place.target.clone()));
        let lock = format!("lock table {tables} in share row exclusive mode");
        session.batch(&lock).await?;
    }
    let (mut images, mut blocked) = (Vec::new(), Vec::new());
    for place in &places {
        let found = Images::read(session, place).await?;
        blocked.extend(found.block(session, place).await?);
        images.push(found);
    }
    let mut counts = Vec::new();
    for (place, images) in places.iter().zip(&images) {
        counts.push(count(session, place, images).await?);
    }
    let in_the_way = way::find(session, &places, &images).await?;
    Ok(Prepared {
        places,
        images,
        counts,
        blocked,
        in_the_way,
    })
}

/// Notes which rows go, and counts.
async fn count(session: &mut Session, place: &Place, images: &Images) -> Result<Count, Error> {
    let (target, doomed) = (&place.target, place.doomed());
    let comes_back = images.has_of(place, "x");
    session
        .batch(&format!(
            "create temp table {doomed} on commit drop as select x.ctid as at, x.tableoid as part \
             from {target} x where {} and not {comes_back}; analyze {doomed}",
            place.ours()
        ))
        .await?;
    let sql = format!("select (select count(*) from {doomed}), (select count(*) from {target})");
    let row = session.query_one(&sql, &[]).await?;
    let (written, all): (i64, i64) = (row.get(0), row.get(1));
    let (overwritten, deleted) = images.count(session, place).await?;
    Ok(Count {
        table: place.shown.clone(),
        written,
        overwritten,
        deleted,
        untouched: all - written - overwritten,
    })
}

/// How many rows were deleted, overwritten and inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Rows of Leafcutter's that are gone.
    pub deleted: i64,
    /// Rows that have their values again.
    pub overwritten: i64,
    /// Rows that are back.
    pub inserted: i64,
}

/// Does it. The application's own triggers rest meanwhile, where this user owns the table: a row comes back as
/// it was, not as a trigger would have it. Tables that were `dropped` with all their rows are only counted.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn put_back(
    session: &mut Session,
    prepared: &Prepared,
    dropped: &[usize],
) -> Result<Done, Error> {
    let resting = triggers::rest(session, &prepared.places).await?;
    let row = session
        .query_one(&statement(prepared, dropped), &[])
        .await?;
    let left = dropped.iter().filter_map(|&n| prepared.counts.get(n));
    let left: i64 = left.map(|count| count.written).sum();
    let done = Done {
        deleted: row.get::<_, i64>(0) + left,
        overwritten: row.get(1),
        inserted: row.get(2),
    };
    // A deferred look at a foreign key would keep the tables from being altered.
    session.batch("set constraints all immediate").await?;
    for statement in resting {
        session.batch(&statement).await?;
    }
    Ok(done)
}

/// The one statement. A part that reads `deleted` or `updated` begins when that is known.
fn statement(prepared: &Prepared, dropped: &[usize]) -> String {
    let mut parts = Vec::new();
    let (mut deletes, mut updates, mut inserts) = (Vec::new(), Vec::new(), Vec::new());
    for (place, images) in prepared.places.iter().zip(&prepared.images) {
        let (n, target) = (place.n, &place.target);
        if dropped.contains(&n) {
            continue;
        }
        parts.push(format!(
            "d{n} as (delete from {target} x using {} d where x.ctid = d.at and x.tableoid = d.part returning 1)",
            place.doomed()
        ));
        deletes.push(format!("(select count(*) from d{n})"));
        for (k, columns) in images.columns() {
            let table = images.table();
            let matches = place.same_key("x", "i");
            let sets = columns.iter().filter(|column| !column.is_always);
            let sets = sets.map(|column| {
                let name = quote(&column.name);
                format!("{name} = i.{name}")
            });
            let sets: Vec<String> = sets.collect();
            if !sets.is_empty() {
                updates.push((
                    format!("u{n}_{k}"),
                    format!(
                        "update {target} x set {} from {table} i where i.lc_undo_shape = {k} \
                         and i.lc_undo_block is null and {matches} and (select rows from deleted) >= 0 returning 1",
                        sets.join(", ")
                    ),
                ));
            }
            let names = list(columns.iter().map(|column| quote(&column.name)));
            let values = list(
                columns
                    .iter()
                    .map(|column| format!("i.{}", quote(&column.name))),
            );
            inserts.push((
                format!("i{n}_{k}"),
                format!(
                    "insert into {target} ({names}) overriding system value select {values} from {table} i \
                     where i.lc_undo_shape = {k} and i.lc_undo_block is null \
                     and not exists (select 1 from {target} x where {matches}) \
                     and (select rows from updated) >= 0 order by i.lc_undo_id returning 1"
                ),
            ));
        }
    }
    let sum = |names: &[String]| {
        let all = names.iter().map(String::as_str).chain(["0::bigint"]);
        all.collect::<Vec<_>>().join(" + ")
    };
    parts.push(format!(
        "deleted (rows) as materialized (select {})",
        sum(&deletes)
    ));
    let mut counted = |list: Vec<(String, String)>, whole: &str| {
        let mut counts = Vec::new();
        for (name, sql) in list {
            counts.push(format!("(select count(*) from {name})"));
            parts.push(format!("{name} as ({sql})"));
        }
        parts.push(format!(
            "{whole} (rows) as materialized (select {})",
            sum(&counts)
        ));
    };
    counted(updates, "updated");
    counted(inserts, "inserted");
    format!(
        "with {} select (select rows from deleted), (select rows from updated), (select rows from inserted)",
        parts.join(", ")
    )
}
