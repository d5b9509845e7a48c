//! Autores: ids of two kinds, two unique keys, and states that MongoDB deletes by itself.

use bson::{Document, doc};
use leafcutter_harness::{failure::Result, probe};
use leafcutter_systems::{
    autores::{AUTORES, TWIN, expired, message, message_id, state, state_id, user, user_id},
    migration::Migration,
};
use std::time::Duration;

/// How long MongoDB may take to delete what is old, when it looks every second.
const DELETED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn three_collections_arrive_while_they_change() -> Result<()> {
    let mut migration = Migration::begin(AUTORES).await?;
    let often = doc! { "setParameter": 1, "ttlMonitorSleepSecs": 1 };
    let server = migration.writer.0.client().database("admin");
    server.run_command(often).await?;
    change(&mut migration, 0).await?;
    migration.hurry().await?;
    change(&mut migration, 1).await?;
    migration.until_applied().await?;

    // Somebody else has this address, and is placed.
    let mut twin = user(TWIN);
    twin.insert("email", "handed0@example.org");
    migration.writer.insert("users", twin).await?;

    let states = migration.writer.0.collection::<Document>("oauth_states");
    probe::until(DELETED, "MongoDB to delete old states", async || {
        let left = states.count_documents(expired()).await?;
        Ok((left == 0).then_some(()))
    })
    .await?;
    migration.finish().await
}

/// The changes of one round, each to documents of its own.
async fn change(migration: &mut Migration, round: u32) -> Result<()> {
    let base = 60 * round + 30;
    let new = 1_000 + 100 * round;
    let writer = migration.writer.clone();

    // A message comes before its user; another gets an older one, and is written anew.
    let mut early = message(new);
    early.insert("user_id", user_id(new));
    writer.insert("messages", early).await?;
    writer.insert("users", user(new)).await?;
    let moved = doc! { "$set": { "user_id": user_id(new) }, "$unset": { "dm_response": "" } };
    writer.update("messages", message_id(base), moved).await?;
    let mut other = message(base + 500);
    other.insert("_id", message_id(base + 1));
    writer.replace("messages", other).await?;

    // Some go; one comes back as another.
    writer.delete("messages", message_id(base + 2)).await?;
    writer.delete("messages", message_id(base + 3)).await?;
    let mut again = message(base + 600);
    again.insert("_id", message_id(base + 3));
    writer.insert("messages", again).await?;

    // Tokens are renewed; two fields that were values are null and missing.
    let renewed = doc! { "$set": { "access_token": format!("new {round}"), "updated_at": null },
    "$unset": { "created_at": "" } };
    writer.update("users", user_id(base + 2), renewed).await?;

    // An address passes from one to another.
    let email = format!("handed{round}@example.org");
    let gets = doc! { "$set": { "email": &email } };
    writer
        .update("users", user_id(base + 4), gets.clone())
        .await?;
    writer
        .update(
            "users",
            user_id(base + 4),
            doc! { "$unset": { "email": "" } },
        )
        .await?;
    writer.update("users", user_id(base + 5), gets).await?;

    // A user goes with its messages, first itself; another leaves some behind, and is held if they
    // were there before.
    for (n, leaves) in [(new + 1, false), (new + 2, true)] {
        if leaves && round == 0 {
            continue;
        }
        writer.insert("users", user(n)).await?;
        for k in 0..3 {
            let mut of = message(10 * n + k);
            of.insert("user_id", user_id(n));
            writer.insert("messages", of).await?;
        }
        if round == 1 {
            // The rows are there before they go.
            migration.until_applied().await?;
        }
        let gone = writer.delete("users", user_id(n)).await?;
        if leaves {
            writer.delete("messages", message_id(10 * n)).await?;
            migration.hold("users", gone);
        } else {
            for k in 0..3 {
                writer.delete("messages", message_id(10 * n + k)).await?;
            }
        }
    }

    // What could not be a row is mended, and the message without a user gets one.
    if round == 1 {
        let mended = doc! { "$set": { "access_token": "short" } };
        writer.update("users", user_id(17), mended).await?;
        let found = doc! { "$set": { "user_id": user_id(0) } };
        writer.update("messages", message_id(61), found).await?;
    }

    // A state is used up, and its value is given out again under another id.
    writer
        .delete("oauth_states", state_id(4 * round + 3))
        .await?;
    let mut reissued = state(new + 3);
    reissued.insert("state", format!("state-{}", 4 * round + 3));
    writer.insert("oauth_states", reissued).await
}
