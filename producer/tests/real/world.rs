//! One test's own database, topics and producers.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bson::{Document, doc};
use clap::Parser;
use leafcutter_harness::{probe, program, stack::Stack, topic, world::own_name};
use leafcutter_producer::settings::{Cli, Settings};
use leafcutter_producer::source::clock::Clock;
use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::kafka::{KafkaSettings, read_compacted};
use leafcutter_runtime::report::Failure;
use leafcutter_runtime::shutdown::Shutdown;
use leafcutter_runtime::telemetry::LogFormat;
use leafcutter_schemas::control::{Control, Heartbeat, SnapshotComplete};
use mongodb::{Client, Collection, Database};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// A producer that runs inside the test.
pub(crate) struct Running {
    shutdown: Shutdown,
    task: JoinHandle<Result<Exit, Failure>>,
}

impl Running {
    /// Asks it to stop, and waits.
    pub(crate) async fn stop(self) -> Result<Exit, Failure> {
        self.shutdown.trigger();
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> Result<Exit, Failure> {
        tokio::time::timeout(Duration::from_secs(60), self.task)
            .await
            .expect("it ends within a minute")
            .expect("it does not panic")
    }

    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }
}

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) database: Database,
    pub(crate) prefix: String,
    pub(crate) kafka: KafkaSettings,
    folder: TempDir,
    flags: Vec<String>,
    /// The dates of collections that are polled; empty where a stream is followed.
    poll_by: &'static str,
}

impl World {
    /// A world whose mapping has these collections.
    pub(crate) async fn new(test: &str, collections: &[&str]) -> Self {
        Self::build(test, collections, "").await
    }

    /// A world whose collections are polled by these dates, five times a second.
    pub(crate) async fn polled(test: &str, collections: &[&str], by: &'static str) -> Self {
        let mut world = Self::build(test, collections, by).await;
        world.flag("capture", "poll");
        world.flag("poll-interval", "200ms");
        world
    }

    async fn build(test: &str, collections: &[&str], poll_by: &'static str) -> Self {
        // `LEAFCUTTER_TEST_LOG=debug` shows what the producers inside the tests say.
        if let Ok(level) = std::env::var("LEAFCUTTER_TEST_LOG") {
            leafcutter_runtime::telemetry::init("tests", LogFormat::Plain, &level, None).ok();
        }
        let stack = Stack::from_env().expect("servers");
        let name = own_name(test);
        let client = stack.mongodb().await.expect("a MongoDB client");
        let mut world = Self {
            database: client.database(&name),
            client,
            prefix: format!("prodtest.{name}"),
            kafka: stack.kafka(),
            stack,
            folder: tempfile::tempdir().expect("a folder"),
            flags: Vec::new(),
            poll_by,
        };
        world.map(collections);
        world
    }

    /// Writes a mapping with these collections.
    pub(crate) fn map(&mut self, collections: &[&str]) {
        let mut text = format!(
            "version: 1\ndatabase: {}\ncollections:\n",
            self.database.name()
        );
        for name in collections {
            let by = self.poll_by;
            let by = match by {
                "" => String::new(),
                by => format!("    poll_by: {by}\n"),
            };
            text += &format!(
                "  {name}:\n{by}    table: t_{name}\n    key: id\n    columns:\n      id: {{ path: _id, \
                 type: uuid, convert: uuid-v5 }}\n"
            );
        }
        std::fs::write(self.mapping(), text).expect("the mapping is written");
    }

    fn mapping(&self) -> PathBuf {
        self.folder.path().join("mapping.yaml")
    }

    /// A flag for every producer that is started from now on.
    pub(crate) fn flag(&mut self, name: &str, value: &str) {
        self.flags.push(format!("--{name}"));
        self.flags.push(value.to_owned());
    }

    /// Gives a flag that was given another value.
    pub(crate) fn replace_flag(&mut self, name: &str, value: &str) {
        let name = format!("--{name}");
        let place = self.flags.iter().position(|flag| *flag == name);
        self.flags[place.expect("the flag was given") + 1] = value.to_owned();
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    pub(crate) fn topic(&self, collection: &str) -> String {
        format!("{}.{}.{collection}", self.prefix, self.database.name())
    }

    pub(crate) fn producer_name(&self) -> String {
        let name = format!("{}.{}", self.prefix, self.database.name());
        match self.poll_by {
            "" => name,
            _ => format!("{name}.poll"),
        }
    }

    fn arguments(&self, verb: &str) -> Vec<String> {
        let mut arguments = vec!["leafcutter-producer".to_owned(), verb.to_owned()];
        arguments.extend(["--mapping".to_owned(), self.mapping().display().to_string()]);
        arguments.extend(["--prefix".to_owned(), self.prefix.clone()]);
        arguments.extend(["--heartbeat-interval".to_owned(), "50ms".to_owned()]);
        arguments.extend(["--checkpoint-interval".to_owned(), "100ms".to_owned()]);
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    pub(crate) fn settings(&self, verb: &str) -> Settings {
        self.checked(verb).expect("the settings are sound")
    }

    /// The settings, or everything that is wrong with them.
    pub(crate) fn checked(&self, verb: &str) -> Result<Settings, Failure> {
        Settings::check(Cli::try_parse_from(self.arguments(verb)).expect("the flags are known"))
    }

    /// Starts a producer inside the test.
    pub(crate) fn start(&self, verb: &str) -> Running {
        let shutdown = Shutdown::new();
        let settings = self.settings(verb);
        let run = leafcutter_producer::run(settings, shutdown.clone());
        Running {
            task: tokio::spawn(run),
            shutdown,
        }
    }

    /// Starts a producer as a process of its own, for those that get killed.
    pub(crate) fn spawn(&self, verb: &str) -> Child {
        let log = self.folder.path().join("producer.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        Command::new(program::find("leafcutter-producer").unwrap())
            .args(&self.arguments(verb)[1..])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the producer starts")
    }

    /// Whether a process of this world has logged this.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        let log = std::fs::read_to_string(self.folder.path().join("producer.log"));
        log.is_ok_and(|log| log.contains(text))
    }

    fn control(&self) -> Vec<Control> {
        let topic = leafcutter_schemas::name::control_topic(&self.prefix);
        let records = read_compacted(&self.kafka, &topic).unwrap_or_default();
        let read =
            |(key, value): (&Vec<u8>, &Vec<u8>)| Control::read(key, value).expect("readable");
        records.iter().map(read).collect()
    }

    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        self.control()
            .into_iter()
            .find_map(|control| match control {
                Control::Heartbeat(heartbeat) => Some(heartbeat),
                Control::SnapshotComplete(_) => None,
            })
    }

    /// Every heartbeat that compaction has left.
    pub(crate) fn heartbeats(&self) -> Vec<Heartbeat> {
        let topic = leafcutter_schemas::name::control_topic(&self.prefix);
        let controls = self
            .raw(&topic)
            .into_iter()
            .filter_map(|raw| Some(Control::read(&raw.key, &raw.value?).expect("readable")));
        let beats = controls.filter_map(|control| match control {
            Control::Heartbeat(beat) => Some(beat),
            Control::SnapshotComplete(_) => None,
        });
        beats.collect()
    }

    pub(crate) fn complete(&self, collection: &str) -> Option<SnapshotComplete> {
        self.control()
            .into_iter()
            .find_map(|control| match control {
                Control::SnapshotComplete(complete) if complete.collection == collection => {
                    Some(complete)
                }
                _ => None,
            })
    }

    /// Writes documents.
    pub(crate) async fn insert(
        &self,
        collection: &str,
        documents: impl IntoIterator<Item = Document>,
    ) {
        let inserted = self.collection(collection).insert_many(documents).await;
        inserted.expect("documents");
    }

    /// Changes every document of a collection.
    pub(crate) async fn change_all(&self, collection: &str) {
        let change = doc! { "$inc": { "n": 1 } };
        let collection = self.collection(collection);
        let changed = collection.update_many(doc! {}, change).await;
        changed.expect("changes");
    }

    /// Runs a producer until these snapshots are complete and its stream has caught up.
    pub(crate) async fn catch_up(&self, collections: &[&str]) {
        let producer = self.start("run");
        for name in collections {
            self.until_complete(name).await;
        }
        self.until_caught_up().await;
        assert_eq!(producer.stop().await.expect("it stops"), Exit::Done);
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let held = probe::until(Duration::from_secs(60), what, async || {
            Ok(holds().then_some(()))
        });
        held.await.unwrap();
    }

    /// Waits until the producer has told heartbeats, and written checkpoints, for another while.
    pub(crate) async fn until_later_heartbeats(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let later = i64::try_from(now.as_millis()).unwrap() + 500;
        let told = || self.heartbeat().is_some_and(|beat| beat.sent_at > later);
        self.until("later heartbeats are told", told).await;
    }

    pub(crate) async fn until_complete(&self, collection: &str) -> SnapshotComplete {
        self.until("the snapshot is complete", || {
            self.complete(collection).is_some()
        })
        .await;
        self.complete(collection).expect("it is there")
    }

    /// Waits until a heartbeat has reached what the source has now. A write pushes it: a quiet
    /// source moves its time only every ten seconds.
    pub(crate) async fn until_caught_up(&self) {
        let now = leafcutter_producer::source::reply::server_time(&self.client)
            .await
            .expect("the source's time");
        self.database
            .collection::<Document>("nudge")
            .insert_one(doc! {})
            .await
            .expect("a write");
        let caught_up = || {
            self.heartbeat()
                .is_some_and(|beat| beat.time >= now.operation)
        };
        self.until("a heartbeat has caught up", caught_up).await;
    }

    /// Waits until a poll has ended that began after now.
    pub(crate) async fn until_polled(&self) {
        let now = Clock::Wall.now(&self.client).await.expect("the time").bound;
        let polled = || self.heartbeat().is_some_and(|beat| beat.time >= now);
        self.until("a later poll has ended", polled).await;
    }

    /// Removes everything.
    pub(crate) async fn end(self) {
        self.database.drop().await.expect("the database is dropped");
        topic::delete_all(&self.kafka, &self.prefix).await.unwrap();
    }
}

/// Stops a child process with SIGKILL, which it cannot see coming.
pub(crate) fn kill(mut child: Child) {
    child.kill().expect("it was running");
    child.wait().expect("it is gone");
}
