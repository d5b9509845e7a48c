//! Wrong settings: each program tells what it attempted, where, why not and what to do next, ends
//! with the documented code, and says neither a password nor a line of its own code.

use bson::{Document, doc};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    mongod::Mongod,
    probe, program,
    stack::Stack,
};
use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: i32 = 3;
const PREFLIGHT: i32 = 4;
pub(crate) const PASSWORD: &str = "correct-horse";
const WRONG: &str = "wrong-horse";

const MAPPING: &str = "\
version: 1
database: shop
collections:
  things:
    table: things
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      name: { type: text }
";

/// What a program is told, beside the addresses that are right.
struct Told<'t> {
    program: &'t str,
    mapping: &'t str,
    variables: &'t [(&'t str, &'t str)],
}

/// How it ended.
struct Ended {
    code: Option<i32>,
    says: String,
}

impl Ended {
    fn has(&self, code: i32, words: &[&str]) -> Result<()> {
        let text = self.says.split_whitespace().collect::<Vec<_>>().join(" ");
        let missing: Vec<_> = words.iter().filter(|w| !text.contains(**w)).collect();
        let spoken = ["panicked", "stack backtrace", ".rs:", PASSWORD, WRONG];
        let spoken: Vec<_> = spoken.iter().filter(|w| text.contains(**w)).collect();
        if self.code == Some(code) && missing.is_empty() && spoken.is_empty() {
            return Ok(());
        }
        Err(Failure::new(format!(
            "code {:?}, not {code}; without {missing:?}; with {spoken:?}, in:\n{}",
            self.code, self.says
        )))
    }
}

async fn run(told: Told<'_>) -> Result<Ended> {
    let folder = tempfile::tempdir()?;
    let mapping = folder.path().join("mapping.yaml");
    fs::write(&mapping, told.mapping)?;
    let stack = Stack::from_env()?;
    let mut child = Command::new(program::find(told.program)?)
        .arg("run")
        .args(["--admin", "127.0.0.1:0", "--prefix", "refused"])
        .env("LEAFCUTTER_MAPPING", &mapping)
        .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
        .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
        .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri)
        .env("LEAFCUTTER_TOPICS_WITHIN", "1s")
        .env("LEAFCUTTER_LOG_FILE", folder.path().join("kept"))
        .envs(told.variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(fs::File::create(folder.path().join("out"))?)
        .stderr(fs::File::create(folder.path().join("err"))?)
        .spawn()
        .attempt(told.program)?;
    let ended = probe::until(PATIENCE, "the program to end", async || {
        Ok(child.try_wait()?)
    })
    .await;
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let says = |name| fs::read_to_string(folder.path().join(name));
    let kept = says("kept")?;
    let says = says("out")? + &says("err")? + &kept;
    let status = ended.map_err(|late| Failure::new(format!("{late}; it says:\n{says}")))?;
    if !kept.contains("exit_code") {
        return Err(Failure::new(format!("the log file has no end:\n{kept}")));
    }
    Ok(Ended {
        code: status.code(),
        says,
    })
}

/// A replica set whose users have to log in: one that may do everything, and one that may read
/// another database.
pub(crate) async fn with_users() -> Result<Mongod> {
    let server = Mongod::start(&["--replSet", "rs0", "--keyFile", "key"]).await?;
    let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", server.port) };
    let set = doc! { "_id": "rs0", "members": [member] };
    server
        .ask(None, "admin", doc! { "replSetInitiate": set })
        .await?;
    probe::until(PATIENCE, "a primary", async || {
        let hello = server.ask(None, "admin", doc! { "hello": 1 }).await?;
        Ok(hello.get_bool("isWritablePrimary")?.then_some(()))
    })
    .await?;
    let user =
        |name: &str, role: Document| doc! { "createUser": name, "pwd": PASSWORD, "roles": [role] };
    let root = doc! { "role": "root", "db": "admin" };
    server.ask(None, "admin", user("all", root)).await?;
    let all = Some(("all", PASSWORD));
    let elsewhere = doc! { "role": "read", "db": "elsewhere" };
    let create = doc! { "insert": "things", "documents": [{ "_id": 1 }] };
    server.ask(all, "shop", create).await?;
    server
        .ask(all, "admin", user("elsewhere", elsewhere))
        .await?;
    Ok(server)
}

pub(crate) fn uri(server: &Mongod, user: &str, password: &str) -> String {
    let port = server.port;
    format!("mongodb://{user}:{password}@127.0.0.1:{port}/?replicaSet=rs0&authSource=admin")
}

async fn producer(uri: &str) -> Result<Ended> {
    run(Told {
        program: "leafcutter-producer",
        mapping: MAPPING,
        variables: &[("LEAFCUTTER_MONGODB_URI", uri)],
    })
    .await
}

#[tokio::test]
async fn producer_tells_of_a_wrong_password_and_of_a_missing_privilege() -> Result<()> {
    let server = with_users().await?;
    let place = format!("127.0.0.1:{}", server.port);
    let words = ["could not log in to MongoDB", &place, "authSource"];
    let ended = producer(&uri(&server, "all", WRONG)).await?;
    ended.has(PREFLIGHT, &words)?;
    let words = ["could not", "`shop`", "not authorized", "the role `read`"];
    let ended = producer(&uri(&server, "elsewhere", PASSWORD)).await?;
    ended.has(PREFLIGHT, &words)
}

#[tokio::test]
async fn producer_tells_of_a_standalone_server() -> Result<()> {
    let server = Mongod::start(&[]).await?;
    let uri = format!("mongodb://127.0.0.1:{}/", server.port);
    let words = [
        "could not follow changes",
        &uri,
        "standalone",
        "--replSet",
        "--capture poll",
    ];
    producer(&uri).await?.has(PREFLIGHT, &words)
}

async fn consumer(uri: &str) -> Result<Ended> {
    run(Told {
        program: "leafcutter-consumer",
        mapping: MAPPING,
        variables: &[("LEAFCUTTER_POSTGRES_URI", uri)],
    })
    .await
}

#[tokio::test]
async fn consumer_tells_of_a_wrong_password_and_of_a_missing_privilege() -> Result<()> {
    let postgres = Stack::from_env()?.postgres().await?;
    let make = format!("create role refused login password '{PASSWORD}'");
    postgres
        .batch_execute("drop role if exists refused")
        .await?;
    postgres.batch_execute(&make).await?;
    let uri = Stack::from_env()?.postgres_uri;
    let with = |password: &str| uri.replace("leafcutter@", &format!("refused:{password}@"));
    let words = ["connect to PostgreSQL", "127.0.0.1", "refused", "password"];
    consumer(&with(WRONG)).await?.has(PREFLIGHT, &words)?;
    let words = [
        "permission denied for database",
        "Grant CREATE",
        "127.0.0.1",
    ];
    consumer(&with(PASSWORD)).await?.has(PREFLIGHT, &words)?;
    postgres.batch_execute("drop role refused").await?;
    Ok(())
}

/// Whatever creates what is missing: the table is the application's.
#[tokio::test]
async fn consumer_tells_of_everything_in_a_table_that_keeps_rows_away() -> Result<()> {
    let stack = Stack::from_env()?;
    let server = stack.postgres().await?;
    let drop = "drop database if exists refused_tables with (force)";
    server.batch_execute(drop).await?;
    server
        .batch_execute("create database refused_tables")
        .await?;
    let own = stack.with_postgres_database("refused_tables")?;
    let made = "create table public.things (id text, name integer, tenant integer not null)";
    own.postgres().await?.batch_execute(made).await?;
    for ddl in ["create", "check"] {
        let ended = run(Told {
            program: "leafcutter-consumer",
            mapping: MAPPING,
            variables: &[
                ("LEAFCUTTER_POSTGRES_URI", own.postgres_uri.as_str()),
                ("LEAFCUTTER_DDL", ddl),
            ],
        })
        .await?;
        let words = [
            "things.id because the mapping says: uuid; PostgreSQL has: text",
            "things.name because the mapping says: text; PostgreSQL has: integer",
            "alter column \"name\" type text using \"name\"::text;",
            "things.tenant because",
            "alter column \"tenant\" drop not null;",
            "PostgreSQL has: no unique key",
            "add primary key (\"id\");",
        ];
        ended.has(PREFLIGHT, &words)?;
    }
    server.batch_execute(drop).await?;
    Ok(())
}

#[tokio::test]
async fn consumer_tells_of_servers_that_are_not_there_all_at_once() -> Result<()> {
    let ended = run(Told {
        program: "leafcutter-consumer",
        mapping: MAPPING,
        variables: &[
            (
                "LEAFCUTTER_POSTGRES_URI",
                "postgres://someone@127.0.0.1:1/x",
            ),
            ("LEAFCUTTER_KAFKA_BROKERS", "127.0.0.1:2"),
        ],
    });
    let words = [
        "2 things are wrong",
        "PostgreSQL",
        "127.0.0.1:1",
        "Kafka",
        "127.0.0.1:2",
    ];
    ended.await?.has(PREFLIGHT, &words)
}

#[tokio::test]
async fn mapping_with_five_faults_is_told_with_five_lines() -> Result<()> {
    let mapping = "\
version: 1
database: shop
collections:
  things:
    table: things
    key: idd
    columns:
      id: { path: _id, type: uuidd, convert: uuid-v5 }
      name: { type: text, requierd: true }
      price: { type: numeric, invalid: { nul: trunkate } }
      shelf: { type: uuid, convert: uuid-v5, references: { table: shelvez } }
";
    let ended = run(Told {
        program: "leafcutter-producer",
        mapping,
        variables: &[],
    });
    let ended = ended.await?;
    let lines = ["mapping.yaml:6", "mapping.yaml:8", "mapping.yaml:9"];
    ended.has(SETTINGS, &lines)?;
    let lines = ["mapping.yaml:10", "mapping.yaml:11", "required", "uuid"];
    ended.has(SETTINGS, &lines)
}
