//! Positions and ownership of partitions (`PROTOCOL.md` §8).
//!
//! The position lives in PostgreSQL, so it moves with the rows. The first statement of every batch
//! moves it and checks that the partition is still ours and stands where we think. When it does
//! not, the row is read: either our own commit succeeded and its answer was lost, or somebody else
//! owns the partition.

use super::{ApplyError, session::Session};
use crate::model::Model;
use tokio_postgres::error::SqlState;

/// One partition's part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The collection.
    pub collection: usize,
    /// The partition.
    pub partition: i32,
    /// The epoch under which it was taken over.
    pub epoch: i64,
    /// The offset of the batch's first record.
    pub expected: i64,
    /// One behind the batch's last record.
    pub next: i64,
}

/// Where a partition stands in PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The epoch under which it was last taken over.
    pub epoch: i64,
    /// The offset of the next record to be applied.
    pub next: i64,
}

/// What passing the fence tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The batch may be applied.
    Open {
        /// Deletes were applied from these partitions before, by whatever group: a fresh one begins
        /// on the tombstones of the others.
        tombstones: bool,
        /// Events, not only snapshot rows, were applied from these partitions before.
        events: bool,
    },
    /// This very batch was committed before; its answer was lost.
    Committed,
}

const MOVE: &str = "\
    update leafcutter.offsets o set next_offset = n.next, updated_at = now() \
    from unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[]) \
    as n(topic, partition, epoch, expected, next) \
    where o.consumer_group = $1 and o.topic = n.topic and o.partition = n.partition \
    and o.epoch = n.epoch and o.next_offset = n.expected \
    returning exists (select 1 from leafcutter.offsets a where a.topic = o.topic \
    and a.partition = o.partition and a.has_tombstones), o.has_events, o.topic, o.partition";

const LOOK: &str = "\
    select topic, partition, epoch, next_offset from leafcutter.offsets \
    where consumer_group = $1 and (topic, partition) in \
    (select * from unnest($2::text[], $3::int[]))";

/// Moves the positions of all partitions of a batch, or tells why not.
///
/// # Errors
/// [`ApplyError::Fenced`] with the partitions that are not ours any more.
pub async fn pass(
    session: &mut Session,
    model: &Model,
    group: &str,
    fences: &[Fence],
) -> Result<Passed, ApplyError> {
    let mut sorted = fences.to_vec();
    sorted.sort_by_key(|f| (model.collections[f.collection].topic.clone(), f.partition));
    let topics: Vec<&str> = sorted
        .iter()
        .map(|f| model.collections[f.collection].topic.as_str())
        .collect();
    let partitions: Vec<i32> = sorted.iter().map(|f| f.partition).collect();
    let epochs: Vec<i64> = sorted.iter().map(|f| f.epoch).collect();
    let expected: Vec<i64> = sorted.iter().map(|f| f.expected).collect();
    let next: Vec<i64> = sorted.iter().map(|f| f.next).collect();
    let statement = session.prepared(MOVE).await?;
    let moved = session
        .client()
        .query(
            &statement,
            &[&group, &topics, &partitions, &epochs, &expected, &next],
        )
        .await?;
    if moved.len() == fences.len() {
        return Ok(Passed::Open {
            tombstones: moved.iter().any(|row| row.get(0)),
            events: moved.iter().any(|row| row.get(1)),
        });
    }
    if !moved.is_empty() {
        // One transaction moves all of them, so the batch was not committed before. What was moved
        // here is taken back with this transaction.
        let is_moved = |fence: &&Fence| {
            moved.iter().any(|row| {
                row.get::<_, &str>(2) == model.collections[fence.collection].topic
                    && row.get::<_, i32>(3) == fence.partition
            })
        };
        return Err(fenced(sorted.iter().filter(|fence| !is_moved(fence))));
    }
    let statement = session.prepared(LOOK).await?;
    let rows = session
        .client()
        .query(&statement, &[&group, &topics, &partitions])
        .await?;
    let stands = |fence: &Fence| {
        rows.iter()
            .find(|row| {
                row.get::<_, &str>(0) == model.collections[fence.collection].topic
                    && row.get::<_, i32>(1) == fence.partition
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
    Err(fenced(
        sorted
            .iter()
            .filter(|f| stands(f) != Some((f.epoch, f.expected))),
    ))
}

fn fenced<'a>(lost: impl Iterator<Item = &'a Fence>) -> ApplyError {
    ApplyError::Fenced(lost.map(|f| (f.collection, f.partition)).collect())
}

/// Takes a partition over: a new epoch, and the position to read from (F4).
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn take_over(
    session: &mut Session,
    group: &str,
    topic: &str,
    partition: i32,
    owner: &str,
    mapping: &str,
) -> Result<(i64, i64), ApplyError> {
    const TAKE: &str = "\
        insert into leafcutter.offsets as o (consumer_group, topic, partition, epoch, owner, mapping) \
        values ($1, $2, $3, 1, $4, $5) \
        on conflict (consumer_group, topic, partition) do update \
        set epoch = o.epoch + 1, owner = excluded.owner, updated_at = now() \
        returning epoch, next_offset";
    let statement = session.prepared(TAKE).await?;
    let taken = session
        .client()
        .query_one(&statement, &[&group, &topic, &partition, &owner, &mapping])
        .await;
    match taken {
        Ok(row) => Ok((row.get(0), row.get(1))),
        Err(error) => {
            if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
                evict(session, group, topic, partition, owner).await?;
            }
            Err(error.into())
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
    topic: &str,
    partition: i32,
    heir: &str,
) -> Result<(), ApplyError> {
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
    let statement = session.prepared(EVICT).await?;
    let ended = session
        .client()
        .query_opt(&statement, &[&group, &topic, &partition, &heir])
        .await?;
    if let Some(row) = ended {
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

/// Topic, partition, epoch and position of every partition of a group.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn standing(
    session: &mut Session,
    group: &str,
) -> Result<Vec<(String, i32, Standing)>, ApplyError> {
    let statement = session
        .prepared(
            "select topic, partition, epoch, next_offset from leafcutter.offsets \
             where consumer_group = $1",
        )
        .await?;
    let rows = session.client().query(&statement, &[&group]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let standing = Standing {
                epoch: row.get(2),
                next: row.get(3),
            };
            (row.get(0), row.get(1), standing)
        })
        .collect())
}
