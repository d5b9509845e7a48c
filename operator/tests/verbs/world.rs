//! An installation of its own on real servers: a database, topics, a running consumer, and the
//! `leafcutter` program as a person starts it. Records and heartbeats are made by hand.

use bson::{Document, RawDocumentBuf, doc};
use clap::Parser as _;
use leafcutter_consumer::{
    model::Model,
    pipeline,
    settings::{Cli, Verb},
    sink::{
        migrations,
        session::{self, Session},
    },
};
use leafcutter_runtime::{
    exit::Exit, kafka::KafkaSettings, report::Failure, secret::Secret, shutdown::Shutdown,
};
use leafcutter_schemas::{
    codec::avro,
    control::{Control, Heartbeat, SnapshotComplete, SnapshotProgress},
    envelope::{Envelope, Source},
    key::DocumentKey,
    mapping::parse,
    name,
    operation::Operation,
    version::Version,
};
use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    config::FromClientConfig as _,
    producer::{FutureProducer, FutureRecord},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};
use uuid::Uuid;

/// The mappings of real systems.
pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/examples");

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
    pub(crate) uri: String,
    pub(crate) brokers: String,
    database: String,
    admin_uri: String,
    folder: PathBuf,
    producer: FutureProducer,
    kafka: KafkaSettings,
    ends: BTreeMap<String, Vec<i64>>,
    consumer: Option<Running>,
}

pub(crate) struct Running {
    shutdown: Shutdown,
    thread: JoinHandle<Result<Exit, Failure>>,
}

impl Running {
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

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

pub(crate) fn version(number: i64) -> Version {
    Version::from_i64(number).unwrap()
}

impl World {
    /// Servers, topics and a database; no consumer runs, and none has.
    pub(crate) async fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        let (prefix, database) = (
            format!("op{}", &id[..10]),
            format!("operator_{}", &id[..10]),
        );
        let admin_uri = setting("LEAFCUTTER_POSTGRES_URI");
        let brokers = setting("LEAFCUTTER_KAFKA_BROKERS");
        let admin = session::config(&Secret::new(admin_uri.clone())).unwrap();
        let client = session::connect(&admin, "test").await.unwrap();
        client
            .batch_execute(&format!("create database {database}"))
            .await
            .unwrap();
        let (server, _) = admin_uri.rsplit_once('/').unwrap();
        let kafka = KafkaSettings::new(brokers.clone());
        let folder = std::env::temp_dir().join(&database);
        std::fs::create_dir_all(&folder).unwrap();
        let world = Self {
            uri: format!("{server}/{database}"),
            producer: kafka.producer_config("test").unwrap().create().unwrap(),
            ends: ["authors", "books"]
                .map(|c| (format!("{prefix}.shop.{c}"), vec![0; 2]))
                .into(),
            prefix,
            brokers,
            database,
            admin_uri,
            folder,
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
        let mut topics = vec![
            NewTopic::new(&control, 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact"),
        ];
        let data: Vec<&String> = self.ends.keys().collect();
        topics.extend(
            data.iter()
                .map(|topic| NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1))),
        );
        let results = self
            .admin()
            .create_topics(&topics, &AdminOptions::new())
            .await
            .unwrap();
        for result in results {
            result.unwrap();
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        AdminClient::from_config(&self.kafka.admin_config("test").unwrap()).unwrap()
    }

    /// Leafcutter's schema and the target's tables, as a consumer makes them.
    pub(crate) async fn migrate(&self) {
        let mapping = parse::load(STRICT, "strict.yaml").unwrap();
        let model = Model::compile(mapping, &self.prefix).unwrap();
        let config = session::config(&Secret::new(self.uri.clone())).unwrap();
        let mut session = Session::open(&config, "test").await.unwrap();
        migrations::migrate(&mut session, &model, true)
            .await
            .unwrap();
    }

    fn mapping(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
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
        let shutdown = Shutdown::new();
        let file = self.file(mapping);
        let words: Vec<String> = [
            "leafcutter-consumer",
            "run",
            "--prefix",
            &self.prefix,
            "--group",
            "g",
            "--kafka-brokers",
            &self.brokers,
            "--postgres-uri",
            &self.uri,
            "--mapping",
        ]
        .map(str::to_owned)
        .into();
        let cli = Cli::parse_from(words.into_iter().chain([file.display().to_string()]));
        let Verb::Run(settings) = cli.verb else {
            panic!("not `run`")
        };
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(Box::pin(pipeline::run(*settings, stop)))
        });
        Running { shutdown, thread }
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
                producer: "p".to_owned(),
                run: "r".to_owned(),
                collection: collection.to_owned(),
                offsets: self.ends[&topic].clone(),
                topic,
                complete_time: version(1),
                documents: 1,
                snapshot: true,
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
            producer: "p".to_owned(),
            run: "r".to_owned(),
            time: version(second << 31),
            low_water: Version::ZERO,
            sent_at: now(),
            offsets: self.ends.clone(),
            snapshots: ["authors", "books"]
                .map(|c| (c.to_owned(), progress(c)))
                .into(),
            polled: false,
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
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < Duration::from_secs(60) {
            if let Some(running) = &self.consumer {
                assert!(!running.thread.is_finished(), "the consumer ended");
            }
            last = self
                .try_text(sql)
                .await
                .unwrap_or_else(|error| error.to_string());
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql}: {last} instead of {expected}");
    }

    async fn try_text(&self, sql: &str) -> Result<String, tokio_postgres::Error> {
        let config = session::config(&Secret::new(self.uri.clone())).unwrap();
        let client = session::connect(&config, "test").await.unwrap();
        let mut lines = Vec::new();
        for message in client.simple_query(sql).await? {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|i| row.get(i).unwrap_or("null").to_owned());
                lines.push(cells.collect::<Vec<_>>().join("|"));
            }
        }
        Ok(lines.join(" "))
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
        let output = Command::new(env!("CARGO_BIN_EXE_leafcutter"))
            .args(words)
            .env("LEAFCUTTER_POSTGRES_URI", &self.uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &self.brokers)
            .env("LEAFCUTTER_PREFIX", &self.prefix)
            .env("LEAFCUTTER_GROUP", "g")
            .env("LEAFCUTTER_MAPPING", mapping)
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Removes the records below an offset, as retention does.
    pub(crate) async fn cut_off(&self, collection: &str, partition: i32, offset: i64) {
        let mut below = TopicPartitionList::new();
        let offset = Offset::Offset(offset);
        below
            .add_partition_offset(&self.topic(collection), partition, offset)
            .unwrap();
        self.admin()
            .delete_records(&below, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// What `status --watch` shows within three seconds.
    pub(crate) fn watch_once(&self) -> String {
        let mut child = Command::new(env!("CARGO_BIN_EXE_leafcutter"))
            .args([
                "status",
                "--watch",
                "1",
                "--group",
                "g",
                "--prefix",
                &self.prefix,
            ])
            .args([
                "--kafka-brokers",
                &self.brokers,
                "--postgres-uri",
                &self.uri,
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(3));
        child.kill().unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    /// Takes everything away again.
    pub(crate) async fn end(mut self) {
        self.stop();
        let config = session::config(&Secret::new(self.admin_uri.clone())).unwrap();
        let client = session::connect(&config, "test").await.unwrap();
        let drop = format!("drop database {} with (force)", self.database);
        client.batch_execute(&drop).await.unwrap();
        let control = name::control_topic(&self.prefix);
        let letters: Vec<String> = self
            .ends
            .keys()
            .map(|t| name::dead_letter_topic(t))
            .collect();
        let all = self.ends.keys().chain(&letters).chain([&control]);
        let all: Vec<&str> = all.map(String::as_str).collect();
        self.admin()
            .delete_topics(&all, &AdminOptions::new())
            .await
            .unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A record made by hand.
pub(crate) struct Made {
    collection: &'static str,
    key: DocumentKey,
    value: Vec<u8>,
}

/// An author as the source had it at `second`.
pub(crate) fn author(id: i64, second: i64, name: impl Into<bson::Bson>) -> Made {
    made("authors", second, &doc! { "_id": id, "name": name.into() })
}

/// A book as the source had it at `second`.
pub(crate) fn book(id: i64, second: i64, title: impl Into<bson::Bson>, author: i64) -> Made {
    made(
        "books",
        second,
        &doc! { "_id": id, "title": title.into(), "author_id": author },
    )
}

fn made(collection: &'static str, second: i64, document: &Document) -> Made {
    let key = RawDocumentBuf::try_from(&doc! { "_id": document.get("_id") }).unwrap();
    let document = RawDocumentBuf::try_from(document).unwrap();
    let at = version(second << 31);
    let mut value = Vec::new();
    let envelope = Envelope {
        operation: Operation::Update,
        key: key.as_bytes(),
        document: Some(document.as_bytes()),
        version: at,
        as_of: at,
        source: Source {
            database: "shop",
            collection,
            cluster_time: at,
            wall_time: None,
            snapshot: false,
            transaction: None,
        },
        run: "r",
    };
    avro::encode(&envelope, &mut value);
    Made {
        collection,
        key: DocumentKey::of_document(&key).unwrap(),
        value,
    }
}
