//! SmartDiet: six tiers, links in arrays, and only the difference written.

use crate::logbooks;
use bson::{Bson, DateTime, doc};
use leafcutter_harness::failure::Result;
use leafcutter_systems::{
    migration::Migration,
    smartdiet::{
        Kind::{
            Appointments, Coachings, Companies, Contents, Days, Events, Logbooks, Menus, Messages,
            Periods, Quizzs, Recipes, Targets, UserQuizzs, Users,
        },
        SMARTDIET, document, id, oid,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn six_tiers_arrive_while_they_change() -> Result<()> {
    let mut migration = Migration::begin(SMARTDIET).await?;
    // First of all: the snapshot has still to come to them.
    logbooks::change(&migration.writer, 0).await?;
    change(&migration, 0).await?;
    migration.hurry().await?;
    migration.until_applied().await?;
    logbooks::change(&migration.writer, 1).await?;
    change(&migration, 1).await?;
    logbooks::users_go(&mut migration).await?;
    migration.finish().await
}

/// The changes of one round, each to documents of its own.
async fn change(migration: &Migration, round: u32) -> Result<()> {
    let writer = &migration.writer;
    let base = 30 + 10 * round;
    let new = 1_000 + 100 * round;

    // Six tiers, the last first.
    let mut day = document(Days, new);
    day.extend(doc! { "period": id(Periods, new), "userQuizz": id(UserQuizzs, new), "contents": [id(Contents, new)] });
    writer.insert("days", day).await?;
    let mut period = document(Periods, new);
    period.insert("coaching", id(Coachings, new));
    writer.insert("periods", period).await?;
    for (kind, name) in [
        (Coachings, "coachings"),
        (UserQuizzs, "userquizzs"),
        (Messages, "messages"),
    ] {
        let mut of_new = document(kind, new);
        of_new.insert("user", id(Users, new));
        writer.insert(name, of_new).await?;
    }
    writer.insert("users", document(Users, new)).await?;
    writer.insert("contents", document(Contents, new)).await?;

    // Arrays: one more, one less, from one array to another, none, null, missing, whole anew.
    for (n, change) in [
        (
            base,
            doc! { "$set": { "targets": [id(Targets, 1), id(Targets, 2)], "health_targets": [], "registered_events": [id(Events, 20)] } },
        ),
        (
            base,
            doc! { "$pull": { "targets": id(Targets, 1) }, "$push": { "health_targets": id(Targets, 1) } },
        ),
        (
            base,
            doc! { "$push": { "registered_events": id(Events, 21) } },
        ),
        (
            base,
            doc! { "$pull": { "registered_events": id(Events, 20) } },
        ),
        (
            base + 1,
            doc! { "$set": { "targets": null, "update_date": DateTime::from_millis(round.into()) }, "$unset": { "specificity_targets": "" } },
        ),
        (
            base + 2,
            doc! { "$set": { "contents_reads": [id(Contents, 3), { "content": id(Contents, 4), "date": null }], "company": "none" } },
        ),
        (
            base + 4,
            doc! { "$set": { "gender": "F", "height": "180", "email": format!("new{round}@example.org"), "offer": Bson::Null } },
        ),
    ] {
        writer.update("users", id(Users, n), change).await?;
    }
    let mut menu = document(Menus, 500 + round);
    menu.insert("_id", id(Menus, 3 + round));
    writer.replace("menus", menu).await?;
    for change in [
        doc! { "$set": { "contents": [id(Contents, 5), id(Contents, 6), id(Contents, 7)], "is_success": true } },
        doc! { "$pull": { "contents": id(Contents, 6) } },
        doc! { "$set": { "main_logbooks": [id(Logbooks, 1), id(Logbooks, 2)] } },
        doc! { "$pull": { "main_logbooks": id(Logbooks, 1) } },
    ] {
        writer.update("days", id(Days, base), change).await?;
    }

    // From one parent to another, with all that is below.
    let moved = doc! { "$set": { "user": id(Users, 2), "reasons": [id(Targets, 9)], "health_reasons": [id(Targets, 9)] } };
    writer
        .update("coachings", id(Coachings, 10 + round), moved)
        .await?;
    let moved = doc! { "$set": { "coaching": id(Coachings, 10 + round), "number_of_days": 7.0 } };
    writer
        .update("periods", id(Periods, 20 + round), moved)
        .await?;

    // What goes takes along what is its own, and is forgotten by others.
    writer.delete("users", id(Users, base + 5)).await?;
    writer.delete("users", id(Users, base + 6)).await?;
    writer
        .delete("coachings", id(Coachings, 20 + round))
        .await?;
    writer.delete("targets", id(Targets, 40 + round)).await?;
    writer.delete("contents", id(Contents, 30 + round)).await?;
    writer.delete("recipes", id(Recipes, 20 + round)).await?;
    writer.delete("events", id(Events, 10 + round)).await?;
    writer.delete("quizzs", id(Quizzs, 10 + round)).await?;
    writer.delete("companies", id(Companies, 4 + round)).await?;
    writer
        .delete_all(
            "appointments",
            doc! { "_id": { "$in": [id(Appointments, base), id(Appointments, base + 1)] } },
        )
        .await?;

    // Gone, and back as another.
    writer.delete("messages", id(Messages, base)).await?;
    let mut back = document(Messages, 600 + round);
    back.insert("_id", id(Messages, base));
    writer.insert("messages", back).await?;

    // What could not be a row is mended, bit by bit.
    if round == 1 {
        for (n, change) in [
            (13, doc! { "$set": { "targets": [id(Targets, 3)] } }),
            (23, doc! { "$pull": { "health_targets": null } }),
            (53, doc! { "$pop": { "contents_reads": 1 } }),
        ] {
            writer.update("users", id(Users, n), change).await?;
        }
    }
    Ok(())
}

/// What their SmartDiff was made for: a user with fifty targets loses one.
#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_targets_one_goes_and_no_other_row_is_written() -> Result<()> {
    let migration = Migration::begin_as(SMARTDIET, "smartdiet_delta").await?;
    migration.hurry().await?;
    migration.until_equal().await?;
    let sql = "select count(*) from users_targets where user_id = $1";
    let user = oid(Users, 0).to_hex();
    let targets: i64 = migration
        .world
        .target
        .query_one(sql, &[&user])
        .await?
        .get(0);
    assert_eq!(targets, 50);

    let mut before = migration.written("users_targets").await?;
    for (array, target) in [
        ("targets", 7),
        ("specificity_targets", 24),
        ("health_targets", 20),
    ] {
        let pull = doc! { "$pull": { array: id(Targets, target) } };
        migration.writer.update("users", id(Users, 0), pull).await?;
        migration.until_equal().await?;
        let after = migration.written("users_targets").await?;
        assert_eq!(
            after,
            before.and(0, 0, 1),
            "{array}: inserted, updated, deleted"
        );
        before = after;
    }

    // One for another: one row goes, one comes.
    let change = doc! { "$set": { "targets.0": id(Targets, 50) } };
    migration
        .writer
        .update("users", id(Users, 0), change)
        .await?;
    migration.until_equal().await?;
    let after = migration.written("users_targets").await?;
    assert_eq!(after, before.and(1, 0, 1), "inserted, updated, deleted");
    migration.finish().await
}
