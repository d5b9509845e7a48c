//! SmartDiet's logbooks: of those of one user and day the newest is the row, whatever order they
//! come in, and whatever becomes of it.

use bson::{Bson, DateTime, Document, doc};
use leafcutter_harness::{
    failure::{Failure, Result},
    source::Writer,
};
use leafcutter_systems::{
    migration::Migration,
    smartdiet::{
        Kind::{Logbooks, Users},
        SMARTDIET, document, id, moment, oid,
    },
};

const NAME: &str = "coachinglogbooks";
/// Long after what any of them says before it is changed, so that each change is the newest.
const LATE: u32 = 100;

/// A time of update: the greater, the newer.
fn at(n: u32) -> DateTime {
    moment(LATE, n.into())
}

/// A new logbook of the same user and day as the n-th.
fn another(new: u32, n: u32, updated: DateTime) -> Document {
    let mut logbook = document(Logbooks, n);
    logbook.extend(doc! { "_id": id(Logbooks, new), "user": id(Users, n / 6), "update_date": updated, "mood": 50 });
    logbook
}

/// The changes of one round, each to days of its own.
pub(crate) async fn change(writer: &Writer, round: u32) -> Result<()> {
    let first = |day: u32| 3 * (14 * round + day);
    let new = 1_000 + 100 * round;
    let base = 1_000 * round;

    // Edited twice.
    for (n, mood) in [(1, 51), (2, 52)] {
        let edit = doc! { "$set": { "update_date": at(base + n), "mood": mood } };
        writer.update(NAME, id(Logbooks, first(0)), edit).await?;
    }
    // A newer one comes before those that the snapshot has still to read, and an older one after it.
    let newer = another(new, first(1), at(base + 3));
    writer.insert(NAME, newer).await?;
    let older = another(new + 1, first(1), moment(0, -1));
    writer.insert(NAME, older).await?;
    // The newest goes, and the next one follows.
    let edit = doc! { "$set": { "update_date": at(base + 4), "mood": 53 } };
    writer.update(NAME, id(Logbooks, first(3)), edit).await?;
    writer.delete(NAME, id(Logbooks, first(3))).await?;
    // It is nobody's any more; the one of the round before is somebody's again.
    let edit = doc! { "$set": { "update_date": at(base + 5), "mood": 54 } };
    writer.update(NAME, id(Logbooks, first(4)), edit).await?;
    let nobody = doc! { "$unset": { "user": "" } };
    writer.update(NAME, id(Logbooks, first(4)), nobody).await?;
    if round == 1 {
        let back = doc! { "$set": { "user": id(Users, 2), "update_date": at(base + 6) } };
        writer.update(NAME, id(Logbooks, 3 * 4), back).await?;
    }
    // To a day that the user does not have yet, to one that it has, and to another user.
    for (n, of) in [
        (first(5), doc! { "day": moment(400, 5) }),
        (first(5) + 2, doc! { "day": moment(0, 5) }),
        (first(8), doc! { "user": id(Users, first(8) / 6 + 1) }),
    ] {
        let mut moved = of;
        moved.insert("update_date", at(base + 10 + n));
        let moved = doc! { "$set": moved };
        writer.update(NAME, id(Logbooks, n), moved).await?;
    }
    // All of one day go.
    let all: Vec<Bson> = (0..3).map(|n| id(Logbooks, first(9) + n)).collect();
    let all = doc! { "_id": { "$in": all } };
    writer.delete_all(NAME, all).await?;
    // Written anew; first nobody's; gone and back.
    let anew = another(first(11) + 2, first(11), at(base + 7));
    writer.replace(NAME, anew).await?;
    let mut whose = another(new + 2, first(12), at(base + 8));
    let user = whose.remove("user");
    writer.insert(NAME, whose).await?;
    let found = doc! { "$set": { "user": user } };
    writer.update(NAME, id(Logbooks, new + 2), found).await?;
    writer.delete(NAME, id(Logbooks, first(13))).await?;
    let back = another(first(13), first(13), at(base + 9));
    writer.insert(NAME, back).await?;
    // Two exchange their days.
    for (n, day) in [(first(12) + 2, 1), (first(13) + 2, 0)] {
        let moved = doc! { "$set": { "day": moment(day, 7), "update_date": at(base + 900 + n) } };
        writer.update(NAME, id(Logbooks, n), moved).await?;
    }
    Ok(())
}

/// A user who has logbooks stays, with all that is below; one whose logbooks go, goes with it.
pub(crate) async fn users_go(migration: &mut Migration) -> Result<()> {
    let writer = migration.writer.clone();
    let stays = writer.delete("users", id(Users, 14)).await?;
    migration.hold("users", stays);
    let own = [id(Users, 15), oid(Users, 15).to_hex().into()];
    let own = doc! { "user": { "$in": own.to_vec() } };
    writer.delete_all(NAME, own).await?;
    writer.delete("users", id(Users, 15)).await.map(drop)
}

/// A day's row: its number, its mood, and the transaction that wrote it. Nothing without a row.
async fn row(migration: &Migration, n: u32) -> Result<Option<(i64, i16, String)>> {
    migration.until_equal().await?;
    let sql = "select id, mood, xmin::text from users_logbook \
               where user_id = $1 and day = date '2025-01-01' + $2::int4";
    let (user, day) = (oid(Users, n / 6).to_hex(), i32::try_from(n / 3 % 2)?);
    let target = &migration.world.target;
    let row = target.query_opt(sql, &[&user, &day]).await?;
    Ok(row.map(|row| (row.get(0), row.get(1), row.get(2))))
}

/// Step by step, each of them settled before the next.
#[tokio::test(flavor = "multi_thread")]
async fn of_the_logbooks_of_a_day_the_newest_is_the_row() -> Result<()> {
    let migration = Migration::begin_as(SMARTDIET, "smartdiet_logbooks").await?;
    migration.hurry().await?;
    let writer = migration.writer.clone();
    let mood = async |n: u32| -> Result<_> { Ok(row(&migration, n).await?.map(|r| r.1)) };
    let Some((number, ..)) = row(&migration, 0).await? else {
        return Err(Failure::new("the first day has no row"));
    };

    // Edited twice: the number stays.
    for (n, of) in [(1, 51), (2, 52)] {
        let edit = doc! { "$set": { "update_date": at(n), "mood": of } };
        writer.update(NAME, id(Logbooks, 0), edit).await?;
    }
    let edited = row(&migration, 0).await?;
    assert_eq!(edited.as_ref().map(|r| (r.0, r.1)), Some((number, 52)));
    // What is older is written later, and changes nothing.
    let older = another(1_000, 0, at(0));
    writer.insert(NAME, older).await?;
    assert_eq!(row(&migration, 0).await?, edited, "the row was not touched");
    // The newest goes, the next is there: the older one, and it is the newest of those left.
    writer.delete(NAME, id(Logbooks, 0)).await?;
    assert_eq!(mood(0).await?, Some(50));
    // It is nobody's; another is, and then of another day.
    let edit = doc! { "$set": { "update_date": at(3), "mood": 53 } };
    writer.update(NAME, id(Logbooks, 1), edit).await?;
    assert_eq!(mood(0).await?, Some(53));
    let nobody = doc! { "$unset": { "user": "" } };
    writer.update(NAME, id(Logbooks, 1), nobody).await?;
    assert_eq!(mood(0).await?, Some(50));
    let moved = doc! { "$set": { "day": moment(1, 0), "update_date": at(4) } };
    writer.update(NAME, id(Logbooks, 1_000), moved).await?;
    let left = row(&migration, 0).await?;
    assert_eq!(
        left.as_ref().map(|r| r.0),
        Some(number),
        "whose the row is now"
    );
    assert_eq!(mood(3).await?, Some(50));
    // The last one goes, and the row; what comes then is another row.
    writer.delete(NAME, id(Logbooks, 2)).await?;
    assert_eq!(row(&migration, 0).await?, None);
    let back = another(0, 0, at(0));
    writer.insert(NAME, back).await?;
    let back = row(&migration, 0).await?;
    assert!(back.is_some_and(|r| r.0 > number && r.1 == 50));
    migration.finish().await
}
