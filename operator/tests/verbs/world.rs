//! An installation of its own on real servers: a database, topics, a running consumer, and the
//! `leafcutter` program as a person starts it. Records and heartbeats are made by hand.

use bson::{Document, doc};
use clap::Parser as _;
use leafcutter_consumer::{
    pipeline,
    settings::{Cli, Verb},
};
use leafcutter_harness::{
    failure::Attempt as _,
    probe, program,
    record::{self, Made, changed, version},
    rows::Rows,
    stack::Stack,
    target::Target,
    topic,
    world::own_name,
};
use leafcutter_runtime::{
    exit::Exit, kafka::KafkaSettings, report::Failure, secret::Secret, shutdown::Shutdown,
};
use leafcutter_schemas::{
    control::{Control, Heartbeat, SnapshotComplete, SnapshotProgress},
    mapping::parse,
    name,
    operation::Operation,
};
use leafcutter_sink::{
    model::Model,
    session::{self, Session},
    target,
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::AdminOptions,
    producer::{FutureProducer, FutureRecord},
};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// The mappings of real systems.
pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/examples");

/// A name has to be text.
pub(crate) const STRICT: &str = "\
version: 1
database: shop
collections:
  authors:
    table: authors
    key: id
    columns:
      id: { path: _id, type: bigint }
      name: { type: varchar(20), required: true }
  books:
    table: books
    key: id
    columns:
      id: { path: _id, type: bigint }
      title: { type: varchar(20), required: true }
      author_id: { type: bigint, references: { table: authors } }
";

/// Anything becomes text.
pub(crate) fn mended() -> String {
    STRICT.replace("required: true }", "required: true, convert: text }")
}

/// Partitions of each data topic.
pub(crate) const PARTITIONS: i32 = 2;

pub(crate) struct World {
    pub(crate) prefix: String,
    target: Target,
    folder: TempDir,
    producer: FutureProducer,
    kafka: KafkaSettings,
    ends: BTreeMap<String, Vec<i64>>,
    consumer: Option<Running>,
}

pub(crate) struct Running {
    shutdown: Shutdown,
    thread: JoinHandle<Result<Exit, Failure>>,
    admin: SocketAddr,
}

impl Running {
    /// Asks it to end.
    pub(crate) fn ask_to_end(&self) {
        self.shutdown.trigger();
    }

    /// How it ends.
    pub(crate) fn end(self) -> Result<Exit, Failure> {
        self.thread.join().unwrap()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What a page says: its status and its text. Nothing before it is served.
    pub(crate) fn page(&self, path: &str) -> Option<(u16, String)> {
        let mut socket = TcpStream::connect(self.admin).ok()?;
        let asked = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(asked.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
    }

    /// Waits until `/readyz` has this status and says this; alive meanwhile.
    pub(crate) async fn until_ready_says(&self, status: u16, words: &str) {
        let mut last = None;
        let seen = probe::until(Duration::from_secs(60), words, async || {
            last = self.page("/readyz");
            if let Some((live, text)) = self.page("/healthz") {
                assert_eq!(live, 200, "{text}");
            }
            let fits = |(found, text): &(u16, String)| *found == status && text.contains(words);
            Ok(last.as_ref().is_some_and(fits).then_some(()))
        });
        seen.await
            .attempt(&format!("the last was {last:?},"))
            .unwrap();
    }

    /// A counter or gauge of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page("/metrics").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(self) {
        self.shutdown.trigger();
        assert_eq!(self.thread.join().unwrap(), Ok(Exit::Done));
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Every line of JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The one JSON value.
    pub(crate) fn whole(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for line in self.out.lines().chain(self.err.lines()) {
            let fits = line.chars().count() <= 80 || line.starts_with('{') || line.contains('/');
            assert!(fits, "longer than 80 columns: {line}");
        }
        self
    }

    /// Says this on either channel, wherever its lines are broken.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let all = format!("{} {}", self.out, self.err);
        let words = all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            all.contains(text) || words.contains(text),
            "no {text:?} in {all}"
        );
        self
    }

    #[track_caller]
    pub(crate) fn says_nothing_of(self, text: &str) -> Self {
        assert!(
            !self.out.contains(text) && !self.err.contains(text),
            "{text:?} in {self:#?}"
        );
        self
    }
}

impl World {
    /// Servers, topics and a database; no consumer runs, and none has.
    pub(crate) async fn new() -> Self {
        let prefix = own_name("verbs");
        let target = Target::create(Stack::from_env().unwrap(), &prefix)
            .await
            .unwrap();
        let kafka = target.stack.kafka();
        let world = Self {
            producer: kafka.producer_config("test").unwrap().create().unwrap(),
            ends: ["authors", "books"]
                .map(|c| (format!("{prefix}.shop.{c}"), vec![0; 2]))
                .into(),
            prefix,
            target,
            folder: tempfile::tempdir().unwrap(),
            kafka,
            consumer: None,
        };
        world.create_topics().await;
        world.mapping("strict.yaml", STRICT);
        world.mapping("mended.yaml", &mended());
        world
    }

    async fn create_topics(&self) {
        let control = name::control_topic(&self.prefix);
        let mut topics = vec![topic::new(&control, 1).set("cleanup.policy", "compact")];
        topics.extend(self.ends.keys().map(|name| topic::new(name, PARTITIONS)));
        topic::create(&self.kafka, &topics).await.unwrap();
    }

    /// Leafcutter's schema and the target's tables, as a consumer makes them.
    pub(crate) async fn migrate(&self) {
        let mapping = parse::load(STRICT, "strict.yaml").unwrap();
        let model = Model::compile(mapping, &self.prefix).unwrap();
        let config = session::config(&Secret::new(self.uri().to_owned())).unwrap();
        let mut session = Session::open(&config, "test").await.unwrap();
        target::migrate(&mut session, &model, true).await.unwrap();
    }

    fn uri(&self) -> &str {
        &self.target.stack.postgres_uri
    }

    /// Where Kafka is.
    pub(crate) fn kafka(&self) -> &KafkaSettings {
        &self.kafka
    }

    /// Connects to a database in which nobody can be kept out.
    pub(crate) async fn execute_beside(&self, sql: &str) {
        let stack = Stack::from_env().unwrap();
        let client = stack.postgres().await.unwrap();
        client.batch_execute(sql).await.unwrap();
    }

    fn brokers(&self) -> &str {
        &self.target.stack.kafka_brokers
    }

    fn mapping(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn topic(&self, collection: &str) -> String {
        format!("{}.shop.{collection}", self.prefix)
    }

    /// Starts a consumer with this mapping.
    pub(crate) fn start(&mut self, mapping: &str) {
        self.consumer = Some(self.run(mapping));
    }

    /// Starts a consumer beside the world's own.
    pub(crate) fn run(&self, mapping: &str) -> Running {
        self.run_with(mapping, &[])
    }

    /// Starts a consumer with these flags beside the world's own.
    pub(crate) fn run_with(&self, mapping: &str, flags: &[&str]) -> Running {
        let shutdown = Shutdown::new();
        // Free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = free.local_addr().unwrap();
        drop(free);
        let admin_flag = admin.to_string();
        let file = self.file(mapping);
        let words: Vec<String> = [
            "leafcutter-consumer",
            "run",
            "--prefix",
            &self.prefix,
            "--group",
            "g",
            "--kafka-brokers",
            self.brokers(),
            "--postgres-uri",
            self.uri(),
            "--admin",
            &admin_flag,
            "--mapping",
        ]
        .map(str::to_owned)
        .into();
        let words = words.into_iter().chain([file.display().to_string()]);
        let flags = flags.iter().map(|&flag| flag.to_owned());
        let cli = Cli::parse_from(words.chain(flags));
        let Verb::Run(settings) = cli.verb;
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(Box::pin(pipeline::run(*settings, stop)))
        });
        Running {
            shutdown,
            thread,
            admin,
        }
    }

    /// Stops it.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.consumer.take() {
            running.stop();
        }
    }

    /// Sends a record; gives its offset.
    pub(crate) async fn send(&mut self, partition: i32, record: &Made) -> i64 {
        let topic = self.topic(record.collection);
        let key = record.key.as_str().as_bytes();
        let sent = FutureRecord::to(&topic)
            .partition(partition)
            .key(key)
            .payload(&record.value);
        let sent = self
            .producer
            .send(sent, Duration::from_secs(20))
            .await
            .unwrap();
        let end = &mut self.ends.get_mut(&topic).unwrap()[usize::try_from(partition).unwrap()];
        *end = sent.offset + 1;
        sent.offset
    }

    /// Says that every snapshot is complete and that everything up to now is in Kafka.
    pub(crate) async fn complete(&self) {
        for collection in ["authors", "books"] {
            let topic = self.topic(collection);
            self.control(&Control::SnapshotComplete(SnapshotComplete {
                complete_time: version(1),
                documents: 1,
                ..record::snapshot_complete(collection, &topic, self.ends[&topic].clone())
            }))
            .await;
        }
        self.heartbeat(now() / 1000).await;
    }

    /// Says that everything up to this second is in Kafka.
    pub(crate) async fn heartbeat(&self, second: i64) {
        let progress = |collection: &str| SnapshotProgress {
            topic: self.topic(collection),
            documents_estimated: 40,
            documents_read: 10,
            splits_done: 1,
            splits: 4,
        };
        self.control(&Control::Heartbeat(Heartbeat {
            sent_at: now(),
            offsets: self.ends.clone(),
            snapshots: ["authors", "books"]
                .map(|c| (c.to_owned(), progress(c)))
                .into(),
            ..record::heartbeat(version(second << 31))
        }))
        .await;
    }

    async fn control(&self, control: &Control) {
        let topic = name::control_topic(&self.prefix);
        let (key, value) = (control.key(), control.value().unwrap());
        let record = FutureRecord::to(&topic).key(&key).payload(&value);
        self.producer
            .send(record, Duration::from_secs(20))
            .await
            .unwrap();
    }

    /// Waits until everything sent is taken by the group.
    pub(crate) async fn applied(&self) {
        let whole: i64 = self.ends.values().flatten().sum();
        let sum = "select coalesce(sum(next_offset), 0)::text from leafcutter.offsets";
        self.wait_for(sum, &whole.to_string()).await;
    }

    /// Waits until a query gives this text.
    pub(crate) async fn wait_for(&self, sql: &str, expected: &str) {
        let mut last = String::new();
        let seen = probe::until(Duration::from_secs(60), expected, async || {
            if let Some(running) = &self.consumer {
                assert!(!running.thread.is_finished(), "the consumer ended");
            }
            let told = self.try_text(sql).await;
            last = told.unwrap_or_else(|error| error.to_string());
            Ok((last == expected).then_some(()))
        });
        seen.await
            .attempt(&format!("see what `{sql}` gives, `{last}` at the end,"))
            .unwrap();
    }

    async fn try_text(&self, sql: &str) -> leafcutter_harness::failure::Result<String> {
        let client = self.target.stack.postgres().await?;
        Ok(Rows::of(&client, sql).await?.text())
    }

    /// The rows of a query.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.try_text(sql).await.unwrap()
    }

    /// Runs `leafcutter` with the strict mapping, or another one if the words name it.
    pub(crate) fn leafcutter(&self, words: &[&str]) -> Said {
        let strict = self.file("strict.yaml");
        self.leafcutter_with(&strict, words)
    }

    /// Runs `leafcutter` with this mapping.
    pub(crate) fn leafcutter_with(&self, mapping: &Path, words: &[&str]) -> Said {
        Said::of(self.command(mapping, words).output().unwrap())
    }

    fn command(&self, mapping: &Path, words: &[&str]) -> Command {
        let mut command = Command::new(program::find("leafcutter").unwrap());
        command
            .args(words)
            .env("LEAFCUTTER_POSTGRES_URI", self.uri())
            .env("LEAFCUTTER_KAFKA_BROKERS", self.brokers())
            .env("LEAFCUTTER_PREFIX", &self.prefix)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_MAPPING", mapping);
        command
    }

    /// Starts `leafcutter` with the strict mapping; what it says can be read.
    pub(crate) fn leafcutter_started(&self, words: &[&str]) -> Child {
        let mut command = self.command(&self.file("strict.yaml"), words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Removes the records below an offset, as retention does.
    pub(crate) async fn cut_off(&self, collection: &str, partition: i32, offset: i64) {
        let mut below = TopicPartitionList::new();
        let offset = Offset::Offset(offset);
        below
            .add_partition_offset(&self.topic(collection), partition, offset)
            .unwrap();
        topic::admin(&self.kafka)
            .unwrap()
            .delete_records(&below, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// What `status --watch` shows up to a line with this text, if it comes within a minute.
    pub(crate) fn watch_until(&self, text: &str) -> String {
        let mut child = self.leafcutter_started(&["status", "--watch", "1s"]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (show, shown) = mpsc::channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| show.send(line))
        });
        let mut all = String::new();
        while !all.contains(text)
            && let Ok(line) = shown.recv_timeout(Duration::from_secs(60))
        {
            all += &format!("{line}\n");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        all
    }

    /// Takes everything away again.
    pub(crate) async fn end(mut self) {
        self.stop();
        topic::delete_all(&self.kafka, &self.prefix).await.unwrap();
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// An author as the source had it at `second`.
pub(crate) fn author(id: i64, second: i64, name: impl Into<bson::Bson>) -> Made {
    made("authors", second, doc! { "_id": id, "name": name.into() })
}

/// One so large that nothing else is in what is fetched of Kafka with it.
pub(crate) fn large_author(id: i64, second: i64, name: &str) -> Made {
    let filler = "x".repeat(600_000);
    made(
        "authors",
        second,
        doc! { "_id": id, "name": name, "filler": filler },
    )
}

/// A book as the source had it at `second`.
pub(crate) fn book(id: i64, second: i64, title: impl Into<bson::Bson>, author: i64) -> Made {
    made(
        "books",
        second,
        doc! { "_id": id, "title": title.into(), "author_id": author },
    )
}

fn made(collection: &'static str, second: i64, document: Document) -> Made {
    changed(collection, Operation::Update, second << 31, document)
}
