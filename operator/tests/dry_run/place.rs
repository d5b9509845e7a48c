//! A place of its own on real servers: `leafcutter dry-run`, and the real programs afterwards, whose rows and
//! dead letters are held against what it said.

use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use leafcutter_harness::{
    failure::Attempt as _, fleet::Fleet, probe, program, source::now, stack::Stack, watch::Watch,
    world::World,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashSet},
    process::Command,
    time::Duration,
};

/// How long anything may take here.
const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) struct Place {
    pub(crate) world: World,
}

/// The servers of which the program is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Mongodb,
    Kafka,
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
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
    pub(crate) fn says(self, words: &str) -> Self {
        let said = format!("{}{}", self.out, self.err);
        let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(line.contains(words), "no {words:?} in {said}");
        self
    }
}

/// Rows by table, and documents by what becomes of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    rows: BTreeMap<String, i64>,
    letters: BTreeMap<String, i64>,
}

impl Outcome {
    /// As a dry run says it.
    pub(crate) fn said(report: &Value) -> Self {
        let mut all = Self::default();
        for one in report["collections"].as_array().unwrap() {
            let name = one["collection"].as_str().unwrap();
            let name = name.split_once('.').unwrap().1;
            for table in one["tables"].as_array().unwrap() {
                let rows = all.rows.entry(text(&table["table"])).or_default();
                *rows += table["rows"].as_i64().unwrap();
            }
            for refused in one["rejections"].as_array().unwrap() {
                // A dead letter is listed under its document's own table.
                let (reason, column) = (text(&refused["reason"]), text(&refused["column"]));
                all.letter(&format!("{name} {reason} {column}"), &refused["documents"]);
            }
            all.letter(&format!("{name} orphan"), &one["without_parent"]);
            all.letter(&format!("{name} unique"), &one["without_value"]);
        }
        all
    }

    fn letter(&mut self, what: &str, count: &Value) {
        let count = count.as_i64().unwrap();
        if count > 0 {
            *self.letters.entry(what.to_owned()).or_default() += count;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Place {
    pub(crate) async fn new(mapping: &str, name: &str) -> Self {
        let stack = Stack::from_env().unwrap();
        let world = World::new(mapping, stack, &format!("dry_{name}"))
            .await
            .unwrap();
        Self { world }
    }

    pub(crate) async fn insert(&self, collection: &str, documents: &[Document]) {
        let collection = self.world.source.collection::<Document>(collection);
        collection.insert_many(documents).await.unwrap();
    }

    /// `leafcutter dry-run` with these words.
    pub(crate) fn dry_run(&self, told: Told, words: &[&str]) -> Said {
        let place = &self.world.place;
        let mut command = Command::new(program::find("leafcutter").unwrap());
        command
            .arg("dry-run")
            .args(words)
            .env_remove("LEAFCUTTER_MONGODB_URI")
            .env_remove("LEAFCUTTER_KAFKA_BROKERS")
            .env_remove("LEAFCUTTER_POSTGRES_URI")
            .env("LEAFCUTTER_PREFIX", &place.prefix)
            .env("LEAFCUTTER_MAPPING", &place.mapping);
        match told {
            Told::Mongodb => command.env("LEAFCUTTER_MONGODB_URI", &place.stack.mongodb_uri),
            Told::Kafka => command.env("LEAFCUTTER_KAFKA_BROKERS", &place.stack.kafka_brokers),
        };
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The report as JSON.
    pub(crate) fn report(&self, told: Told, words: &[&str]) -> Value {
        let said = self.dry_run(told, &[&["--json"], words].concat());
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Of documents with the same value in a field only the first stays. Which of them has the row in the end
    /// depends on the order in which they arrive, and what refers to the others is orphaned.
    pub(crate) async fn keep_one_of_each(&self, collection: &str, field: &str) {
        let collection = self.world.source.collection::<Document>(collection);
        let mut all = collection.find(doc! {}).await.unwrap();
        let mut seen = HashSet::new();
        while let Some(document) = all.try_next().await.unwrap() {
            let Ok(value) = document.get_str(field) else {
                continue;
            };
            if !seen.insert(value.to_owned()) {
                let id = doc! { "_id": document.get("_id") };
                collection.delete_one(id).await.unwrap();
            }
        }
    }

    /// Moves everything, and holds what is there in the end against what was said.
    pub(crate) async fn run(&self, expected: &Outcome) -> Fleet {
        let place = &self.world.place;
        let fleet = Fleet::new(place, &self.world.group, &[]);
        fleet.first_producer().await.unwrap();
        fleet.consumer().unwrap();
        self.until_applied(&fleet).await;
        let mut seen = Outcome::default();
        let equal = probe::until(DEADLINE, "what was said", async || {
            fleet.check()?;
            seen = self.seen(expected).await;
            Ok((seen == *expected).then_some(()))
        });
        if equal.await.is_err() {
            assert_eq!(seen, *expected, "what a run did, and what was said");
        }
        fleet
    }

    /// Waits until everything is applied that was written up to now.
    pub(crate) async fn until_applied(&self, fleet: &Fleet) {
        let place = &self.world.place;
        let watch = Watch::new(place, &self.world.group).await.unwrap();
        let all = place.collections.len();
        let read = probe::until(DEADLINE, "the end of the snapshots", async || {
            fleet.check()?;
            Ok((watch.look().await?.said.complete.len() == all).then_some(()))
        });
        let read = read.await.map_err(|late| fleet.with_logs(&late));
        read.attempt("read everything").unwrap();
        let last_write = now(&self.world.source).await.unwrap();
        let applied = watch
            .until_applied(last_write, DEADLINE, |_| fleet.check())
            .await;
        let applied = applied.map_err(|late| fleet.with_logs(&late));
        applied.attempt("move everything").unwrap();
    }

    /// What is in PostgreSQL.
    async fn seen(&self, expected: &Outcome) -> Outcome {
        let target = &self.world.target;
        let mut seen = Outcome::default();
        for table in expected.rows.keys() {
            let sql = format!("select count(*) from \"{table}\"");
            let rows = target.query_one(&sql, &[]).await.unwrap().get(0);
            seen.rows.insert(table.clone(), rows);
        }
        let letters = "select split_part(topic, '.', 3) || ' ' || case when stage = 'settle' then reason \
            else reason || ' ' || coalesce(column_name, '') end, count(*) \
            from leafcutter.dead_letters where state = 'open' group by 1";
        let letters = target.query(letters, &[]).await.unwrap();
        let letters = letters.iter().map(|row| (row.get(0), row.get(1)));
        seen.letters = letters.collect();
        seen
    }

    /// The same, and everything ends.
    pub(crate) async fn comes_true(self, expected: &Outcome) {
        let fleet = self.run(expected).await;
        self.close(fleet).await;
    }

    /// Everything ends.
    pub(crate) async fn close(self, fleet: Fleet) {
        fleet.stop_all(DEADLINE).await.unwrap();
        self.world.close().await.unwrap();
    }

    /// Nothing was started.
    pub(crate) async fn leave(self) {
        self.world.close().await.unwrap();
    }
}
