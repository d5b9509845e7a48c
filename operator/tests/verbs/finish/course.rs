//! What it proves and readies, when it refuses, what it waits for.

use super::{finish, json, running, until_status_says};
use crate::world::{Said, interrupt};
use bson::doc;

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_migration_ends_with_a_report_and_tables_that_the_application_can_write() {
    let (live, producer, consumer) = running(20).await;
    live.leafcutter(&["status"])
        .await
        .ends_with(0)
        .says("then leafcutter finish");
    live.text(
        "alter table books add constraint has_title check (title <> '') not valid;
         alter table books drop constraint books_author_id_fkey;
         alter table books add constraint by_hand foreign key (author_id) references authors (id) not valid",
    )
    .await;

    let dry = finish(&live, &["--dry-run"]).await.ends_with(0);
    dry.says("ready to cut over")
        .says("authors.id goes on behind 20; its sequence had given no number yet")
        .says("validate constraint \"has_title\"")
        .says("nothing was changed");
    assert!(!live.file("report.md").exists() && !live.file("report.json").exists());
    let proven = "select string_agg(conname, ' ' order by conname) from pg_constraint \
                  where conrelid = 'books'::regclass and convalidated";
    assert_eq!(live.text(proven).await, "books_pkey");
    assert_eq!(
        live.text("select last_value, is_called from numbers").await,
        "1|f"
    );

    let log = live.file("run.log");
    let logged = ["--log-file", &log.display().to_string()];
    let done = finish(&live, &logged).await.ends_with(0);
    let kept = std::fs::read_to_string(&log).unwrap();
    for step in [
        "finish --report",
        "applied waited_seconds=",
        "compared collection=",
        "documents=20",
        "verdict=\"clean\"",
        "looked at a sequence",
        "constraint=\"by_hand\" valid=true",
        "ended exit_code=0",
    ] {
        assert!(kept.contains(step), "{step}: {kept}");
    }
    done.says("Clean: 64 documents compared")
        .says("books.id goes on behind 40")
        .says("1 was ahead of the rows already")
        .says("by_hand of books holds")
        .says("\nclean\n")
        .says("finish --drop");
    assert_eq!(live.text(proven).await, "books_pkey by_hand has_title");
    let told = json(&live);
    assert_eq!(told["verdict"], "clean", "{told:#}");
    assert_eq!(told["because"], serde_json::json!([]));
    assert_eq!(told["collections"][0]["documents"], 20);
    assert_eq!(told["collections"][0]["documents_exact"], true);
    assert_eq!(told["collections"][0]["tables"][1]["rows"], 40);
    assert_eq!(told["verified"]["report"]["verdict"], "clean");
    assert_eq!(told["sequences"][0]["moved_to"], 20);
    assert_eq!(told["sequences"][2]["moved_to"], serde_json::Value::Null);
    assert_eq!(told["constraints"][0]["valid"], true);
    for known in [
        &told["applied_until"],
        &told["times"]["begun"],
        &told["times"]["last_applied"],
    ] {
        assert!(known.is_string(), "{told:#}");
    }
    let page = std::fs::read_to_string(live.file("report.md")).unwrap();
    for words in [
        "**clean**",
        "author_tags (of authors) | 40",
        "| by_hand | books |",
        "| authors.id |",
    ] {
        assert!(page.contains(words), "no {words:?} in {page}");
    }

    // The application inserts as it is used to.
    live.text(
        "insert into authors (name) values ('mine'); insert into books (title) values ('mine')",
    )
    .await;
    live.text("insert into posts (title) values ('mine')").await;
    assert_eq!(live.text("select max(id) from authors").await, "21");
    assert_eq!(live.text("select max(id) from books").await, "41");
    assert_eq!(
        live.text("select max(id) from posts where title = 'mine'")
            .await,
        "502"
    );

    // Said again, it moves nothing back, and has nothing to prove.
    live.text("select setval('numbers', 1000)").await;
    let again = finish(&live, &["--sample", "5", "--json"])
        .await
        .ends_with(0)
        .whole();
    assert_eq!(
        (&again["done"], &again["verdict"]),
        (&true.into(), &"clean".into())
    );
    assert_eq!(again["verified"]["what"], "sample");
    assert_eq!(again["constraints"], serde_json::json!([]));
    assert_eq!(live.text("select last_value from numbers").await, "1000");
    assert_eq!(again["collections"][0]["tables"][0]["others"], 1);
    let none = finish(&live, &["--no-verify", "--json"])
        .await
        .ends_with(0)
        .whole();
    assert_eq!(none["verdict"], "unverified");

    let wrong = ["finish", "--report", "report.json"];
    live.leafcutter(&wrong).await.ends_with(2);
    let nowhere = live.file("none").join("report.md").display().to_string();
    live.leafcutter(&["finish", "--report", &nowhere])
        .await
        .ends_with(3);
    consumer.stop();
    producer.stop();
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ready_is_refused_with_its_reasons_and_force_does_what_it_can() {
    let (live, producer, consumer) = running(10).await;
    // One document that no row can be, and rows that break what the application wants.
    live.collection("authors")
        .insert_one(doc! { "_id": 99i64 })
        .await
        .unwrap();
    let letters = "select count(*) from leafcutter.dead_letters where state = 'open'";
    live.wait_for(letters, "1").await;
    until_status_says(&live, "the dead letter", false).await;
    live.text(
        "create table public.shelves (id integer, of bigint, primary key (id), unique (of, id));
         insert into public.shelves values (0, 1), (1, 1);
         alter table books add constraint on_shelf foreign key (shelf) references public.shelves (id) not valid;
         alter table books add constraint of_pair foreign key (author_id, shelf) references public.shelves (of, id) \
         match full not valid;
         alter table books add constraint short check (length(title) < 7) not valid;
         alter table books add constraint has_title check (title <> '') not valid",
    )
    .await;

    let refused = finish(&live, &[]).await.ends_with(6);
    refused
        .says("not ready to cut over")
        .says("1 dead letter open: leafcutter dead-letters list")
        .says("Nothing was done");
    assert!(!live.file("report.md").exists());
    let json_of = finish(&live, &["--json"]).await.ends_with(6).whole();
    assert_eq!(json_of["done"], false);
    assert_eq!(
        json_of["because"][0],
        "1 dead letter open: leafcutter dead-letters list"
    );
    finish(&live, &["--dry-run"])
        .await
        .ends_with(6)
        .says("1 dead letter open");
    assert_eq!(
        live.text("select last_value, is_called from numbers").await,
        "1|f"
    );

    let forced = finish(&live, &["--force"]).await.ends_with(1);
    forced
        .says("Goes on by --force")
        .says("rejected, with their dead letters: missing")
        .says("on_shelf of books does not hold")
        .says("7 rows in the way, by key: 2; 5; 8; 11; 14 and 2 more")
        .says("19 rows in the way, by key: 1; 2; 3; 4; 5 and 14 more")
        .says("11 rows in the way, by key: 10; 11; 12; 13; 14 and 6 more")
        .says("has_title of books holds")
        .says("not clean");
    let told = json(&live);
    assert_eq!(told["verdict"], "not-clean");
    assert_eq!(told["dead_letters"][0]["dead_letters"], 1);
    assert_eq!(told["dead_letters"][0]["column"], "name");
    let because = told["because"].to_string();
    for why in [
        "1 dead letter open",
        "constraint short of books does not hold",
    ] {
        assert!(because.contains(why), "{because}");
    }
    // What finds them finds them all.
    for proof in told["constraints"].as_array().unwrap() {
        if proof["valid"] == false {
            let query = proof["query"].as_str().unwrap();
            let count = live
                .text(&format!("select count(*) from ({query}) q"))
                .await;
            assert_eq!(count, proof["rows_in_the_way"].to_string(), "{proof}");
        }
    }
    assert_eq!(live.text("select last_value from numbers").await, "20");

    // Without consumers it is not waited for what nobody does.
    consumer.stop();
    let late = doc! { "_id": 77i64, "title": "late", "author_id": 1 };
    live.collection("books").insert_one(late).await.unwrap();
    let alone = finish(&live, &["--force", "--no-verify"])
        .await
        .ends_with(1);
    alone
        .says("no consumer is running: leafcutter-consumer run")
        .says("nobody applies anything");
    producer.stop();

    // What was not clean is not dropped, programs or not.
    let kept = live
        .leafcutter(&["finish", "--drop", "--yes"])
        .await
        .ends_with(6);
    kept.says("not ready to drop")
        .says("said: 1 dead letter open")
        .says("said: constraint short of books does not hold");
    assert_eq!(
        live.text("select count(lc_version) from authors").await,
        "10"
    );
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_takes_long_can_be_stopped() {
    let (live, producer, consumer) = running(2).await;
    live.text(
        "create function public.slow(title text) returns boolean language plpgsql as $$ \
             begin perform pg_sleep(60); return true; end $$;
         alter table books add constraint takes_long check (public.slow(title)) not valid",
    )
    .await;
    let report = live.file("report.md").display().to_string();
    let proving = live.started(&["finish", "--report", &report]);
    let sleeps = "select count(*) from pg_stat_activity where datname = current_database() \
                  and wait_event = 'PgSleep'";
    live.wait_for(sleeps, "1").await;
    interrupt(&proving);
    let said = tokio::task::spawn_blocking(|| proving.wait_with_output().unwrap());
    Said::of(said.await.unwrap())
        .ends_with(1)
        .says("Interrupted: sequences that were moved and constraints that were proven stay so");
    assert_eq!(live.text(sleeps).await, "0", "PostgreSQL goes on");
    assert!(!live.file("report.md").exists());
    consumer.stop();
    producer.stop();
    live.end().await;
}

/// A consumer says at most a second later that it goes on again.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_said_before_a_person_let_it_go_on_is_no_reason() {
    let (live, producer, consumer) = running(10).await;
    let pause = ["pause", "--all", "--reason", "a new index"];
    live.leafcutter(&pause).await.ends_with(0);
    let said = "select count(*) from leafcutter.consumers where problem like '%a new index%'";
    live.wait_for(said, "1").await;
    finish(&live, &[]).await.ends_with(6).says("a new index");
    live.leafcutter(&["resume"]).await.ends_with(0);
    finish(&live, &[]).await.ends_with(0).says("\nclean\n");
    consumer.stop();
    producer.stop();
    live.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_until_what_the_source_has_is_applied() {
    let (live, producer, consumer) = running(10).await;
    let client = live.target.stack.postgres().await.unwrap();
    // Nobody can write authors.
    client
        .batch_execute("begin; lock table authors in exclusive mode")
        .await
        .unwrap();
    live.collection("authors")
        .insert_one(doc! { "_id": 11i64, "name": "late" })
        .await
        .unwrap();
    let refused = finish(&live, &["--wait", "2s"]).await.ends_with(6);
    refused
        .says("not everything was applied within 2 s")
        .says("1 record behind");
    let report = live.file("report.md").display().to_string();
    let mut waiting = live.started(&["finish", "--report", &report, "--json"]);
    let looks = "select count(*) > 0 from pg_stat_activity where application_name = 'leafcutter finish' \
                 and datname = current_database()";
    live.wait_for(looks, "t").await;
    assert_eq!(waiting.try_wait().unwrap(), None, "it did not wait");
    // One that a person stops changes nothing.
    let stopped = live.started(&["finish", "--report", &report]);
    live.wait_for(&looks.replace("> 0", "> 1"), "t").await;
    interrupt(&stopped);
    let said = tokio::task::spawn_blocking(|| stopped.wait_with_output().unwrap());
    Said::of(said.await.unwrap())
        .ends_with(1)
        .says("Interrupted: nothing was changed");
    assert!(!live.file("report.md").exists());
    client.batch_execute("rollback").await.unwrap();
    let told = tokio::task::spawn_blocking(|| waiting.wait_with_output().unwrap());
    let told = Said::of(told.await.unwrap()).ends_with(0).whole();
    assert_eq!(told["verdict"], "clean", "{told:#}");
    assert_eq!(told["collections"][0]["tables"][0]["rows"], 11);
    consumer.stop();
    producer.stop();
    live.end().await;
}
