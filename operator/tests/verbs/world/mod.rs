//! An installation of its own on real servers: a database, topics, a running consumer, and the
//! `leafcutter` program as a person starts it. Records and heartbeats are made by hand.

mod records;
mod running;
mod said;

pub(crate) use records::{author, book, large_author};
pub(crate) use running::Running;
pub(crate) use said::{Said, interrupt};

use leafcutter_harness::{
    failure::Attempt as _, probe, rows::Rows, stack::Stack, target::Target, topic, world::own_name,
};
use leafcutter_runtime::{kafka::KafkaSettings, secret::Secret};
use leafcutter_schemas::{mapping::parse, name};
use leafcutter_sink::{
    model::Model,
    session::{self, Session},
    target,
};
use rdkafka::{Offset, TopicPartitionList, admin::AdminOptions, producer::FutureProducer};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
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
/// Brings the state to what it was before mappings and the application's rows were noted.
pub(crate) const BACK_TO_13: &str = "\
    drop function leafcutter.keep_for_undo cascade; \
    drop table leafcutter.undo, leafcutter.origins, leafcutter.mappings, leafcutter.older_rows; \
    drop table leafcutter.stagings, leafcutter.deferred_constraints; \
    alter table leafcutter.dead_letters drop column staged_in; \
    alter table leafcutter.dead_letters add primary key (topic, partition, \"offset\"); \
    alter table leafcutter.offsets drop column last_record; \
    update leafcutter.meta set layout = 13";

pub(crate) struct World {
    pub(crate) prefix: String,
    target: Target,
    folder: TempDir,
    producer: FutureProducer,
    kafka: KafkaSettings,
    ends: BTreeMap<String, Vec<i64>>,
    consumer: Option<Running>,
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
        let start = target::Start {
            group: "g",
            program: "test",
            create: true,
            defer: false,
        };
        target::migrate(&mut session, &model, start).await.unwrap();
    }

    /// A session on which this was done.
    pub(crate) async fn session(&self, sql: &str) -> tokio_postgres::Client {
        let client = self.target.stack.postgres().await.unwrap();
        client.batch_execute(sql).await.unwrap();
        client
    }

    /// A session of its own on the database, which PostgreSQL shows by this name.
    pub(crate) async fn client(&self, name: &str) -> Session {
        let config = session::config(&Secret::new(self.uri().to_owned())).unwrap();
        Session::open(&config, name).await.unwrap()
    }

    /// A role that owns the database, and is no superuser.
    pub(crate) async fn role(&self) -> String {
        let role = format!("{}_owner", self.prefix);
        let database = self.text("select current_database()").await;
        self.execute_beside(&format!(
            "create role \"{role}\" login password 'owner'; alter database \"{database}\" owner to \"{role}\""
        ))
        .await;
        role
    }

    /// Takes such a role away again.
    pub(crate) async fn drop_role(&self, role: &str) {
        self.text(&format!("reassign owned by \"{role}\" to current_user"))
            .await;
        self.execute_beside(&format!("drop role \"{role}\"")).await;
    }

    /// Where PostgreSQL is.
    pub(crate) fn uri(&self) -> &str {
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

    /// Stops it.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.consumer.take() {
            running.stop();
        }
    }

    /// Waits until everything sent is taken by the group.
    pub(crate) async fn applied(&self) {
        let whole: i64 = self.ends.values().flatten().sum();
        let sum = "select coalesce(sum(next_offset), 0)::text from leafcutter.offsets";
        self.wait_for(sum, &whole.to_string()).await;
    }

    /// Waits until everything sent is taken by this group, where there are several.
    pub(crate) async fn applied_by(&self, group: &str) {
        let whole: i64 = self.ends.values().flatten().sum();
        let sum = format!(
            "select coalesce(sum(next_offset), 0)::text from leafcutter.offsets \
             where consumer_group = '{group}'"
        );
        self.wait_for(&sum, &whole.to_string()).await;
    }

    /// Waits until a query gives this text.
    pub(crate) async fn wait_for(&self, sql: &str, expected: &str) {
        let mut last = String::new();
        let seen = probe::until(Duration::from_secs(60), expected, async || {
            if let Some(running) = &self.consumer {
                assert!(!running.has_ended(), "the consumer ended");
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

    /// Takes everything away again.
    pub(crate) async fn end(mut self) {
        self.stop();
        topic::delete_all(&self.kafka, &self.prefix).await.unwrap();
    }
}
