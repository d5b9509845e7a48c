//! `leafcutter.dead_letters`: the index of the dead-letter topics.
//!
//! A dead letter is open until its document is placed or deleted by something at least as new, or a newer
//! record of it waits (superseded), or a person has tried it again (retried) or given it up (discarded). It is
//! listed before or in the transaction that moves past its record, so that nothing is in a topic of which the
//! index does not know.

mod find;
mod gone;
mod of_documents;

pub use find::{
    Cause, CountedDeadLetters, DeadLetterRow, Filter, causes, count, count_by_reason, find, topics,
};
pub use gone::gone;
pub use of_documents::{DocumentLetter, of_documents};

use super::{KeyVersion, Origins, columns, is_key};
use crate::{guard::sql, session::Session};
use find::FILTER;
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    version::Version,
};
use tokio_postgres::Error;

/// Whether any dead letter is open, as an expression.
pub(crate) const ANY_OPEN: &str =
    "exists (select 1 from leafcutter.dead_letters where state = 'open')";

/// A dead letter as it is listed.
#[derive(Debug)]
pub struct ToList<'a> {
    /// Where its record was read.
    pub topic: &'a str,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Its root table, as the state names it.
    pub table: &'a str,
    /// The root row's key, where it could be told.
    pub row_key: Option<&'a [u8]>,
    /// The record's key, which is the document's.
    pub record_key: &'a [u8],
    /// Its version, where it could be told.
    pub version: Option<Version>,
    /// Why it was refused.
    pub reason: &'a Reason,
    /// The consumer group.
    pub group: &'a str,
    /// The mapping's hash.
    pub mapping: &'a str,
    /// The schema of the tables that refuse it, where they are being filled beside those in use
    /// ([`super::stagings`]); empty otherwise.
    pub staged_in: &'a str,
}

/// Open dead letters of these tables that were listed under the keys of rows are listed under those of
/// documents.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn adopt(session: &mut Session, tables: &[&str]) -> Result<(), Error> {
    const ADOPT: &str = "\
        update leafcutter.dead_letters set row_key = convert_to(source_key, 'UTF8') \
        where state = 'open' and table_name = any($1) \
        and row_key <> convert_to(source_key, 'UTF8')";
    session.execute(ADOPT, &[&tables]).await.map(drop)
}

/// Lists a dead letter. One that is open for the same reason under the same mapping is not touched.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn list(session: &mut Session, letter: &ToList<'_>) -> Result<(), Error> {
    const LIST: &str = "\
        insert into leafcutter.dead_letters as d (topic, partition, \"offset\", table_name, row_key, \
        source_key, version, stage, reason, column_name, path, sqlstate, message, consumer_group, mapping, \
        staged_in) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
        on conflict (topic, partition, \"offset\", staged_in) do update set state = 'open', \
        reason = excluded.reason, column_name = excluded.column_name, path = excluded.path, \
        sqlstate = excluded.sqlstate, message = excluded.message, stage = excluded.stage, \
        mapping = excluded.mapping, created_at = now() \
        where d.state = 'open' and (d.mapping, d.reason, d.column_name) is distinct from \
        (excluded.mapping, excluded.reason, excluded.column_name)";
    let source_key = source_key(letter.record_key);
    let reason = letter.reason;
    session
        .execute(
            LIST,
            &[
                &letter.topic,
                &letter.partition,
                &letter.offset,
                &letter.table,
                &letter.row_key,
                &source_key,
                &letter.version.map(Version::as_i64),
                &reason.stage.as_str(),
                &reason.code,
                &reason.column,
                &reason.path,
                &reason.sqlstate,
                &reason.message,
                &letter.group,
                &letter.mapping,
                &letter.staged_in,
            ],
        )
        .await
        .map(drop)
}

/// A record's key as the index has it.
fn source_key(record_key: &[u8]) -> String {
    String::from_utf8_lossy(record_key).replace('\0', "\u{fffd}")
}

/// As [`supersede`], of documents of a topic of which no table can have a row, by their records' keys.
///
/// # Errors
/// As [`list`].
pub async fn supersede_rowless(
    session: &mut Session,
    (topic, table): (&str, &str),
    gone: &[KeyVersion<'_>],
) -> Result<(), Error> {
    let sql = format!(
        "update leafcutter.dead_letters d set state = 'superseded' \
         from unnest($3::text[], $4::bigint[]) as k(k, v) \
         where d.state = 'open' and d.table_name = $2 and leafcutter.index_key(d.row_key) is null \
         and d.topic = $1 and d.source_key = k.k and {}",
        sql::is_settled("d.version", "k.v")
    );
    let keys: Vec<String> = gone.iter().map(|(key, _)| source_key(key)).collect();
    let (_, versions) = columns(gone);
    session
        .execute(&sql, &[&topic, &table, &keys, &versions])
        .await
        .map(drop)
}

/// Closes the open dead letters of these documents at or below these versions.
///
/// # Errors
/// As [`list`].
pub async fn supersede(
    session: &mut Session,
    table: &str,
    placed: &[KeyVersion<'_>],
) -> Result<(), Error> {
    supersede_where(session, table, placed, sql::is_settled).await
}

/// Closes the open dead letters of these documents below the versions of the records that wait now in place
/// of theirs. Those that were listed and not sent yet never are.
///
/// # Errors
/// As [`list`].
pub async fn supersede_older(
    session: &mut Session,
    table: &str,
    parked: &[KeyVersion<'_>],
) -> Result<(), Error> {
    supersede_where(session, table, parked, sql::is_older).await
}

async fn supersede_where(
    session: &mut Session,
    table: &str,
    documents: &[KeyVersion<'_>],
    is_overtaken: fn(&str, &str) -> String,
) -> Result<(), Error> {
    if documents.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "update leafcutter.dead_letters d set state = 'superseded' \
         from unnest($2::bytea[], $3::bigint[]) as k(k, v) \
         where d.state = 'open' and d.table_name = $1 and {} and {}",
        is_key("d.row_key", "k.k"),
        is_overtaken("d.version", "k.v")
    );
    let (keys, versions) = columns(documents);
    session
        .execute(&sql, &[&table, &keys, &versions])
        .await
        .map(drop)
}

/// How a dead letter is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Something at least as new is stored.
    Superseded,
    /// A person's retry has placed it.
    Retried,
}

/// Closes the dead letters of these records, those that writing has superseded just now among them.
///
/// # Errors
/// As [`list`].
pub async fn close(
    session: &mut Session,
    staged_in: &str,
    records: &Origins<'_>,
    closed: Closed,
) -> Result<(), Error> {
    const CLOSE: &str = "\
        update leafcutter.dead_letters d set state = $4 \
        from unnest($1::text[], $2::int[], $3::bigint[]) as k(t, p, o) \
        where d.topic = k.t and d.partition = k.p and d.\"offset\" = k.o and d.staged_in = $5 \
        and d.state not in ('retried', 'discarded')";
    if records.is_empty() {
        return Ok(());
    }
    let state = match closed {
        Closed::Superseded => "superseded",
        Closed::Retried => "retried",
    };
    session
        .execute(
            CLOSE,
            &[
                &records.topics,
                &records.partitions,
                &records.offsets,
                &state,
                &staged_in,
            ],
        )
        .await
        .map(drop)
}

/// Locks the open dead letters of these records; gives where the records were read.
///
/// # Errors
/// As [`list`].
pub async fn lock_open(
    session: &mut Session,
    staged_in: &str,
    records: &Origins<'_>,
) -> Result<Vec<(String, i32, i64)>, Error> {
    const LOCK: &str = "\
        select d.topic, d.partition, d.\"offset\" from leafcutter.dead_letters d \
        join unnest($1::text[], $2::int[], $3::bigint[]) as k(t, p, o) \
        on d.topic = k.t and d.partition = k.p and d.\"offset\" = k.o \
        where d.state = 'open' and d.staged_in = $4 order by 1, 2, 3 for update of d";
    let rows = session
        .query(
            LOCK,
            &[
                &records.topics,
                &records.partitions,
                &records.offsets,
                &staged_in,
            ],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect())
}

/// Why the open dead letters of documents that are given up wait now: of each record the reason and its
/// column, in place of what the settling task found before.
///
/// # Errors
/// As [`list`].
pub async fn correct(
    session: &mut Session,
    staged_in: &str,
    records: &Origins<'_>,
    reasons: &[&Reason],
) -> Result<(), Error> {
    const CORRECT: &str = "\
        update leafcutter.dead_letters d set reason = k.r, column_name = k.c, path = k.a, message = k.m \
        from unnest($1::text[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) \
        as k(t, p, o, r, c, a, m) \
        where d.topic = k.t and d.partition = k.p and d.\"offset\" = k.o and d.state = 'open' and d.stage = $8 \
        and d.staged_in = $9 \
        and (d.reason, d.column_name) is distinct from (k.r, k.c)";
    let each = |part: fn(&Reason) -> Option<&str>| -> Vec<Option<&str>> {
        reasons.iter().map(|reason| part(reason)).collect()
    };
    session
        .execute(
            CORRECT,
            &[
                &records.topics,
                &records.partitions,
                &records.offsets,
                &each(|reason| Some(reason.code)),
                &each(|reason| reason.column.as_deref()),
                &each(|reason| reason.path.as_deref()),
                &each(|reason| Some(&reason.message)),
                &Stage::Settle.as_str(),
                &staged_in,
            ],
        )
        .await
        .map(drop)
}

/// Writes down why a dead letter stays open; it keeps the mapping of its first reason while it only
/// waits.
///
/// # Errors
/// As [`list`].
pub async fn give_reason(
    session: &mut Session,
    staged_in: &str,
    (topic, partition, offset): (&str, i32, i64),
    reason: &Reason,
    mapping: Option<&str>,
) -> Result<(), Error> {
    const REASON: &str = "\
        update leafcutter.dead_letters set state = 'open', stage = $4, reason = $5, column_name = $6, path = $7, \
        sqlstate = $8, message = $9, mapping = coalesce($10, mapping) \
        where topic = $1 and partition = $2 and \"offset\" = $3 and staged_in = $11";
    session
        .execute(
            REASON,
            &[
                &topic,
                &partition,
                &offset,
                &reason.stage.as_str(),
                &reason.code,
                &reason.column,
                &reason.path,
                &reason.sqlstate,
                &reason.message,
                &mapping,
                &staged_in,
            ],
        )
        .await
        .map(drop)
}

/// Gives up the open dead letters of a filter, for this reason; gives how many. They stay listed, and
/// neither a replay nor a retry opens them again.
///
/// # Errors
/// As [`list`].
pub async fn discard(session: &mut Session, filter: &Filter, reason: &str) -> Result<u64, Error> {
    let sql = format!(
        "update leafcutter.dead_letters d set state = 'discarded', discard_reason = $12, \
         discarded_at = now() where state = 'open' and {FILTER}"
    );
    let ids = filter.ids();
    let mut values = filter.values(&ids);
    values.push(&reason);
    session.execute(&sql, &values).await
}
