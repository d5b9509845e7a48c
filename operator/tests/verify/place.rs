//! A place of its own on real servers: databases, topics, a producer and a consumer as they are started by
//! a person, and `leafcutter verify` beside them.

use bson::{Document, doc};
use leafcutter_harness::{fleet::Fleet, probe, program, stack::Stack, world::World};
use std::{process::Command, time::Duration};

pub(crate) struct Place {
    world: World,
    fleet: Fleet,
    out: tempfile::TempDir,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    differences: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        for line in self.out.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "no {text:?} in {}{}",
            self.out,
            self.err
        );
        self
    }

    /// The differences in the file.
    pub(crate) fn lines(&self) -> Vec<serde_json::Value> {
        self.differences
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Somebody who writes all the time.
pub(crate) struct Traffic {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<u64>,
}

impl Traffic {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        assert!(
            self.task.await.unwrap() > 100,
            "too little was written to prove anything"
        );
    }
}

impl Place {
    pub(crate) async fn new(mapping: &str, name: &str) -> Self {
        let stack = Stack::from_env().unwrap();
        let world = World::new(mapping, stack, &format!("verify_{name}"))
            .await
            .unwrap();
        let fleet = Fleet::new(&world.place, &world.group, &[]);
        Self {
            world,
            fleet,
            out: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts a producer and a consumer.
    pub(crate) async fn start(&self) {
        self.fleet.first_producer().await.unwrap();
        self.fleet.consumer().unwrap();
    }

    pub(crate) async fn stop_consumer(&self) {
        self.fleet
            .stop_consumers(Duration::from_secs(60))
            .await
            .unwrap();
    }

    pub(crate) async fn insert(&self, collection: &str, document: Document) {
        let collection = self.world.source.collection::<Document>(collection);
        collection.insert_one(document).await.unwrap();
    }

    pub(crate) async fn insert_many(
        &self,
        collection: &str,
        documents: impl IntoIterator<Item = Document>,
    ) {
        let collection = self.world.source.collection::<Document>(collection);
        collection.insert_many(documents).await.unwrap();
    }

    /// Waits until a query gives this.
    pub(crate) async fn until(&self, sql: &str, expected: &str) {
        probe::until(Duration::from_secs(90), sql, async || {
            self.fleet.check()?;
            let text = format!("select ({sql})::text");
            let row = self.world.target.query_one(&text, &[]).await.ok();
            let told = row.and_then(|row| row.get::<_, Option<String>>(0));
            Ok((told.as_deref() == Some(expected)).then_some(()))
        })
        .await
        .unwrap();
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.world.target.batch_execute(sql).await.unwrap();
    }

    /// Writes to these documents all the time.
    pub(crate) fn traffic(&self, collection: &str, ids: std::ops::Range<i32>) -> Traffic {
        let collection = self.world.source.collection::<Document>(collection);
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut written = 0;
            for n in ids.cycle() {
                if stopped.try_recv().is_ok() {
                    break;
                }
                let round = i64::try_from(written).unwrap();
                let change = match written % 3 {
                    0 => doc! { "$set": { "text": format!("round {round}") } },
                    1 => doc! { "$push": { "tags": format!("tag {round}") } },
                    _ => doc! { "$set": { "tags": [round.to_string()] } },
                };
                collection
                    .update_one(doc! { "_id": n }, change)
                    .await
                    .unwrap();
                written += 1;
            }
            written
        });
        Traffic { stop, task }
    }

    fn run(&self, words: &[&str]) -> Said {
        let file = self.out.path().join("differences.jsonl");
        let stack = &self.world.place.stack;
        let output = Command::new(program::find("leafcutter").unwrap())
            .arg("verify")
            .args(words)
            .args(["--out".as_ref(), file.as_os_str()])
            .env("LEAFCUTTER_MONGODB_URI", &stack.mongodb_uri)
            .env("LEAFCUTTER_POSTGRES_URI", &stack.postgres_uri)
            .env("LEAFCUTTER_KAFKA_BROKERS", &stack.kafka_brokers)
            .env("LEAFCUTTER_PREFIX", &self.world.place.prefix)
            .env("LEAFCUTTER_GROUP", &self.world.group)
            .env("LEAFCUTTER_MAPPING", &self.world.place.mapping)
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            differences: std::fs::read_to_string(file).unwrap_or_default(),
        }
    }

    /// `leafcutter verify` with these words.
    pub(crate) fn verify(&self, words: &[&str]) -> Said {
        // Others write meanwhile.
        tokio::task::block_in_place(|| self.run(words))
    }

    /// The report as JSON.
    pub(crate) fn verify_json(&self, words: &[&str]) -> serde_json::Value {
        let said = self.verify(&[&["--json"], words].concat());
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    pub(crate) async fn close(self) {
        self.fleet.stop_all(Duration::from_secs(60)).await.unwrap();
        self.world.close().await.unwrap();
    }
}
