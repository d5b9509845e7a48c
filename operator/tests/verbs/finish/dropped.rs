//! The drop: the tables are the application's own afterwards, and nothing of others goes along.

use super::{TABLES, finish, running};
use crate::{live::Live, world::Said};
use std::process::Command;

/// The schema of the application's tables, as `pg_dump` writes it.
pub(super) fn dump(live: &Live) -> String {
    let mut command = Command::new("pg_dump");
    command.args([
        "--schema-only",
        "--no-owner",
        "--schema=public",
        &live.target.stack.postgres_uri,
    ]);
    let dumped = command.output().unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    let text = String::from_utf8(dumped.stdout).unwrap();
    // Each dump has a key of its own there.
    let lines = text.lines().filter(|line| !line.starts_with('\\'));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_drop_the_tables_are_as_the_application_made_them() {
    let plain = Live::new().await;
    plain.text(TABLES).await;
    let wanted = dump(&plain);
    plain.end().await;
    let (live, producer, consumer) = running(10).await;
    assert_ne!(dump(&live), wanted);
    let drop = ["finish", "--drop", "--yes"];
    let refused = live.leafcutter(&drop).await.ends_with(6);
    refused
        .says("stop it first, and for good")
        .says("nothing proves that everything has arrived");
    finish(&live, &[]).await.ends_with(0).says("\nclean\n");
    let alive = live.leafcutter(&drop).await.ends_with(6);
    alive
        .says("stop it first, and for good")
        .says_nothing_of("nothing proves");
    consumer.stop();
    producer.stop();

    let rows = "select md5(string_agg(id || name, ' ' order by id)) from authors";
    let before = live.text(rows).await;
    // Kafka may be gone by then.
    live.without_kafka(&["finish"])
        .await
        .ends_with(2)
        .says("no broker is given")
        .says("Only --drop does without");
    let dry = live
        .without_kafka(&["finish", "--drop", "--dry-run"])
        .await
        .ends_with(0);
    dry.says("lc_version of authors")
        .says("schema leafcutter with")
        .says("drop column \"lc_version\" restrict")
        .says("nothing was changed");
    live.leafcutter(&["finish", "--drop"])
        .await
        .ends_with(2)
        .says("--yes");

    // What others have made of it is named, and stays.
    live.text("create view public.everything as select * from authors; create index by_version on books (lc_version)")
        .await;
    live.text(
        "create view public.positions as select topic, next_offset from leafcutter.offsets; \
         create table leafcutter.mine (id int)",
    )
    .await;
    let named = live
        .leafcutter(&[&drop[..], &["--force"]].concat())
        .await
        .ends_with(4);
    named
        .says("view everything")
        .says("it needs authors.lc_version")
        .says("index by_version")
        .says("view positions")
        .says("table mine because it is in schema leafcutter, and not Leafcutter's")
        .says("it needs schema leafcutter");
    assert_eq!(
        live.text("select count(lc_version) from everything").await,
        "10"
    );
    live.text("drop view everything, positions; drop index by_version; drop table leafcutter.mine")
        .await;
    live.text(
        "create function public.careful() returns trigger language plpgsql as \
         'begin if new.lc_version > 0 then return new; end if; return new; end'",
    )
    .await;
    live.leafcutter(&drop)
        .await
        .ends_with(6)
        .says("function careful() speaks of what would go");
    live.text("drop function careful").await;

    // What has come up since the finish counts, and what other groups have left.
    let topic = live.topic("authors");
    for (change, back, words) in [
        (
            format!("insert into leafcutter.resnapshots (topic, version) values ('{topic}', 1)"),
            "delete from leafcutter.resnapshots",
            "leafcutter resnapshot authors",
        ),
        (
            format!(
                "insert into leafcutter.offsets (consumer_group, topic, partition, mapping) \
                 values ('other', '{topic}', 0, 'm')"
            ),
            "delete from leafcutter.offsets where consumer_group = 'other'",
            "consumer group other has applied here, too",
        ),
    ] {
        live.text(&change).await;
        live.leafcutter(&drop).await.ends_with(6).says(words);
        live.text(back).await;
    }

    // While somebody uses a table, nothing goes.
    let client = live.target.stack.postgres().await.unwrap();
    client
        .batch_execute("begin; select count(*) from author_tags; select count(*) from posts")
        .await
        .unwrap();
    live.leafcutter(&drop)
        .await
        .ends_with(4)
        .says("somebody has used one of the tables");
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(
        live.text("select count(lc_version) from authors").await,
        "10"
    );

    // What comes up at the last moment is seen under the locks.
    for (change, back, words) in [
        (
            "insert into leafcutter.consumers (id, consumer_group, host, program, mapping, partitions, \
             started_at, seen_at) values ('late', 'other', 'h', 'p', 'm', 1, now(), now())",
            "delete from leafcutter.consumers",
            "late on h was seen",
        ),
        (
            "create view public.late as select lc_version from authors",
            "drop view late",
            "what would go is not what was shown any more",
        ),
    ] {
        let lock = "begin; lock table leafcutter.consumers in share mode";
        client.batch_execute(lock).await.unwrap();
        let late = live.started(&drop);
        let waits = "select count(*) from pg_locks where not granted \
                     and relation = to_regclass('leafcutter.consumers')";
        live.wait_for(waits, "1").await;
        client.batch_execute(change).await.unwrap();
        client.batch_execute("commit").await.unwrap();
        let said = tokio::task::spawn_blocking(|| late.wait_with_output().unwrap());
        Said::of(said.await.unwrap()).ends_with(4).says(words);
        live.text(back).await;
    }
    // A person has to name the database.
    let asking = ["finish", "--drop"];
    let doubted = live.typed(&asking, "yes").await.ends_with(0);
    doubted
        .says("type the name of the database")
        .says("nothing was changed");
    let count = live.text("select count(lc_version) from authors").await;
    assert_eq!(count, "10");
    let done = live.typed(&asking, live.database.name()).await.ends_with(0);
    done.says("lc_version of authors")
        .says("Done: 6 columns of 4 tables and schema leafcutter are gone")
        .says("Never start the consumers again");
    assert_eq!(dump(&live), wanted);
    assert_eq!(live.text(rows).await, before);
    assert_eq!(
        live.text("select count(*) from pg_namespace where nspname = 'leafcutter'")
            .await,
        "0"
    );
    live.text(
        "insert into authors (name) values ('mine'); update posts set title = 'x'; \
         insert into author_tags select max(id), 'mine' from authors; delete from books where id = 1",
    )
    .await;
    assert_eq!(live.text("select max(id) from authors").await, "11");
    live.leafcutter(&drop)
        .await
        .ends_with(4)
        .says("no schema `leafcutter`");
    live.end().await;
}
