//! The programs over TLS to MongoDB and Kafka, and logins: a migration with certificates of the right
//! authority, and what they say where the authority or the name is wrong. PostgreSQL's TLS has a suite
//! of its own in the sink.

use bson::{Document, doc};
use futures_util::future::try_join_all;
use leafcutter_harness::{
    authority::Authority,
    failure::{Failure, Result},
    probe,
    program::{self, Program},
    rows::Rows,
    servers::{KafkaOfUsers, TlsServers},
    stack::Stack,
    target::Target,
    world::own_name,
};
use mongodb::Client;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const MAPPING: &str = "version: 1
database: shop
collections:
  things:
    table: things
    key: id
    columns: { id: { path: _id, type: bigint }, name: text }
";

/// Servers with a certificate, and everything that a program needs.
struct Secure {
    name: String,
    servers: TlsServers,
    target: Target,
    folder: TempDir,
}

/// A folder with a certificate for the servers, and authorities: its own, and another.
fn certificates(host: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let own = Authority::new("own")?;
    own.write(&file("ca.crt"))?;
    Authority::new("other")?.write(&file("other.crt"))?;
    own.sign(&file("server"), "server", &[host], false, "")?;
    let both = fs::read_to_string(file("server.key"))? + &fs::read_to_string(file("server.crt"))?;
    fs::write(file("server.pem"), both)?;
    fs::write(file("mapping.yaml"), MAPPING)?;
    Ok(folder)
}

impl Secure {
    async fn new(host: &str) -> Result<Self> {
        let name = own_name("tls");
        let folder = certificates(host)?;
        Ok(Self {
            servers: TlsServers::up(folder.path()).await?,
            target: Target::create(Stack::from_env()?, &name).await?,
            folder,
            name,
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mongodb(&self, authority: &str) -> String {
        let uri = &self.servers.mongodb_uri;
        format!(
            "{uri}&tls=true&tlsCAFile={}",
            self.file(authority).display()
        )
    }

    fn kafka(&self, authority: &str) -> String {
        let file = self.file(authority);
        format!("security.protocol=SSL,ssl.ca.location={}", file.display())
    }

    fn stack(&self, authority: &str) -> Stack {
        Stack {
            mongodb_uri: self.mongodb(authority),
            kafka_brokers: self.servers.kafka_brokers.clone(),
            postgres_uri: self.target.stack.postgres_uri.clone(),
        }
    }

    fn start(&self, name: &str) -> Result<Program> {
        let mapping = self.file("mapping.yaml").display().to_string();
        let kafka = self.kafka("ca.crt");
        let arguments = [
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
        let log = (self.folder.path().join(format!("{name}.log")), "info");
        Program::start(name, name, &arguments, &self.stack("ca.crt"), log)
    }

    /// Runs a program to its end.
    async fn ended(&self, program: &str, words: &[&str], authority: &str) -> Result<Output> {
        let stack = self.stack(authority);
        let mut command = Command::new(program::find(program)?);
        command
            .args(words)
            .env("LEAFCUTTER_MAPPING", self.file("mapping.yaml"))
            .env("LEAFCUTTER_PREFIX", &self.name)
            .env("LEAFCUTTER_ADMIN", "127.0.0.1:0")
            .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEAFCUTTER_KAFKA", self.kafka(authority))
            .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri);
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// Producer, consumer and the tool end with code 4, and each says these words of MongoDB and Kafka.
    async fn is_refused(&self, authority: &str, of_mongodb: &str, of_kafka: &str) -> Result<()> {
        let programs = [
            (
                "leafcutter-producer",
                &["run"][..],
                vec![of_mongodb, of_kafka],
            ),
            ("leafcutter-consumer", &["run"][..], vec![of_kafka]),
            ("leafcutter", &["peek", "things"][..], vec![of_kafka]),
            (
                "leafcutter",
                &["draft", "--database", "shop"][..],
                vec![of_mongodb],
            ),
        ];
        // Each waits for some seconds before it gives up.
        let all = programs.into_iter().map(async |(program, words, reasons)| {
            let done = self.ended(program, words, authority).await?;
            let said = String::from_utf8_lossy(&done.stderr);
            // Lines are broken where the terminal's would be.
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            let told = reasons.iter().all(|reason| said.contains(reason));
            if done.status.code() == Some(4) && told {
                return Ok(());
            }
            Err(Failure::new(format!(
                "{program} {words:?}: {:?}, not {reasons:?}: {said}",
                done.status
            )))
        });
        try_join_all(all).await.map(drop)
    }
}

/// Connections of this server that TLS 1.2 or 1.3 protects.
async fn protected(uri: &str) -> Result<i64> {
    let client = Client::with_uri_str(uri).await?;
    let admin = client.database("admin");
    let status = admin.run_command(doc! { "serverStatus": 1 }).await?;
    let counts = status.get_document("transportSecurity")?;
    let count = |version: &str| counts.get_i64(version).unwrap_or_default();
    Ok(count("1.2") + count("1.3"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_goes_over_tls_and_another_authority_is_refused() -> Result<()> {
    let secure = Secure::new("127.0.0.1").await?;
    let before = protected(&secure.servers.mongodb_uri).await?;
    let client = Client::with_uri_str(&secure.servers.mongodb_uri).await?;
    let things = client.database("shop").collection::<Document>("things");
    things
        .insert_one(doc! { "_id": 1_i64, "name": "old" })
        .await?;
    let mut producer = secure.start("leafcutter-producer")?;
    let mut consumer = secure.start("leafcutter-consumer")?;
    let rows = async |expected: &str, programs: &mut [&mut Program]| {
        let client = secure.target.stack.postgres().await?;
        probe::until(PATIENCE, expected, async || {
            for program in &mut *programs {
                program.check()?;
            }
            let found = Rows::of(&client, "select name from things order by id").await;
            let found = found.map_or_else(|_| String::new(), |rows| rows.text());
            Ok((found == expected).then_some(()))
        })
        .await
    };
    rows("old", &mut [&mut producer, &mut consumer]).await?;
    things
        .update_one(doc! { "_id": 1_i64 }, doc! { "$set": { "name": "new" } })
        .await?;
    rows("new", &mut [&mut producer, &mut consumer]).await?;
    assert!(
        protected(&secure.servers.mongodb_uri).await? > before,
        "MongoDB was not asked over TLS"
    );
    let verified = secure.ended("leafcutter", &["verify"], "ca.crt").await?;
    assert!(verified.status.success(), "{verified:?}");
    consumer.stop(PATIENCE).await?;
    producer.stop(PATIENCE).await?;
    let other = "certificate verify failed";
    secure.is_refused("other.crt", other, other).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_refused() -> Result<()> {
    let secure = Secure::new("elsewhere.example").await?;
    let name = "certificate verify failed";
    secure.is_refused("ca.crt", name, name).await
}

/// What librdkafka finds out at a connection, and would keep to itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_kafka_refuses_is_told() -> Result<()> {
    let kafka = KafkaOfUsers::up(&["app"], "right").await?;
    let folder = tempfile::tempdir()?;
    let mapping = folder.path().join("mapping.yaml");
    fs::write(&mapping, MAPPING)?;
    let login = |mechanism: &str, password: &str| {
        format!(
            "security.protocol=SASL_PLAINTEXT,sasl.mechanism={mechanism},sasl.username=app,sasl.password={password}"
        )
    };
    let cases = [
        (
            login("PLAIN", "canary-wrong"),
            "Authentication failed: Invalid username or password",
        ),
        (
            login("SCRAM-SHA-256", "canary-right"),
            "broker's supported mechanisms: ",
        ),
        (
            login("SCRAM-SHA-512", "canary-wrong"),
            "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
        ),
        (
            "client.id=x".to_owned(),
            "where that listener wants TLS or a login, `security.protocol` in --kafka",
        ),
    ];
    let all = cases.into_iter().map(async |(properties, reason)| {
        let mut command = Command::new(program::find("leafcutter")?);
        command
            .args(["peek", "things", "--kafka", &properties])
            .env("LEAFCUTTER_MAPPING", &mapping)
            .env("LEAFCUTTER_KAFKA_BROKERS", &kafka.brokers_of_users);
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(done.status.code(), Some(4), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("canary"), "{said}");
        Ok(())
    });
    try_join_all(all).await.map(drop)
}
