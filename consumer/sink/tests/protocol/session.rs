//! What a transaction sends together, and what stands in its temporary tables.

use crate::world::World;
use leafcutter_runtime::secret::Secret;
use leafcutter_sink::{
    copy::CopyBuffer,
    session::{self, Bound, ConnectError, Session},
};
use std::time::Duration;
use tokio::net::TcpListener;

const COPY: &str = "copy pg_temp.staged (number, key) from stdin (format binary)";

async fn open(world: &World) -> Session {
    let mut session = Session::open(&world.config, "test").await.unwrap();
    let create =
        "create temp table staged (number int, key bytea); create table written (n bigint)";
    session.batch(create).await.unwrap();
    session
}

/// Stages so many rows, numbered from one that tells them from others.
async fn stage(session: &mut Session, from: i32, rows: i32) {
    let mut copy = CopyBuffer::new();
    for number in from..from + rows {
        copy.keyed(number, b"k");
    }
    copy.stage(session, "pg_temp.staged", COPY).await.unwrap();
}

async fn expect_staged(session: &mut Session, from: i32, rows: i32) {
    let sql = "select coalesce(min(number), 0), count(*)::int from pg_temp.staged";
    let row = session.query_one(sql, &[]).await.unwrap();
    let first = if rows == 0 { 0 } else { from };
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (first, rows));
}

/// PostgreSQL takes COMMIT for ROLLBACK there, and says no error.
#[tokio::test]
async fn nothing_is_committed_whose_last_statement_fails() {
    let world = World::new().await;
    let mut session = open(&world).await;
    let last = |divisor: i64| Bound {
        sql: "insert into written values (6 / $1::bigint)".to_owned(),
        parameters: vec![Box::new(divisor)],
    };
    for (divisor, written) in [(0, 0), (3, 2)] {
        session
            .batch("begin; insert into written values (1)")
            .await
            .unwrap();
        let done = session.commit(Some(last(divisor))).await;
        assert_eq!(done.is_ok(), written > 0, "{done:?}");
        let there = "select count(*) from written";
        let row = session.query_one(there, &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), written);
    }
}

/// What cannot be sent is no error to PostgreSQL, which would commit the rest.
#[tokio::test]
async fn nothing_is_committed_whose_last_statement_cannot_be_sent() {
    let world = World::new().await;
    let mut session = open(&world).await;
    let begun = "begin; insert into written values (1)";
    session.batch(begun).await.unwrap();
    let last = Bound {
        sql: "insert into written values ($1::bigint)".to_owned(),
        parameters: vec![Box::new("no number")],
    };
    let done = session.commit(Some(last)).await;
    assert!(done.is_err_and(|error| error.as_db_error().is_none()));
    drop(session);
    let there = "select count(*) from written";
    assert_eq!(world.text(there).await, "0");
}

/// Each way in which a temporary table may come to hold rows that are not to be seen.
#[tokio::test]
async fn what_is_staged_stands_there_alone() {
    let world = World::new().await;
    let mut session = open(&world).await;
    // Few rows are deleted; after many the file is cut.
    for many in [3, 5_000] {
        session.batch("begin").await.unwrap();
        stage(&mut session, 1, many).await;
        session.commit(None).await.unwrap();
        session.batch("begin").await.unwrap();
        stage(&mut session, 7, 2).await;
        expect_staged(&mut session, 7, 2).await;
        session.roll_back().await.unwrap();
        // Those of before are back.
        session.batch("begin").await.unwrap();
        stage(&mut session, 0, 0).await;
        expect_staged(&mut session, 0, 0).await;
        session.batch("savepoint s").await.unwrap();
        stage(&mut session, 1, many).await;
        session.roll_back_to("s").await.unwrap();
        stage(&mut session, 9, 1).await;
        session.batch("savepoint s").await.unwrap();
        stage(&mut session, 0, 0).await;
        session.roll_back_to("s").await.unwrap();
        stage(&mut session, 0, 0).await;
        expect_staged(&mut session, 0, 0).await;
        stage(&mut session, 1, many).await;
        session.commit(None).await.unwrap();
    }
}

/// The look is sent together with the rows, and sees all of them and no other.
#[tokio::test]
async fn a_look_sees_what_is_staged_with_it() {
    let world = World::new().await;
    let mut session = open(&world).await;
    // More than one message of a COPY.
    for rows in [1, 0, 40_000, 2] {
        let mut copy = CopyBuffer::new();
        for number in 0..rows {
            copy.keyed(number, &[b'k'; 20]);
        }
        let look = "select count(*) from pg_temp.staged";
        let place = ("pg_temp.staged", COPY);
        let seen = copy.stage_and_look(&mut session, place, look).await;
        assert_eq!(seen.unwrap()[0].get::<_, i64>(0), i64::from(rows));
    }
    let mut copy = CopyBuffer::new();
    copy.keyed(1, b"k");
    let place = (
        "pg_temp.staged",
        "copy pg_temp.staged (number) from stdin (format binary)",
    );
    let refused = copy.stage_and_look(&mut session, place, "select 1").await;
    let refused = refused.expect_err("one column, two fields");
    assert_eq!(refused.code().map(|code| code.code()), Some("22P04"));
}

/// Another program at the address, or a server that hangs.
#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let uri = format!("postgres://somebody@127.0.0.1:{port}/somewhere?connect_timeout=1");
    let config = session::config(&Secret::new(uri)).unwrap();
    let opened = tokio::time::timeout(Duration::from_secs(30), Session::open(&config, "test"));
    let refused = opened.await.expect("it is given up").unwrap_err();
    assert!(matches!(refused, ConnectError::Silent(_)), "{refused}");
    assert_eq!(
        refused.to_string(),
        "cannot connect to PostgreSQL: no answer for 6 s"
    );
}
