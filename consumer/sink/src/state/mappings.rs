//! `leafcutter.mappings`: which mapping is in force in a consumer group, and which were before
//! (docs/decisions/a-changed-mapping.md).
//!
//! The first consumer of a group puts its mapping in force; after that only a person puts another there. Why
//! nothing is written under one that is not in force any more: every transaction that writes rows holds the
//! table in `row share` mode from its first statement on, and reads the generation in its second ([`begin`]).
//! Whoever puts a mapping in force holds the table in `exclusive` mode until the commit ([`lock`]). So a
//! transaction either has ended before, or it begins afterwards and sees the new generation: a statement sees
//! what was committed before it began, and the second begins when the lock is there. No row is locked or
//! written for it, and both statements are sent together.

use crate::{
    ids::Generation,
    session::{MARK, Session},
};
use leafcutter_schemas::mapping::{Change, Effect, Mapping, changes, parse};
use tokio_postgres::{Error, Row};

/// A mapping that is, or was, in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRow {
    /// Its number.
    pub generation: Generation,
    /// Its hash.
    pub hash: String,
    /// The file, as it was read.
    pub body: String,
    /// The program that put it in force.
    pub program: String,
    /// Since when, as `2026-01-31 12:00:00 UTC`.
    pub since: String,
}

impl MappingRow {
    /// What differs from it in a mapping; nothing where both mean the same.
    pub fn differs(&self, mapping: &Mapping) -> Vec<Change> {
        if self.hash == mapping.hash {
            return Vec::new();
        }
        match parse::load(&self.body, "the mapping in force") {
            Ok(in_force) => changes(&in_force, mapping),
            // Another version's language: nobody knows what has changed, so everything may have.
            Err(_) => mapping.collections.iter().map(unknown).collect(),
        }
    }

    /// Whether a mapping means the same.
    ///
    /// # Errors
    /// When it does not: what differs.
    pub fn admit(self, mapping: &Mapping) -> Result<Self, Box<OtherMapping>> {
        let changes = self.differs(mapping);
        if changes.is_empty() {
            return Ok(self);
        }
        Err(Box::new(OtherMapping {
            in_force: self,
            changes,
        }))
    }

    fn read(row: &Row) -> Self {
        Self {
            generation: Generation(row.get(0)),
            hash: row.get(1),
            body: row.get(2),
            program: row.get(3),
            since: row.get(4),
        }
    }
}

/// A mapping that is not the one in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherMapping {
    /// The one in force.
    pub in_force: MappingRow,
    /// What differs from it.
    pub changes: Vec<Change>,
}

fn unknown(collection: &leafcutter_schemas::mapping::Collection) -> Change {
    Change {
        database: collection.database.clone(),
        collection: collection.name.clone(),
        what: vec!["this version cannot read the mapping in force".to_owned()],
        effect: Effect::Children,
    }
}

const COLUMNS: &str = "generation, hash, body, program, \
    to_char(activated_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')";

const IN_FORCE: &str =
    "select coalesce(max(generation), 0) from leafcutter.mappings where consumer_group = $1";

/// A transaction that may write rows.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    /// The generation that is in force until it ends.
    pub in_force: Generation,
    /// It is in the session that was opened, and not in one that a pooler has given.
    pub in_session: bool,
}

/// Begins a transaction that may write rows.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn begin(session: &mut Session, group: &str) -> Result<Begun, Error> {
    const BEGIN: &str = "begin; lock table leafcutter.mappings in row share mode";
    const LOOK: &str = "\
        select coalesce(max(generation), 0), current_setting($2::text, true) is not distinct from $3::text \
        from leafcutter.mappings where consumer_group = $1";
    let mark = session.mark().to_owned();
    let row = session
        .batch_and_one(BEGIN, LOOK, &[&group, &MARK, &mark])
        .await?;
    Ok(Begun {
        in_force: Generation(row.get(0)),
        in_session: row.get(1),
    })
}

/// Waits for the transactions that write rows, and keeps others from beginning until this one ends.
///
/// # Errors
/// As [`begin`].
pub async fn lock(session: &mut Session) -> Result<(), Error> {
    session
        .batch("lock table leafcutter.mappings in exclusive mode")
        .await
}

/// The sessions that [`lock`] has waited for ten seconds for, by their names.
///
/// # Errors
/// As [`begin`].
pub async fn in_the_way(session: &mut Session) -> Result<Vec<String>, Error> {
    const HOLDERS: &str = "\
        select distinct a.application_name from pg_locks l join pg_stat_activity a on a.pid = l.pid \
        where l.locktype = 'relation' and l.relation = 'leafcutter.mappings'::regclass and l.granted \
        and l.database = (select oid from pg_database where datname = current_database()) \
        and l.mode = 'RowShareLock' and a.xact_start < clock_timestamp() - interval '10 s' order by 1";
    let rows = session.query(HOLDERS, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The generation that is in force at this moment.
///
/// # Errors
/// As [`begin`].
pub async fn generation(session: &mut Session, group: &str) -> Result<Generation, Error> {
    let row = session.query_one(IN_FORCE, &[&group]).await?;
    Ok(Generation(row.get(0)))
}

/// The mapping that is in force; none where no consumer of the group has started yet.
///
/// # Errors
/// As [`begin`].
pub async fn in_force(session: &mut Session, group: &str) -> Result<Option<MappingRow>, Error> {
    let sql = format!(
        "select {COLUMNS} from leafcutter.mappings where consumer_group = $1 \
         order by generation desc limit 1"
    );
    let rows = session.query(&sql, &[&group]).await?;
    Ok(rows.first().map(MappingRow::read))
}

/// Puts a mapping in force, as the next generation of its group. Within a transaction of the caller's, which
/// keeps others from doing the same.
///
/// # Errors
/// As [`begin`].
pub async fn activate(
    session: &mut Session,
    group: &str,
    mapping: &Mapping,
    program: &str,
) -> Result<MappingRow, Error> {
    let sql = format!(
        "insert into leafcutter.mappings (consumer_group, generation, hash, body, program) \
         select $1, coalesce(max(generation), 0) + 1, $2, $3, $4 from leafcutter.mappings \
         where consumer_group = $1 returning {COLUMNS}"
    );
    let row = session
        .query_one(&sql, &[&group, &mapping.hash, &mapping.text, &program])
        .await?;
    Ok(MappingRow::read(&row))
}

/// Forgets the mappings of a group that is no more.
///
/// # Errors
/// As [`begin`].
pub async fn forget(session: &mut Session, group: &str) -> Result<(), Error> {
    const FORGET: &str = "delete from leafcutter.mappings where consumer_group = $1";
    session.execute(FORGET, &[&group]).await.map(drop)
}
