//! `leafcutter.consumers`: which consumers run, by which the operator finds them.

use crate::session::Session;
use tokio_postgres::Error;

/// A consumer that was not seen for so long has ended without a word.
pub const ALIVE_SECONDS: i64 = 15;

/// What a consumer says of itself.
#[derive(Debug)]
pub struct Presence<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its group.
    pub group: &'a str,
    /// Its host.
    pub host: &'a str,
    /// Program and version.
    pub program: &'a str,
    /// The hash of its mapping.
    pub mapping: &'a str,
    /// How many partitions it holds.
    pub partitions: i32,
    /// Where its health and metrics are served.
    pub admin: &'a str,
    /// Why it does not get on.
    pub problem: Option<&'a str>,
}

/// A consumer that was seen lately.
#[derive(Debug, Clone)]
pub struct ConsumerRow {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// The hash of its mapping.
    pub mapping: String,
    /// How many partitions it holds.
    pub partitions: i64,
    /// Where its health and metrics are served.
    pub admin: Option<String>,
    /// Seconds since it was seen.
    pub seen: i64,
    /// Why it does not get on.
    pub problem: Option<String>,
}

impl ConsumerRow {
    /// Whether it is taken to run.
    pub fn is_alive(&self) -> bool {
        self.seen < ALIVE_SECONDS
    }
}

/// Says that a consumer is here.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn write(session: &mut Session, consumer: &Presence<'_>) -> Result<(), Error> {
    const WRITE: &str = "\
        insert into leafcutter.consumers \
        (id, consumer_group, host, program, mapping, partitions, admin, problem, started_at, seen_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, now(), now()) \
        on conflict (id) do update set partitions = excluded.partitions, \
        problem = excluded.problem, seen_at = now()";
    session
        .execute(
            WRITE,
            &[
                &consumer.id,
                &consumer.group,
                &consumer.host,
                &consumer.program,
                &consumer.mapping,
                &consumer.partitions,
                &consumer.admin,
                &consumer.problem,
            ],
        )
        .await
        .map(drop)
}

/// Says that a consumer is gone.
///
/// # Errors
/// As [`write`].
pub async fn remove(session: &mut Session, id: &str) -> Result<(), Error> {
    let sql = "delete from leafcutter.consumers where id = $1";
    session.execute(sql, &[&id]).await.map(drop)
}

/// The consumers of a group that were seen within so many seconds.
///
/// # Errors
/// As [`write`].
pub async fn seen_within(
    session: &mut Session,
    group: &str,
    seconds: i64,
) -> Result<Vec<ConsumerRow>, Error> {
    seen(session, Some(group), seconds).await
}

/// Of one group, or of all.
async fn seen(
    session: &mut Session,
    group: Option<&str>,
    seconds: i64,
) -> Result<Vec<ConsumerRow>, Error> {
    const SEEN: &str = "\
        select id, host, program, mapping, partitions::bigint, admin, \
        extract(epoch from clock_timestamp() - seen_at)::bigint, problem from leafcutter.consumers \
        where ($1::text is null or consumer_group = $1) \
        and seen_at > now() - make_interval(secs => $2::bigint::float8) order by id";
    let rows = session.query(SEEN, &[&group, &seconds]).await?;
    let read = |row: &tokio_postgres::Row| ConsumerRow {
        id: row.get(0),
        host: row.get(1),
        program: row.get(2),
        mapping: row.get(3),
        partitions: row.get(4),
        admin: row.get(5),
        seen: row.get(6),
        problem: row.get(7),
    };
    Ok(rows.iter().map(read).collect())
}

/// Those that run.
///
/// # Errors
/// As [`write`].
pub async fn alive(session: &mut Session, group: &str) -> Result<Vec<ConsumerRow>, Error> {
    seen_within(session, group, ALIVE_SECONDS).await
}

/// Those that run, of whatever group.
///
/// # Errors
/// As [`write`].
pub async fn alive_of_all_groups(session: &mut Session) -> Result<Vec<ConsumerRow>, Error> {
    seen(session, None, ALIVE_SECONDS).await
}

/// Lets nobody say that it is here until the transaction ends.
///
/// # Errors
/// As [`write`]; also when somebody does not let go of the table in time.
pub async fn lock(session: &mut Session) -> Result<(), Error> {
    const LOCK: &str = "lock table leafcutter.consumers in access exclusive mode";
    session.batch(LOCK).await
}
