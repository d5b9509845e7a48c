//! What waits for long does not keep others waiting: neither rows that many others point to, nor
//! documents whose parent never comes, nor a document that the database refuses.

use crate::world::{Consumer, Made, Table, World, at, child, delete, parent};

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
    let (world, mut consumer) = family().await;
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
    world.end().await;
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
    world.end().await;
}

#[tokio::test]
async fn held_rows_that_point_to_each_other_go_one_after_the_other() {
    let (world, mut consumer) = family().await;
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
    world.end().await;
}
