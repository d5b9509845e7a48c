//! `leafcutter.offsets`: who owns a partition, where it stands, and what became of its records
//! (`docs/protocol.md`, Fence).
//!
//! The position lives in PostgreSQL, so it moves with the rows. The first statement of every batch
//! moves it and checks that the partition is still ours and stands where we think. When it does
//! not, the row is read: either our own commit succeeded and its answer was lost, or another consumer
//! owns the partition. Each record is counted once, with its outcome, in the same transaction: the
//! counters of a partition add up to its position.

mod again;

pub use again::{expect_deletes, pass_by};

use super::StateFlags;
use crate::{
    change::{Counts, Outcome},
    orphan::Progress,
    session::{Bound, Session},
};
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row, error::SqlState, types::ToSql};

/// One partition's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The epoch under which it was taken over.
    pub epoch: i64,
    /// The offset of the batch's first record.
    pub expected: i64,
    /// One behind the batch's last record.
    pub next: i64,
    /// The fingerprint of that record ([`crate::change::Delivery::fingerprint`]).
    pub last: i64,
}

/// Where a partition stands in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch under which it was last taken over.
    pub epoch: i64,
    /// The offset of the next record to be applied.
    pub next: i64,
}

/// What taking a partition over tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenOver {
    /// From where it is to be read.
    pub position: Position,
    /// The fingerprint of the record before, where one was applied and nobody has moved the position since.
    pub last: Option<i64>,
}

/// What passing the fence tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// The batch may be applied.
    Open {
        /// Deletes were applied from these partitions before, by whatever group: a fresh one begins
        /// on the tombstones of the others.
        tombstones: bool,
        /// Events, not only snapshot rows, were applied from these partitions before.
        events: bool,
        /// Which of the rarely used tables hold anything.
        flags: StateFlags,
    },
    /// This very batch was committed before; its answer was lost.
    Committed,
    /// These topics' partitions are not ours any more.
    Lost(Vec<(String, i32)>),
}

const MOVE: &str = "\
    update leafcutter.offsets o set next_offset = n.next, last_record = n.last, updated_at = now() \
    from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) \
    as n(topic, partition, epoch, expected, next, last) \
    where o.consumer_group = $1 and o.topic = n.topic and o.partition = n.partition \
    and o.epoch = n.epoch and o.next_offset = n.expected \
    returning exists (select 1 from leafcutter.offsets a where a.topic = o.topic \
    and a.partition = o.partition and a.has_tombstones), o.has_events, o.topic, o.partition";

const LOOK: &str = "\
    select topic, partition, epoch, next_offset from leafcutter.offsets \
    where consumer_group = $1 and (topic, partition) in \
    (select * from unnest($2::text[], $3::int[]))";

/// Moves the positions of all partitions of a batch, or tells why not. What the transaction has to know of the rest of
/// the state is asked in the same round trip.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn pass(
    session: &mut Session,
    group: &str,
    fences: &[Fence<'_>],
) -> Result<Passed, Error> {
    let mut sorted = fences.to_vec();
    sorted.sort_by_key(|fence| (fence.topic, fence.partition));
    let topics: Vec<&str> = sorted.iter().map(|f| f.topic).collect();
    let partitions: Vec<i32> = sorted.iter().map(|f| f.partition).collect();
    let epochs: Vec<i64> = sorted.iter().map(|f| f.epoch).collect();
    let expected: Vec<i64> = sorted.iter().map(|f| f.expected).collect();
    let next: Vec<i64> = sorted.iter().map(|f| f.next).collect();
    let last: Vec<i64> = sorted.iter().map(|f| f.last).collect();
    let parameters: &[&(dyn ToSql + Sync)] = &[
        &group,
        &topics,
        &partitions,
        &epochs,
        &expected,
        &next,
        &last,
    ];
    let (moved, flags) = session
        .query_and_one((MOVE, parameters), &StateFlags::sql())
        .await?;
    if moved.len() == fences.len() {
        return Ok(Passed::Open {
            tombstones: moved.iter().any(|row| row.get(0)),
            events: moved.iter().any(|row| row.get(1)),
            flags: StateFlags::of(&flags),
        });
    }
    if !moved.is_empty() {
        // One transaction moves all of them, so the batch was not committed before. What was moved
        // here is taken back with this transaction.
        let is_moved = |fence: &&Fence<'_>| {
            moved.iter().any(|row| {
                row.get::<_, &str>(2) == fence.topic && row.get::<_, i32>(3) == fence.partition
            })
        };
        return Ok(lost(sorted.iter().filter(|fence| !is_moved(fence))));
    }
    let rows = session.query(LOOK, &[&group, &topics, &partitions]).await?;
    let stands = |fence: &Fence<'_>| {
        rows.iter()
            .find(|row| {
                row.get::<_, &str>(0) == fence.topic && row.get::<_, i32>(1) == fence.partition
            })
            .map(|row| (row.get::<_, i64>(2), row.get::<_, i64>(3)))
    };
    // For the same reason, one that stands at the end proves the whole.
    if sorted
        .iter()
        .any(|f| f.next > f.expected && stands(f) == Some((f.epoch, f.next)))
    {
        return Ok(Passed::Committed);
    }
    let ours = |f: &&Fence<'_>| stands(f) == Some((f.epoch, f.expected));
    Ok(lost(sorted.iter().filter(|f| !ours(f))))
}

fn lost<'a>(fences: impl Iterator<Item = &'a Fence<'a>>) -> Passed {
    Passed::Lost(fences.map(|f| (f.topic.to_owned(), f.partition)).collect())
}

/// Takes a partition over: a new epoch, the position to read from (F4), and what comes before it (F10).
///
/// # Errors
/// As [`pass`]. Where the last owner has left a transaction open, that one is ended, so that the next
/// attempt succeeds.
pub async fn take_over(
    session: &mut Session,
    group: &str,
    (topic, partition): (&str, i32),
    owner: &str,
    mapping: &str,
) -> Result<TakenOver, Error> {
    const TAKE: &str = "\
        insert into leafcutter.offsets as o (consumer_group, topic, partition, epoch, owner, mapping) \
        values ($1, $2, $3, 1, $4, $5) \
        on conflict (consumer_group, topic, partition) do update \
        set epoch = o.epoch + 1, owner = excluded.owner, updated_at = now() \
        returning epoch, next_offset, last_record";
    let taken = session
        .query_one(TAKE, &[&group, &topic, &partition, &owner, &mapping])
        .await;
    match taken {
        Ok(row) => Ok(TakenOver {
            position: Position {
                epoch: row.get(0),
                next: row.get(1),
            },
            last: row.get(2),
        }),
        Err(error) => {
            if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
                evict(session, group, (topic, partition), owner).await?;
            }
            Err(error)
        }
    }
}

/// Ends the transactions that a partition's last owner has left open, so that the next attempt to
/// take it over succeeds. One that froze between two statements is ended by its own time-out; one
/// that froze in the middle of a COPY, or whose host is gone, is not: there PostgreSQL waits for
/// data without any limit. An owner that only was slow loses a batch that the fence takes from it
/// anyway.
async fn evict(
    session: &mut Session,
    group: &str,
    (topic, partition): (&str, i32),
    new_owner: &str,
) -> Result<(), Error> {
    const EVICT: &str = "\
        select o.owner, count(pg_terminate_backend(a.pid)) \
        from leafcutter.offsets o join pg_stat_activity a \
        on a.application_name like 'leafcutter %' \
        and right(a.application_name, length(o.owner) + 1) = ' ' || o.owner \
        where o.consumer_group = $1 and o.topic = $2 and o.partition = $3 and o.owner <> $4 \
        and a.datname = current_database() and a.usename = current_user \
        and a.wait_event = 'ClientRead' and a.xact_start is not null \
        and a.state_change < clock_timestamp() - interval '10 s' \
        group by o.owner";
    let ended = session
        .query(EVICT, &[&group, &topic, &partition, &new_owner])
        .await?;
    for row in ended {
        let (owner, sessions): (&str, i64) = (row.get(0), row.get(1));
        tracing::warn!(
            owner,
            sessions,
            topic,
            partition,
            "ended transactions that a former owner left open"
        );
    }
    Ok(())
}

/// What a batch adds to a partition's counters.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// The outcomes of its records.
    pub outcomes: Counts,
    /// Events, not only snapshot rows, were among them.
    pub events: bool,
    /// Deletes were among them, or documents that a filter leaves out.
    pub deletes: bool,
    /// The newest source version among them.
    pub source_time: i64,
}

/// What adds to the counters of these partitions (topic, number), as the last statement of their transaction.
pub fn count(group: &str, counted: &BTreeMap<(&str, i32), Counted>) -> Bound {
    let outcomes = Outcome::ALL.map(Outcome::column);
    let adds = outcomes.map(|column| format!("{column} = o.{column} + n.{column}"));
    let arrays = (7..).take(outcomes.len());
    let arrays: Vec<String> = arrays
        .map(|number| format!("${number}::bigint[]"))
        .collect();
    let sql = format!(
        "update leafcutter.offsets o set {}, has_events = o.has_events or n.has_events, \
         has_tombstones = o.has_tombstones or n.has_tombstones, \
         source_time = greatest(o.source_time, n.source_time) \
         from unnest($2::text[], $3::int[], $4::boolean[], $5::boolean[], $6::bigint[], {}) \
         as n(topic, partition, has_events, has_tombstones, source_time, {}) \
         where o.consumer_group = $1 and o.topic = n.topic and o.partition = n.partition",
        adds.join(", "),
        arrays.join(", "),
        outcomes.join(", "),
    );
    let topics: Vec<String> = counted.keys().map(|key| key.0.to_owned()).collect();
    let partitions: Vec<i32> = counted.keys().map(|key| key.1).collect();
    let events: Vec<bool> = counted.values().map(|counted| counted.events).collect();
    let deletes: Vec<bool> = counted.values().map(|counted| counted.deletes).collect();
    let times: Vec<i64> = counted
        .values()
        .map(|counted| counted.source_time)
        .collect();
    let mut parameters: Vec<Box<dyn ToSql + Sync + Send>> = vec![
        Box::new(group.to_owned()),
        Box::new(topics),
        Box::new(partitions),
        Box::new(events),
        Box::new(deletes),
        Box::new(times),
    ];
    for outcome in Outcome::ALL {
        let numbers = counted.values().map(|counted| counted.outcomes.of(outcome));
        parameters.push(Box::new(numbers.collect::<Vec<i64>>()));
    }
    Bound { sql, parameters }
}

/// Epoch and position of every partition of a group.
///
/// # Errors
/// As [`pass`].
pub async fn positions(
    session: &mut Session,
    group: &str,
) -> Result<BTreeMap<(String, i32), Position>, Error> {
    let sql = "select topic, partition, epoch, next_offset from leafcutter.offsets \
               where consumer_group = $1";
    let rows = session.query(sql, &[&group]).await?;
    let position = |row: &Row| Position {
        epoch: row.get(2),
        next: row.get(3),
    };
    Ok(rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), position(row)))
        .collect())
}

/// Whether a group has a position in any topic. From the first layout on.
///
/// # Errors
/// As [`pass`].
pub async fn any(session: &mut Session, group: &str) -> Result<bool, Error> {
    let sql = "select exists (select from leafcutter.offsets where consumer_group = $1)";
    Ok(session.query_one(sql, &[&group]).await?.get(0))
}

/// How far a group has applied: the next offset of each partition of each topic.
///
/// # Errors
/// As [`pass`].
pub async fn progress(session: &mut Session, group: &str) -> Result<Progress, Error> {
    let mut progress = Progress::new();
    for ((topic, partition), position) in positions(session, group).await? {
        let partitions = progress.entry(topic).or_default();
        partitions.insert(partition, position.next);
    }
    Ok(progress)
}

/// One partition of a group, as `leafcutter status` shows it.
#[derive(Debug, Clone, Default)]
pub struct OffsetRow {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The offset of the record that is to be applied next.
    pub next: i64,
    /// The newest source version applied.
    pub source_time: i64,
    /// What became of its records.
    pub outcomes: Counts,
}

/// All partitions of a group.
///
/// # Errors
/// As [`pass`].
pub async fn rows(session: &mut Session, group: &str) -> Result<Vec<OffsetRow>, Error> {
    let columns = Outcome::ALL.map(Outcome::column).join(", ");
    let sql = format!(
        "select topic, partition, next_offset, source_time, {columns} from leafcutter.offsets \
         where consumer_group = $1 order by topic, partition"
    );
    let rows = session.query(&sql, &[&group]).await?;
    let read = |row: &Row| {
        let mut outcomes = Counts::default();
        for outcome in Outcome::ALL {
            outcomes.add_many(outcome, row.get(outcome.column()));
        }
        OffsetRow {
            topic: row.get(0),
            partition: row.get(1),
            next: row.get(2),
            source_time: row.get(3),
            outcomes,
        }
    };
    Ok(rows.iter().map(read).collect())
}

/// The groups that ever applied anything here.
///
/// # Errors
/// As [`pass`].
pub async fn groups(session: &mut Session) -> Result<Vec<String>, Error> {
    let sql = "select distinct consumer_group from leafcutter.offsets order by 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The topics that anything was ever applied from.
///
/// # Errors
/// As [`pass`].
pub async fn topics(session: &mut Session) -> Result<Vec<String>, Error> {
    let sql = "select distinct topic from leafcutter.offsets order by 1";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// When a group moved last, by topic: milliseconds since 1970.
///
/// # Errors
/// As [`pass`].
pub async fn moved_at(session: &mut Session, group: &str) -> Result<BTreeMap<String, i64>, Error> {
    const MOVED: &str = "\
        select topic, (extract(epoch from max(updated_at)) * 1000)::bigint \
        from leafcutter.offsets where consumer_group = $1 group by topic";
    let rows = session.query(MOVED, &[&group]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Locks the positions in these topics; gives the highest epoch.
///
/// # Errors
/// As [`pass`].
pub(crate) async fn lock_epochs(
    session: &mut Session,
    group: &str,
    topics: &[String],
) -> Result<i64, Error> {
    // In the order in which batches lock them.
    const LOCK: &str = "\
        select coalesce(max(epoch), 0) from (select epoch from leafcutter.offsets \
        where consumer_group = $1 and topic = any($2) order by topic, partition for update) o";
    Ok(session.query_one(LOCK, &[&group, &topics]).await?.get(0))
}

/// Takes these topics from whoever owned them under this epoch, or a lower one.
///
/// # Errors
/// As [`pass`].
pub(crate) async fn fence(
    session: &mut Session,
    group: &str,
    topics: &[String],
    above: i64,
) -> Result<(), Error> {
    const FENCE: &str = "\
        update leafcutter.offsets set epoch = epoch + $3 + 1, owner = null, updated_at = now() \
        where consumer_group = $1 and topic = any($2)";
    session
        .execute(FENCE, &[&group, &topics, &above])
        .await
        .map(drop)
}

/// Rewinds partitions, each to where it is to be read from again, counters too, and takes them from their owners.
/// What is before that counts as older than what is there. Gives the epochs, under which no consumer works yet.
/// Within a transaction of the caller's.
///
/// # Errors
/// As [`pass`].
pub async fn rewind(
    session: &mut Session,
    group: &str,
    starts: &BTreeMap<(&str, i32), i64>,
) -> Result<BTreeMap<(String, i32), i64>, Error> {
    // In the order in which batches lock them.
    const LOCK: &str = "\
        select 1 from leafcutter.offsets where consumer_group = $1 \
        and (topic, partition) in (select * from unnest($2::text[], $3::int[])) \
        order by topic, partition for update";
    let counters = Outcome::ALL.map(|outcome| {
        let passed_by = if outcome == Outcome::Stale {
            "n.start"
        } else {
            "0"
        };
        format!("{} = {passed_by}", outcome.column())
    });
    let rewind = format!(
        "update leafcutter.offsets o set next_offset = n.start, last_record = null, epoch = o.epoch + 1, \
         owner = null, source_time = 0, {}, updated_at = now() \
         from unnest($2::text[], $3::int[], $4::bigint[]) as n(topic, partition, start) \
         where o.consumer_group = $1 and o.topic = n.topic and o.partition = n.partition \
         returning o.topic, o.partition, o.epoch",
        counters.join(", ")
    );
    let (topics, partitions): (Vec<&str>, Vec<i32>) = starts.keys().copied().unzip();
    let starts: Vec<i64> = starts.values().copied().collect();
    session.query(LOCK, &[&group, &topics, &partitions]).await?;
    let rows = session
        .query(&rewind, &[&group, &topics, &partitions, &starts])
        .await?;
    Ok(rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect())
}
