//! What `leafcutter check --grants` prints is enough: a migration with these rights and no others, on servers that
//! grant nothing by themselves. All three servers take passwords by SCRAM (RFC 5802).

use crate::refused::{PASSWORD as ROOT_PASSWORD, uri, with_users};
use bson::{Bson, Document, doc};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    mongod::Mongod,
    probe,
    program::{self, Program},
    rows::Rows,
    servers::KafkaOfUsers,
    stack::Stack,
    target::Target,
    world::own_name,
};
use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);
const PASSWORD: &str = "granted";
const USERS: [&str; 3] = [
    "leafcutter-producer",
    "leafcutter-consumer",
    "leafcutter-operator",
];

/// A schema of its own, a child table, a reference, a generated key.
const MAPPING: &str = "
  authors:
    table: library.authors
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: text }
    children:
      - table: library.author_tags
        from: tags
        key: [author_id, n]
        columns:
          author_id: { parent: id }
          n: { position: true, type: integer }
          tag: { path: ., type: text }
  books:
    table: books
    key: id
    columns:
      id: { path: legacy_id, type: bigint, generated: true, start: 1 }
      title: { type: text }
      author_id: { path: author, type: bigint, references: { table: library.authors } }
";

/// A migration whose programs have what was granted.
struct Granted {
    name: String,
    ddl: &'static str,
    source: Mongod,
    kafka: KafkaOfUsers,
    target: Target,
    folder: TempDir,
}

impl Granted {
    async fn new(ddl: &'static str) -> Result<Self> {
        let name = own_name("grants");
        let granted = Self {
            source: with_users().await?,
            kafka: KafkaOfUsers::up(&USERS, PASSWORD).await?,
            target: Target::create(Stack::from_env()?, &name).await?,
            folder: tempfile::tempdir()?,
            name,
            ddl,
        };
        let mapping = format!("version: 1\ndatabase: shop\ncollections:\n{MAPPING}");
        fs::write(granted.mapping(), mapping)?;
        Ok(granted)
    }

    fn mapping(&self) -> PathBuf {
        self.folder.path().join("mapping.yaml")
    }

    /// Runs `leafcutter` without any server.
    fn printed(&self, words: &[&str]) -> Result<String> {
        let done = Command::new(program::find("leafcutter")?)
            .args(words)
            .env("LEAFCUTTER_MAPPING", self.mapping())
            .env("LEAFCUTTER_PREFIX", &self.name)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_DDL", self.ddl)
            .output()?;
        if !done.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&done.stderr)));
        }
        Ok(String::from_utf8(done.stdout)?)
    }

    /// Grants what is printed, and nothing else.
    async fn grant(&self) -> Result<()> {
        let told = self.printed(&["check", "--grants", "--for", "mongodb", "--json"])?;
        let told: serde_json::Value = serde_json::from_str(&told)?;
        for one in told["mongodb"].as_array().into_iter().flatten() {
            let Bson::Document(mut command) = Bson::try_from(one["command"].clone())? else {
                return Err(Failure::new("not a command"));
            };
            if command.contains_key("createUser") {
                command.insert("pwd", PASSWORD);
            }
            self.root("admin", command).await?;
        }
        let acls = self.printed(&["check", "--grants", "--for", "kafka"])?;
        self.kafka.grant(&acls).await?;
        self.psql(&format!(
            "revoke all on database \"{}\" from public; revoke all on schema public from public",
            self.name
        ))
        .await?;
        if self.ddl == "check" {
            self.psql(&self.printed(&["plan"])?).await?;
        }
        let grants = self.printed(&["check", "--grants", "--for", "postgres"])?;
        self.psql(&self.of_this_test(&grants)).await?;
        for role in ["leafcutter_consumer", "leafcutter_operator"] {
            let role = self.of_this_test(role);
            self.psql(&format!("alter role {role} password '{PASSWORD}'"))
                .await?;
        }
        Ok(())
    }

    /// Roles are those of a whole server, which other tests have too.
    fn of_this_test(&self, text: &str) -> String {
        ["leafcutter_consumer", "leafcutter_operator"]
            .iter()
            .fold(text.to_owned(), |text, role| {
                text.replace(role, &format!("{}_{}", self.name, &role[11..]))
            })
    }

    async fn root(&self, database: &str, what: Document) -> Result<Document> {
        let root = Some(("all", ROOT_PASSWORD));
        self.source.ask(root, database, what).await
    }

    /// Runs a script as the superuser.
    async fn psql(&self, text: &str) -> Result<()> {
        let (text, uri) = (text.to_owned(), self.target.stack.postgres_uri.clone());
        let ran = tokio::task::spawn_blocking(move || {
            let mut child = Command::new("psql")
                .args(["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", &uri])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .attempt("start psql")?;
            let input = child.stdin.take();
            input
                .ok_or_else(|| Failure::new("psql has no input"))?
                .write_all(text.as_bytes())
                .attempt("write to psql")?;
            let done = child.wait_with_output()?;
            if done.status.success() {
                return Ok(());
            }
            Err(Failure::new(String::from_utf8_lossy(&done.stderr)))
        });
        ran.await?
    }

    /// The addresses of a user.
    fn stack(&self, user: &str) -> Stack {
        let role = self.of_this_test(&user.replace('-', "_"));
        let postgres_uri = &self.target.stack.postgres_uri;
        Stack {
            mongodb_uri: uri(&self.source, user, PASSWORD),
            kafka_brokers: self.kafka.brokers_of_users.clone(),
            postgres_uri: postgres_uri.replace("leafcutter@", &format!("{role}:{PASSWORD}@")),
        }
    }

    fn kafka_of(user: &str) -> String {
        format!(
            "security.protocol=SASL_PLAINTEXT,sasl.mechanism=SCRAM-SHA-512,sasl.username={user},sasl.password={PASSWORD}"
        )
    }

    fn start(&self, user: &str, more: &[&str]) -> Result<Program> {
        let (mapping, kafka) = (self.mapping().display().to_string(), Self::kafka_of(user));
        let own = [
            "run",
            "--mapping",
            &mapping,
            "--prefix",
            &self.name,
            "--kafka",
            &kafka,
            "--admin",
            "127.0.0.1:0",
        ];
        let log = (self.folder.path().join(user), "info");
        let arguments = [&own, more].concat();
        Program::start(user, user, &arguments, &self.stack(user), log)
    }

    /// Runs a verb as the operator, and expects it to end well.
    async fn verb(&self, words: &[&str]) -> Result<String> {
        let stack = self.stack("leafcutter-operator");
        let mut command = Command::new(program::find("leafcutter")?);
        command
            .args(words)
            .env("LEAFCUTTER_MAPPING", self.mapping())
            .env("LEAFCUTTER_PREFIX", &self.name)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEAFCUTTER_KAFKA", Self::kafka_of("leafcutter-operator"))
            .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri);
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        if done.status.code() == Some(0) {
            return Ok(said.into_owned());
        }
        Err(Failure::new(format!(
            "{words:?}: {:?}\n{said}",
            done.status
        )))
    }

    async fn until(&self, sql: &str, expected: &str, programs: &mut [&mut Program]) -> Result<()> {
        let client = self.target.stack.postgres().await?;
        probe::until(PATIENCE, &format!("{expected} of {sql}"), async || {
            for program in &mut *programs {
                program.check()?;
            }
            let told = match Rows::of(&client, sql).await {
                Ok(rows) => rows.text(),
                Err(_) => String::new(),
            };
            Ok((told == expected).then_some(()))
        })
        .await
    }

    async fn insert(&self, collection: &str, documents: Vec<Document>) -> Result<()> {
        let insert = doc! { "insert": collection, "documents": documents };
        self.root("shop", insert).await.map(drop)
    }
}

async fn a_whole_migration(ddl: &'static str) -> Result<()> {
    let granted = Granted::new(ddl).await?;
    let done = granted.grant().await;
    let done = match done {
        Ok(()) => migrated(&granted).await,
        Err(failure) => Err(failure),
    };
    // The operator first: what the consumer has granted by default goes with it.
    for role in ["leafcutter_operator", "leafcutter_consumer"] {
        let role = granted.of_this_test(role);
        let drop = format!("drop owned by {role} cascade; drop role {role}");
        granted.psql(&drop).await?;
    }
    done
}

async fn migrated(granted: &Granted) -> Result<()> {
    let author = |n: i64| doc! { "_id": n, "name": format!("author {n}"), "tags": ["a", "b"] };
    let authors = (1..=20).map(author).collect();
    granted.insert("authors", authors).await?;
    let book = |n: i64| doc! { "_id": n, "title": "old", "author": n };
    granted
        .insert("books", (1..=20).map(book).collect())
        .await?;

    let mut producer = granted.start("leafcutter-producer", &[])?;
    let consumer = ["--group", "g", "--ddl", granted.ddl];
    let mut consumer = granted.start("leafcutter-consumer", &consumer)?;
    let running = &mut [&mut producer, &mut consumer];
    granted
        .until("select count(*) from books", "20", running)
        .await?;
    let tags = "select count(*) from library.author_tags";
    granted.until(tags, "40", running).await?;
    let change = doc! { "update": "authors", "updates": [
        { "q": { "_id": 1 }, "u": { "$set": { "name": "new", "tags": [] } } },
    ] };
    granted.root("shop", change).await?;
    let delete = doc! { "delete": "books", "deletes": [{ "q": { "_id": 20 }, "limit": 1 }] };
    granted.root("shop", delete).await?;
    granted.until(tags, "38", running).await?;
    granted
        .until("select count(*) from books", "19", running)
        .await?;

    let check = "alter table books add constraint no_bad check (title <> 'bad')";
    granted.psql(check).await?;
    let bad = doc! { "_id": 30, "title": "bad", "author": 2 };
    granted.insert("books", vec![bad]).await?;
    let open = "select count(*) from leafcutter.dead_letters where state = 'open'";
    granted.until(open, "1", running).await?;
    granted.verb(&["dead-letters", "list"]).await?;
    granted
        .psql("alter table books drop constraint no_bad")
        .await?;
    granted.verb(&["dead-letters", "retry", "--all"]).await?;
    let placed = "select count(*) from books where title = 'bad'";
    granted.until(placed, "1", running).await?;

    granted.verb(&["status"]).await?;
    let verified = granted.verb(&["verify"]).await?;
    if !verified.contains("100") {
        return Err(Failure::new(verified));
    }
    granted.verb(&["list", "--exact"]).await?;
    granted.verb(&["peek", "books", "--documents"]).await?;
    granted.verb(&["drift"]).await?;
    granted
        .verb(&["pause", "books", "--reason", "a test"])
        .await?;
    granted.verb(&["resume"]).await?;
    granted.verb(&["replay", "books", "--yes"]).await?;
    consumer.stop(PATIENCE).await?;
    producer.stop(PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_enough_where_consumers_create_tables() -> Result<()> {
    a_whole_migration("create").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_is_enough_where_somebody_else_creates_tables() -> Result<()> {
    a_whole_migration("check").await
}
