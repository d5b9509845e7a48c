//! What waits for long does not keep others waiting: neither rows that many others point to, nor
//! documents whose parent never comes, nor a document that the database refuses.

use crate::world::{Consumer, Made, Table, World, at, child, delete, parent};
use std::time::{Duration, Instant};

async fn family() -> (World, Consumer) {
    let world = World::new().await;
    let mut consumer = world.consumer("c1");
    for table in Table::ALL {
        consumer.take_over(table, 0).await;
    }
    (world, consumer)
}

async fn apply(consumer: &mut Consumer, records: impl IntoIterator<Item = Made>) {
    consumer.apply(&at(0, records)).await.unwrap();
}

/// More rows than one round looks at.
const MANY: i64 = 700;

#[tokio::test]
async fn many_held_rows_do_not_keep_one_from_going() {
    let (_world, mut consumer) = family().await;
    apply(&mut consumer, (0..=MANY).map(|id| parent(1, id))).await;
    apply(&mut consumer, (0..=MANY).map(|id| child(2, id, id))).await;
    apply(
        &mut consumer,
        (0..=MANY).map(|id| delete(Table::Parents, 3, id)),
    )
    .await;
    apply(&mut consumer, [delete(Table::Children, 4, MANY)]).await;
    let mut let_go = 0;
    for _ in 0..3 {
        let_go += consumer.settle_held().await.unwrap();
    }
    assert_eq!(let_go, 1);
}

#[tokio::test]
async fn many_waiting_documents_do_not_keep_one_from_being_placed() {
    let (world, mut consumer) = family().await;
    apply(&mut consumer, (0..=MANY).map(|id| child(2, id, id))).await;
    // As if the parent's batch had not seen its child, and the others had been tried since.
    world
        .execute(&format!(
            "insert into parents (id, lc_version) values ({MANY}, 1); \
             update leafcutter.parked set tried_at = now() - \
             case when row_key = int8send({MANY}) then interval '1 h' else interval '1 s' end"
        ))
        .await;
    assert_eq!(consumer.settle_parked().await.unwrap().placed, 1);
}

/// S1h: all who wait are looked for, however long they have waited, and it costs little.
#[tokio::test]
async fn many_orphans_do_not_keep_one_from_being_found() {
    const ORPHANS: i64 = 10_000;
    let (world, mut consumer) = family().await;
    apply(&mut consumer, [child(2, 0, 0)]).await;
    world
        .execute(&format!(
            "insert into leafcutter.parked (table_name, row_key, version, as_of, reason, wait_column, \
             wait_table, wait_key, consumer_group, topic, partition, \"offset\", record_key, record_value) \
             select table_name, int8send(id), version, as_of, reason, wait_column, wait_table, \
             int8send(id), consumer_group, topic, partition, \"offset\", record_key, record_value \
             from leafcutter.parked, generate_series(1, {ORPHANS}) id; \
             update leafcutter.parked set state = 'orphan', parked_at = now() - interval '1 h'; \
             analyze leafcutter.parked"
        ))
        .await;
    let begun = Instant::now();
    assert_eq!(consumer.settle_parked().await.unwrap().placed, 0);
    println!("a round beside {ORPHANS} orphans: {:?}", begun.elapsed());
    // As if the parent's batch had not seen its child.
    world
        .execute("insert into parents (id, lc_version) values (0, 1)")
        .await;
    let begun = Instant::now();
    while consumer.settle_parked().await.unwrap().placed == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    println!("found after {:?}", begun.elapsed());
    assert_eq!(world.text("select id from children").await, "0");
}

#[tokio::test]
async fn held_rows_that_point_to_each_other_go_one_after_the_other() {
    let (_world, mut consumer) = family().await;
    let node = |version, id, parent| {
        let fields = bson::doc! { "note": version, "parent_id": parent };
        crate::world::put(Table::Nodes, version, id, fields)
    };
    let chain = [
        node(1, 1, None::<i64>),
        node(1, 2, Some(1)),
        node(1, 3, Some(2)),
    ];
    apply(&mut consumer, chain).await;
    apply(&mut consumer, [delete(Table::Nodes, 2, 1)]).await;
    apply(&mut consumer, [delete(Table::Nodes, 3, 2)]).await;
    // 3 holds 2, and 2 holds 1, though it is held itself.
    assert_eq!(consumer.settle_held().await.unwrap(), 0);
    apply(&mut consumer, [delete(Table::Nodes, 4, 3)]).await;
    assert_eq!(consumer.settle_held().await.unwrap(), 2);
}
