//! Child tables with a further unique key: rows hand its values to each other, within a document and
//! between documents, in any order.

use crate::world::{Made, World, delete_by, put};
use bson::{Bson, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const ALBUMS: &str = "
version: 1
database: shop
collections:
  albums:
    table: albums
    key: id
    columns: { id: { path: _id, type: integer }, name: text }
    children:
      - table: images
        from: images
        key: [album, position]
        unique: [[image]]
        columns:
          album: { parent: id }
          position: { position: true, type: integer }
          image: { path: n, type: integer, required: true }
        children:
          - table: tags
            from: tags
            key: [album, position, n]
            columns:
              album: { parent: album }
              position: { parent: position }
              n: { position: true, type: integer }
              tag: { path: ., type: text }
";

fn album(version: i64, id: i32, images: &[i32]) -> Made {
    let images: Vec<Bson> = images
        .iter()
        .map(|image| doc! { "n": image, "tags": [format!("t{image}")] }.into())
        .collect();
    let album = doc! { "_id": id, "name": version.to_string(), "images": images };
    put("albums", version, album)
}

const STATE: &str = "select i.album, string_agg(i.image || g.tag, ',' order by i.position) as image_tag \
                     from images i join tags g using (album, position) group by 1 order by 1";

/// Images as `STATE` shows them.
fn show(images: &[i32]) -> String {
    let images = images.iter().map(|n| format!("{n}t{n}"));
    images.collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn an_array_is_reordered() {
    for (before, after) in [
        (vec![1, 2], vec![2, 1]),
        (vec![1, 2, 3], vec![3, 1, 2]),
        (vec![1, 2, 3], vec![0, 1, 2, 3]),
        (vec![1, 2, 3], vec![2, 3]),
        (vec![1, 2, 3], vec![3, 4, 1]),
    ] {
        let mut world = World::with(ALBUMS).await;
        let steps = [album(1, 1, &before), album(2, 1, &after)];
        assert_eq!(world.each(&steps).await, [Outcome::Applied; 2]);
        let right = rows![{ album: 1, image_tag: (show(&after)) }];
        assert_eq!(world.rows(STATE).await, right);
        assert_eq!(world.count("leafcutter.parked").await, 0);
    }
}

/// Whether the records come in one batch or in two, and whichever comes first.
#[tokio::test]
async fn documents_exchange_values_and_move_them() {
    for (one, other) in [
        (vec![3, 2], vec![1, 4]),
        (vec![2], vec![1, 3, 4]),
        (vec![2], vec![3, 4, 1]),
        (vec![3, 4], vec![1, 2]),
    ] {
        for order in [[0, 1], [1, 0]] {
            for batch in [1, 2] {
                let mut world = World::with(ALBUMS).await;
                world
                    .apply(&[album(1, 1, &[1, 2]), album(1, 2, &[3, 4])])
                    .await
                    .unwrap();
                let records = [album(2, 1, &one), album(2, 2, &other)];
                let records = order.map(|n: usize| records[n].clone());
                for batch in records.chunks(batch) {
                    world.apply(batch).await.unwrap();
                }
                while world.settle().await.placed > 0 {}
                let right = rows![
                    { album: 1, image_tag: (show(&one)) },
                    { album: 2, image_tag: (show(&other)) },
                ];
                assert_eq!(world.rows(STATE).await, right, "{order:?} {batch}");
                let left = "select (select count(*) from leafcutter.parked) as parked, \
                            (select count(*) from leafcutter.dead_letters) as dead_letters, \
                            (select string_agg(name, ',') from albums) as names";
                assert_eq!(
                    world.rows(left).await,
                    rows![{ parked: 0, dead_letters: 0, names: "2,2" }],
                    "{order:?} {batch}"
                );
            }
        }
    }
}

/// A value that stays taken: the document is there without the row, and its dead letter says why.
#[tokio::test]
async fn a_value_that_is_taken_is_waited_for() {
    let mut world = World::with(ALBUMS).await;
    let records = [album(1, 1, &[1, 2]), album(2, 2, &[2, 5])];
    assert_eq!(world.each(&records).await, [Outcome::Applied; 2]);
    assert_eq!(
        world.rows(STATE).await,
        rows![
            { album: 1, image_tag: "1t1,2t2" },
            { album: 2, image_tag: "5t5" },
        ]
    );
    world.settle_at_once().await;
    let letters = "select table_name, reason, message from leafcutter.dead_letters \
                   where state = 'open'";
    let letter = rows![{
        table_name: "albums",
        reason: "unique",
        message: "another document has the same value in the unique column `images.image`",
    }];
    assert_eq!(world.rows(letters).await, letter);
    world.each(&[delete_by("albums", 3, 1)]).await;
    world.settle_at_once().await;
    assert_eq!(
        world.rows(STATE).await,
        rows![{ album: 2, image_tag: "2t2,5t5" }]
    );
    assert_eq!(world.rows(letters).await, rows![]);
}
