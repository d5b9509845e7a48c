//! The same for child rows, which wait alone: their document, their parent and the settling task at once.

use super::{apply, applying, family, stopping_parent};
use crate::{
    pause::{Pause, STOP},
    world::{Consumer, Made, Table, parent, put},
};
use bson::doc;
use leafcutter_sink::change::Outcome;

fn club(version: i64, note: i64, members: &[i64]) -> Made {
    put(
        Table::Clubs,
        version,
        20,
        doc! { "note": note, "members": members },
    )
}

const MEMBERS: &str = "select c.lc_version, m.n, m.parent_id from clubs c left join members m \
                       on m.id = c.id where c.id = 20 order by 2";

/// S1 for child rows: their parent is not committed when their document is written.
#[tokio::test]
async fn child_row_and_parent_that_did_not_see_each_other() {
    let (world, one, mut other) = family().await;
    other.take_over(Table::Clubs, 0).await;
    let pause = Pause::new(&world).await;
    let placing = pause
        .stopped(&world, applying(one, stopping_parent(2, 1)))
        .await;
    // The look does not see the parent, the constraint waits for it: attempted again without it,
    // the row would be there.
    let writing = pause
        .beside(&world, async move {
            make_careful_of_clubs(&mut other).await;
            let outcome = apply(&mut other, club(3, 3, &[1, 2])).await;
            (outcome, other)
        })
        .await;
    pause.end().await;
    assert_eq!(placing.await.unwrap().0, Outcome::Applied);
    let (written, mut other) = writing.await.unwrap();
    assert_eq!(written, Outcome::Applied, "the document does not wait");
    other.settle(&world).await.unwrap();
    assert_eq!(world.text(MEMBERS).await, "3|0|1");
    let parked = "select version, incomplete, wait_column from leafcutter.parked where row_key = int8send(20)";
    assert_eq!(world.text(parked).await, "3|t|members.parent_id");
}

/// Makes a consumer look for the parents of child rows before it writes them.
async fn make_careful_of_clubs(consumer: &mut Consumer) {
    let dangling = doc! { "note": 1, "members": [99] };
    let dangling = put(Table::Clubs, 1, 21, dangling);
    assert_eq!(apply(consumer, dangling).await, Outcome::Applied);
}

/// A newer document while the settling task adds a row to the older one.
#[tokio::test]
async fn document_replaced_while_a_child_row_is_added() {
    for (version, members, rows) in [(5, vec![2], "5|0|2"), (3, vec![1], "3|0|1")] {
        let (world, mut one, mut other) = family().await;
        other.take_over(Table::Clubs, 0).await;
        apply(&mut one, parent(1, 2)).await;
        assert_eq!(
            apply(&mut other, club(3, STOP, &[1])).await,
            Outcome::Applied
        );
        // As if the parent's batch had not seen the document.
        world
            .execute("update leafcutter.parked set wait_key = '\\x00', tried_at = '-infinity'")
            .await;
        apply(&mut one, parent(2, 1)).await;
        let mut settler = world.consumer("settler");
        let pause = Pause::new(&world).await;
        let settling = pause
            .stopped(&world, async move { settler.settle_parked().await })
            .await;
        let replacing = pause
            .beside(&world, applying(other, club(version, STOP, &members)))
            .await;
        pause.end().await;
        assert_eq!(settling.await.unwrap().unwrap().placed, 1);
        let (_, mut other) = replacing.await.unwrap();
        other.settle(&world).await.unwrap();
        assert_eq!(world.text(MEMBERS).await, rows);
        assert_eq!(
            world.text("select count(*) from leafcutter.parked").await,
            "0"
        );
    }
}
