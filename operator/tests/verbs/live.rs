//! A migration that runs: a source of its own, a producer and a consumer in this process, and `leafcutter`
//! beside them.

use crate::world::Said;
use bson::{Document, doc};
use clap::Parser as _;
use leafcutter_consumer::{pipeline, settings as consumer};
use leafcutter_harness::{
    failure::Attempt as _, mongod::Mongod, probe, program, rows::Rows, stack::Stack,
    target::Target, topic, world::own_name,
};
use leafcutter_producer::settings as producer;
use leafcutter_runtime::{exit::Exit, report::Failure, shutdown::Shutdown};
use mongodb::{Client, Collection, Database};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    consumer::{BaseConsumer, Consumer as _},
};
use std::{
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(90);

/// A program that runs in this process.
pub(crate) struct Running {
    shutdown: Shutdown,
    thread: JoinHandle<Result<Exit, Failure>>,
}

impl Running {
    fn start(
        work: impl Future<Output = Result<Exit, Failure>> + Send + 'static,
        shutdown: Shutdown,
    ) -> Self {
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let ended = runtime.block_on(Box::pin(work));
            // Where nobody expects its end, this says why.
            if let Err(failure) = &ended {
                let said = writeln!(std::io::stderr(), "{failure}");
                said.unwrap_or_default();
            }
            ended
        });
        Self { shutdown, thread }
    }

    /// Stops it.
    pub(crate) fn stop(self) {
        self.shutdown.trigger();
        assert_eq!(self.thread.join().unwrap(), Ok(Exit::Done));
    }

    /// How it ends by itself.
    pub(crate) async fn ended(self) -> (Exit, String) {
        probe::until(PATIENCE, "the program to end", async || {
            Ok(self.thread.is_finished().then_some(()))
        })
        .await
        .unwrap();
        match self.thread.join().unwrap() {
            Ok(exit) => (exit, String::new()),
            Err(failure) => {
                let text = failure.to_string();
                let words: Vec<&str> = text.split_whitespace().collect();
                (failure.exit, words.join(" "))
            }
        }
    }
}

pub(crate) struct Live {
    pub(crate) prefix: String,
    pub(crate) database: Database,
    pub(crate) target: Target,
    folder: TempDir,
    mongod: Option<Mongod>,
}

impl Live {
    /// On the servers of the environment.
    pub(crate) async fn new() -> Self {
        let stack = Stack::from_env().unwrap();
        Self::on(stack, None).await
    }

    /// With a replica set of its own, whose oplog is small.
    pub(crate) async fn with_small_oplog() -> Self {
        let settings = ["--replSet", "rs", "--oplogSize", "8", "--syncdelay", "1"];
        let mongod = Mongod::start(&settings).await.unwrap();
        let member = format!("127.0.0.1:{}", mongod.port);
        let config = doc! { "_id": "rs", "members": [{ "_id": 0, "host": &member }] };
        let initiate = doc! { "replSetInitiate": config };
        mongod.ask(None, "admin", initiate).await.unwrap();
        let mut stack = mongod.instead_of(Stack::from_env().unwrap());
        stack.mongodb_uri = format!("mongodb://{member}/?replicaSet=rs");
        Self::on(stack, Some(mongod)).await
    }

    async fn on(stack: Stack, mongod: Option<Mongod>) -> Self {
        let prefix = own_name("again");
        let target = Target::create(stack, &prefix).await.unwrap();
        let client: Client = target.stack.mongodb().await.unwrap();
        Self {
            database: client.database(&prefix),
            folder: tempfile::tempdir().unwrap(),
            prefix,
            target,
            mongod,
        }
    }

    /// Writes the mapping of these collections.
    pub(crate) fn map(&self, collections: &str) {
        let database = self.database.name();
        let text = format!("version: 1\ndatabase: {database}\ncollections:\n{collections}");
        std::fs::write(self.mapping(), text).unwrap();
    }

    fn mapping(&self) -> PathBuf {
        self.file("mapping.yaml")
    }

    /// A file of this test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) fn topic(&self, collection: &str) -> String {
        format!("{}.{}.{collection}", self.prefix, self.database.name())
    }

    fn words(&self, program: &str, flags: &[&str]) -> Vec<String> {
        let mapping = self.mapping().display().to_string();
        let words = [
            program,
            "run",
            "--prefix",
            &self.prefix,
            "--mapping",
            &mapping,
            "--kafka-brokers",
            &self.target.stack.kafka_brokers,
        ];
        let words = words.into_iter().chain(flags.iter().copied());
        words.map(str::to_owned).collect()
    }

    /// Starts a producer.
    pub(crate) fn producer(&self, flags: &[&str]) -> Running {
        let own = [
            "--mongodb-uri",
            &self.target.stack.mongodb_uri,
            "--partitions",
            "2",
            "--checkpoint-interval",
            "100ms",
            "--heartbeat-interval",
            "100ms",
        ];
        let words = self.words("leafcutter-producer", &[&own, flags].concat());
        let settings = producer::Settings::check(producer::Cli::parse_from(words)).unwrap();
        let shutdown = Shutdown::new();
        Running::start(
            leafcutter_producer::run(settings, shutdown.clone()),
            shutdown,
        )
    }

    /// Starts a consumer.
    pub(crate) fn consumer(&self) -> Running {
        self.consumer_of("g", &[])
    }

    /// Starts a consumer of a group.
    pub(crate) fn consumer_of(&self, group: &str, flags: &[&str]) -> Running {
        let uri = &self.target.stack.postgres_uri;
        let own = ["--postgres-uri", uri, "--group", group];
        let words = self.words("leafcutter-consumer", &[&own, flags].concat());
        let consumer::Verb::Run(settings) = consumer::Cli::parse_from(words).verb;
        let shutdown = Shutdown::new();
        Running::start(pipeline::run(*settings, shutdown.clone()), shutdown)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program::find("leafcutter").unwrap());
        command.args(words);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        let stack = &self.target.stack;
        command
            .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
            .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEAFCUTTER_PREFIX", &self.prefix)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_MAPPING", self.mapping());
    }

    /// Runs `leafcutter` on a terminal of 80 columns, on which a person types this line.
    pub(crate) async fn typed(&self, words: &[&str], line: &str) -> Said {
        let program = program::find("leafcutter").unwrap();
        let words = format!("stty cols 80; {} {}", program.display(), words.join(" "));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
        self.surround(&mut command);
        command
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let line = format!("{line}\n");
        let ran = tokio::task::spawn_blocking(move || {
            let mut typing = child.stdin.take().unwrap();
            typing.write_all(line.as_bytes()).unwrap();
            let output = child.wait_with_output();
            drop(typing);
            output
        });
        Said::of(ran.await.unwrap().unwrap())
    }

    /// Runs `leafcutter`, while other tasks of the test go on.
    pub(crate) async fn leafcutter(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        let ran = tokio::task::spawn_blocking(move || command.output());
        Said::of(ran.await.unwrap().unwrap())
    }

    /// Runs `leafcutter` where nobody has said where Kafka is.
    pub(crate) async fn without_kafka(&self, words: &[&str]) -> Said {
        let mut command = self.command(words);
        command.env_remove("LEAFCUTTER_KAFKA_BROKERS");
        let ran = tokio::task::spawn_blocking(move || command.output());
        Said::of(ran.await.unwrap().unwrap())
    }

    /// Starts `leafcutter`.
    pub(crate) fn started(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// What a query of PostgreSQL gives: cells apart by `|`, rows by blanks.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.try_text(sql).await.unwrap()
    }

    async fn try_text(&self, sql: &str) -> leafcutter_harness::failure::Result<String> {
        let client = self.target.stack.postgres().await?;
        Ok(Rows::of(&client, sql).await?.text())
    }

    /// Waits until a query gives this text.
    pub(crate) async fn wait_for(&self, sql: &str, expected: &str) {
        let mut last = String::new();
        let seen = probe::until(PATIENCE, expected, async || {
            let told = self.try_text(sql).await;
            last = told.unwrap_or_else(|error| error.to_string());
            Ok((last == expected).then_some(()))
        });
        seen.await
            .attempt(&format!("see what `{sql}` gives, `{last}` at the end,"))
            .unwrap();
    }

    /// Waits until so many records are in a topic; gives where its partitions end.
    pub(crate) async fn until_sent(&self, collection: &str, records: i64) -> Vec<i64> {
        let (topic, kafka) = (self.topic(collection), self.target.stack.kafka());
        let consumer: BaseConsumer = kafka.reader_config("test").unwrap().create().unwrap();
        let sent = probe::until(PATIENCE, "the records to be in the topic", async || {
            let end = |p| Some(consumer.fetch_watermarks(&topic, p, PATIENCE).ok()?.1);
            // None while the topic is not there.
            let ends: Option<Vec<i64>> = (0..2).map(end).collect();
            Ok(ends.filter(|ends| ends.iter().sum::<i64>() == records))
        });
        sent.await.unwrap()
    }

    /// Removes the records below these offsets, as retention does.
    pub(crate) async fn cut_off(&self, collection: &str, offsets: &[i64]) {
        let mut below = TopicPartitionList::new();
        for (partition, &offset) in (0..).zip(offsets) {
            let offset = Offset::Offset(offset);
            let topic = self.topic(collection);
            below
                .add_partition_offset(&topic, partition, offset)
                .unwrap();
        }
        topic::admin(&self.target.stack.kafka())
            .unwrap()
            .delete_records(&below, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// Takes everything away again.
    pub(crate) async fn end(self) {
        self.database.drop().await.unwrap();
        let kafka = self.target.stack.kafka();
        topic::delete_all(&kafka, &self.prefix).await.unwrap();
        drop(self.mongod);
    }
}
