//! Positions while a collection is read again: what Kafka has no more is passed by, and deletes are announced
//! that are in no record.

use crate::{change::Outcome, session::Session};
use tokio_postgres::Error;

/// Notes that deletes may come to all partitions of a topic from elsewhere than from its records, so that
/// batches look for tombstones (G10). It waits for the batches that are under way.
///
/// # Errors
/// As [`super::pass`].
pub async fn expect_deletes(
    session: &mut Session,
    group: &str,
    (topic, partitions): (&str, i32),
    mapping: &str,
) -> Result<(), Error> {
    // In the order in which batches lock them.
    const NOTE: &str = "\
        insert into leafcutter.offsets as o (consumer_group, topic, partition, mapping, has_tombstones) \
        select $1, $2, p, $4, true from generate_series(0, $3 - 1) as p order by p \
        on conflict (consumer_group, topic, partition) do update set has_tombstones = true \
        where not o.has_tombstones";
    session
        .execute(NOTE, &[&group, &topic, &partitions, &mapping])
        .await
        .map(drop)
}

/// Passes by the records of a topic that Kafka has no more: each partition goes on at its first record that
/// is there, under a new epoch. They count as older than what is there, which the caller sees to. Gives how
/// many were passed by.
///
/// # Errors
/// As [`super::pass`].
pub async fn pass_by(
    session: &mut Session,
    group: &str,
    topic: &str,
    firsts: &[(i32, i64)],
) -> Result<i64, Error> {
    let stale = Outcome::Stale.column();
    let sql = format!(
        "with expired as (select o.partition, n.first, n.first - o.next_offset as records \
         from leafcutter.offsets o join unnest($3::int[], $4::bigint[]) as n(partition, first) \
         on n.partition = o.partition where o.consumer_group = $1 and o.topic = $2 \
         and o.next_offset < n.first order by o.partition for update of o) \
         update leafcutter.offsets o set next_offset = e.first, last_record = null, epoch = o.epoch + 1, owner = null, \
         {stale} = o.{stale} + e.records, updated_at = now() from expired e \
         where o.consumer_group = $1 and o.topic = $2 and o.partition = e.partition \
         returning e.records"
    );
    let (partitions, firsts): (Vec<i32>, Vec<i64>) = firsts.iter().copied().unzip();
    let rows = session
        .query(&sql, &[&group, &topic, &partitions, &firsts])
        .await?;
    Ok(rows.iter().map(|row| row.get::<_, i64>(0)).sum())
}
