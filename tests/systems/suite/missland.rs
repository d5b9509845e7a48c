//! Missland: rows with the numbers that documents bring or are given, and links that follow them.

use bson::{Bson, Document, doc};
use leafcutter_harness::{failure::Result, source::Writer};
use leafcutter_systems::{
    migration::Migration,
    missland::{
        FIRST_NUMBER, LATE, MISSLAND, collection, collection_id, created, post, post_id, post_text,
        tryon, tryon_id,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn three_collections_arrive_while_they_change() -> Result<()> {
    let mut migration = Migration::begin(MISSLAND).await?;
    change(&migration.writer, 0).await?;
    migration.hurry().await?;
    migration.until_applied().await?;
    change(&migration.writer, 1).await?;
    mend(&migration.writer).await?;
    posts_go(&mut migration).await?;
    migration.finish().await
}

/// The changes of one round, each to documents of its own.
async fn change(writer: &Writer, round: u32) -> Result<()> {
    born(writer, 1_000 + 100 * round).await?;
    posts(writer, round).await?;
    collections(writer, round).await?;
    tryons(writer, round).await
}

/// Documents of this run: a collection and a try-on before the posts that they are of.
async fn born(writer: &Writer, new: u32) -> Result<()> {
    let mut of_new = collection(new);
    let ids = [new, new + 1, 3, new].map(post_text);
    of_new.insert("post_ids", ids.to_vec());
    writer.insert("collections", of_new).await?;
    for n in [new, new + 1] {
        let mut of_new = tryon(n);
        of_new.insert("post_id", post_text(n));
        writer.insert("tryons", of_new).await?;
    }
    let mut brings = post(new + 1);
    brings.insert("legacy_pg_id", i64::from(5_000 + new));
    writer.insert("posts", brings).await?;
    let mut without = post(new);
    without.remove("legacy_pg_id");
    writer.insert("posts", without).await
}

async fn posts(writer: &Writer, round: u32) -> Result<()> {
    let base = 10 * round;
    let colors = doc! { "$set": { "colors": ["red", "green", "blue"], "width": 700.0 } };
    for change in [
        colors,
        doc! { "$pull": { "colors": "green" } },
        doc! { "$push": { "colors": "red" } },
        doc! { "$push": { "colors": "gold" }, "$unset": { "image_url": "" } },
    ] {
        writer.update("posts", post_id(base + 2), change).await?;
    }
    let none = doc! { "$set": { "colors": Bson::Null, "title": format!("none {round}") } };
    writer.update("posts", post_id(base + 3), none).await?;
    let mut anew = post(base + 504);
    anew.insert("_id", post_id(base + 4));
    anew.insert("legacy_pg_id", i64::from(base + 5));
    writer.replace("posts", anew).await?;
    // Nothing points to these: one goes, two go and come back as others.
    writer.delete("posts", post_id(base + 110)).await?;
    for n in [base + 111, base + 112] {
        let gone = writer.delete("posts", post_id(n)).await?;
        let back = as_before(post(n + 500), &gone);
        writer.insert("posts", back).await?;
    }
    Ok(())
}

/// A document under the `_id` and with the number of one that is gone.
fn as_before(mut document: Document, gone: &Document) -> Document {
    document.remove("legacy_pg_id");
    for name in ["_id", "legacy_pg_id"] {
        if let Some(value) = gone.get(name) {
            document.insert(name, value);
        }
    }
    document
}

async fn collections(writer: &Writer, round: u32) -> Result<()> {
    let base = 15 * round;
    let n = |n: u32| collection_id(base + n);
    let update = async |id, change: Document| writer.update("collections", id, change).await;
    // One more, twice; one less; in another order; none, null, missing, whole anew.
    let ids = [5, 6, 7].map(post_text).to_vec();
    for change in [
        doc! { "$set": { "post_ids": ids } },
        doc! { "$push": { "post_ids": { "$each": [post_text(8), post_text(8)], "$position": 0 } } },
        doc! { "$pull": { "post_ids": post_text(6) } },
        doc! { "$set": { "post_ids.0": post_id(9) } },
    ] {
        update(n(3), change).await?;
    }
    let ids = doc! { "$set": { "post_ids": [post_text(10)], "created_at": created(500 + round) } };
    update(n(4), ids).await?;
    update(n(4), doc! { "$set": { "post_ids": [] } }).await?;
    update(n(5), doc! { "$set": { "post_ids": [post_text(11)] } }).await?;
    update(n(5), doc! { "$set": { "post_ids": Bson::Null } }).await?;
    update(
        n(6),
        doc! { "$set": { "post_ids": [post_text(12), post_text(13)] } },
    )
    .await?;
    update(n(6), doc! { "$unset": { "post_ids": "" } }).await?;
    let mut anew = collection(base + 500);
    anew.insert("_id", n(8));
    anew.insert("legacy_pg_id", i64::from(9 + base));
    writer.replace("collections", anew).await?;
    // A name passes from one to another of the same user.
    let handed = format!("handed {round}");
    let user = 900 + i64::from(round);
    update(n(9), doc! { "$set": { "user_id": user, "name": &handed } }).await?;
    update(n(9), doc! { "$set": { "name": "free" } }).await?;
    update(n(10), doc! { "$set": { "user_id": user, "name": &handed } }).await?;
    // It gets the number of another time, with all of its links.
    let number = doc! { "$set": { "legacy_pg_id": 8_000 + i64::from(round), "post_ids": [post_text(14), post_text(15)] } };
    update(n(11), number).await?;
    // Gone; and back as another.
    writer.delete("collections", n(12)).await?;
    let gone = writer.delete("collections", n(13)).await?;
    let mut back = as_before(collection(base + 600), &gone);
    back.extend(doc! { "user_id": gone.get("user_id"), "post_ids": [post_text(16)] });
    writer.insert("collections", back).await
}

async fn tryons(writer: &Writer, round: u32) -> Result<()> {
    let base = 12 * round;
    let n = |n: u32| tryon_id(base + n);
    let update = async |id, change: Document| writer.update("tryons", id, change).await;
    // To another post, and to one of this run.
    for to in [134, 1_000 + 100 * round] {
        let moved = doc! { "$set": { "post_id": post_text(to), "user_id": 700 } };
        update(n(3), moved).await?;
    }
    // What one had of a post another has now, and a new one what that one had.
    let user = 800 + i64::from(round);
    let of = |post: u32| doc! { "$set": { "user_id": user, "post_id": post_text(post) } };
    update(n(4), of(135)).await?;
    update(n(5), of(136)).await?;
    update(n(4), of(137)).await?;
    update(n(5), of(135)).await?;
    let mut third = tryon(2_000 + round);
    third.extend(doc! { "user_id": user, "post_id": post_id(136) });
    writer.insert("tryons", third).await?;
    // The number of another time.
    let number = doc! { "$set": { "legacy_pg_id": f64::from(7_000 + round) } };
    update(n(7), number).await?;
    writer.delete("tryons", n(8)).await?;
    writer.delete("tryons", n(9)).await?;
    let mut back = tryon(base + 9);
    back.extend(doc! { "user_id": 701 + i64::from(round), "post_id": post_text(138) });
    writer.insert("tryons", back).await
}

/// What could not be a row is mended, and what was missing comes.
async fn mend(writer: &Writer) -> Result<()> {
    for (n, change) in [
        (31, doc! { "$set": { "shape": "oval" } }),
        (57, doc! { "$set": { "title": "a title" } }),
        (63, doc! { "$set": { "legacy_pg_id": 5_064_i64 } }),
        (75, doc! { "$unset": { "legacy_pg_id": "" } }),
        (88, doc! { "$set": { "colors": ["red"] } }),
    ] {
        writer.update("posts", post_id(n), change).await?;
    }
    writer.insert("posts", post(LATE)).await?;
    for (n, change) in [
        (7, doc! { "$pull": { "post_ids": "no id" } }),
        (17, doc! { "$pull": { "post_ids": Bson::Null } }),
    ] {
        writer
            .update("collections", collection_id(n), change)
            .await?;
    }
    for (n, post) in [(11, 139), (21, 127)] {
        let found = doc! { "$set": { "post_id": post_text(post) } };
        writer.update("tryons", tryon_id(n), found).await?;
    }
    Ok(())
}

/// Posts go to which others point, whose rows are there.
async fn posts_go(migration: &mut Migration) -> Result<()> {
    let writer = migration.writer.clone();
    let of = |n: u32| doc! { "$push": { "post_ids": post_text(n) } };
    for (n, of) in [(48, of(130)), (48, of(131)), (49, of(132)), (51, of(133))] {
        writer.update("collections", collection_id(n), of).await?;
    }
    migration.until_equal().await?;
    // It stays, and what is written to a collection that has it meanwhile leaves it there.
    let stays = writer.delete("posts", post_id(130)).await?;
    migration.hold("posts", stays);
    migration.until_equal().await?;
    let named = doc! { "$set": { "name": "renamed" }, "$push": { "post_ids": post_text(17) } };
    writer
        .update("collections", collection_id(48), named)
        .await?;
    // It comes back, before anybody has missed it; and another goes when nobody points to it.
    writer.delete("posts", post_id(131)).await?;
    writer.insert("posts", post(131)).await?;
    writer.delete("posts", post_id(132)).await?;
    let less = doc! { "$pull": { "post_ids": post_text(132) } };
    writer
        .update("collections", collection_id(49), less)
        .await?;
    // With the collection.
    writer.delete("posts", post_id(133)).await?;
    writer
        .delete("collections", collection_id(51))
        .await
        .map(drop)
}

/// The number of a post's row, if it has one.
async fn number(migration: &Migration, n: u32) -> Result<Option<i64>> {
    migration.until_equal().await?;
    let sql = "select id from core_post where mongo_id = $1";
    let id = post_text(n);
    let row = migration.world.target.query_opt(sql, &[&id]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Step by step, each of them settled before the next: a post born in MongoDB has one number,
/// whatever becomes of it, and so has what points to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_post_keeps_its_number() -> Result<()> {
    let mut migration = Migration::begin_as(MISSLAND, "missland_numbers").await?;
    migration.hurry().await?;
    let writer = migration.writer.clone();
    let born = 141;
    let given = number(&migration, born).await?;
    assert!(
        given.is_some_and(|number| number >= FIRST_NUMBER),
        "{given:?}"
    );
    // An old one has its own.
    assert_eq!(number(&migration, 140).await?, Some(141));

    let title = doc! { "$set": { "title": "another", "colors": ["gold"] } };
    writer.update("posts", post_id(born), title).await?;
    assert_eq!(number(&migration, born).await?, given, "edited");
    let mut of_it = collection(1_000);
    of_it.insert("post_ids", [post_text(born), post_text(140)].to_vec());
    writer.insert("collections", of_it).await?;
    migration.until_equal().await?;
    let gone = writer.delete("posts", post_id(born)).await?;
    migration.hold("posts", gone);
    assert_eq!(number(&migration, born).await?, given, "held");
    let renamed = doc! { "$set": { "name": "renamed" } };
    writer
        .update("collections", collection_id(1_000), renamed)
        .await?;
    assert_eq!(number(&migration, born).await?, given, "held still");
    migration.back("posts", &post_id(born).into());
    let mut back = post(born);
    back.insert("title", "back");
    writer.insert("posts", back.clone()).await?;
    assert_eq!(number(&migration, born).await?, given, "back");
    // Gone for good, when nothing points to it; and back all the same.
    writer.delete("posts", post_id(born)).await?;
    let less = doc! { "$pull": { "post_ids": post_text(born) } };
    writer
        .update("collections", collection_id(1_000), less)
        .await?;
    assert_eq!(number(&migration, born).await?, None, "gone");
    let more = doc! { "$push": { "post_ids": post_text(born) } };
    writer
        .update("collections", collection_id(1_000), more)
        .await?;
    writer.insert("posts", back).await?;
    assert_eq!(number(&migration, born).await?, given, "back again");
    migration.finish().await
}
