//! A world of its own for each test: databases, topics and programs that no other test sees.

use crate::{
    failure::{Attempt, Failure, Result},
    finlit::compare::Sides,
    probe,
    program::Program,
    stack::Stack,
};
use leafcutter_schemas::{
    mapping::parse,
    name::{control_topic, data_topic},
};
use mongodb::Database;
use rdkafka::{
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// FinLit's mapping, as it is in `schemas/examples`.
const MAPPING: &str = include_str!("../../schemas/examples/finlit/mapping.yaml");
/// How long Kafka may take to answer.
const KAFKA_ANSWERS: Duration = Duration::from_secs(10);
/// How long a producer may take to make its topics.
const TOPICS: Duration = Duration::from_secs(60);

/// Where a run happens.
#[derive(Debug, Clone)]
pub struct Place {
    /// The servers, with the database of PostgreSQL to use.
    pub stack: Stack,
    /// The database of MongoDB.
    pub database: String,
    /// The prefix of the topics.
    pub prefix: String,
    /// The mapping file.
    pub mapping: PathBuf,
    /// The collections in it.
    pub collections: Vec<String>,
    /// Where logs go.
    pub folder: PathBuf,
    /// What the programs log: a level, or a filter.
    pub level: String,
}

impl Place {
    /// A place in a folder, with FinLit's mapping for this database written into it.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn new(stack: Stack, database: &str, prefix: &str, folder: &Path) -> Result<Self> {
        Self::of(MAPPING, stack, database, prefix, folder)
    }

    /// The same with another mapping.
    ///
    /// # Errors
    /// As [`Self::new`], and when the mapping has faults.
    pub fn of(
        mapping: &str,
        stack: Stack,
        database: &str,
        prefix: &str,
        folder: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).attempt(&format!("make {}", folder.display()))?;
        let (text, collections) = of_database(mapping, database)?;
        let mapping = folder.join("mapping.yaml");
        std::fs::write(&mapping, text).attempt(&format!("write {}", mapping.display()))?;
        Ok(Self {
            stack,
            database: database.to_owned(),
            prefix: prefix.to_owned(),
            mapping,
            collections,
            folder: folder.to_owned(),
            level: std::env::var("LEAFCUTTER_LOG").unwrap_or_else(|_| "info".to_owned()),
        })
    }

    /// Starts `leafcutter-producer run`; `name` is what it is called in messages.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn producer(&self, name: &str, more: &[&str]) -> Result<Program> {
        self.start(name, "leafcutter-producer", &[], more)
    }

    /// Starts a `leafcutter-consumer run` of a group; `name` tells it from others.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn consumer(&self, name: &str, group: &str, more: &[&str]) -> Result<Program> {
        self.start(
            name,
            "leafcutter-consumer",
            &["--group", group, "--orphan-after", "3s"],
            more,
        )
    }

    fn start(&self, name: &str, binary: &str, own: &[&str], more: &[&str]) -> Result<Program> {
        let mapping = self.mapping.display().to_string();
        let mut arguments = vec!["run", "--mapping", &mapping, "--prefix", &self.prefix];
        arguments.extend(["--admin", "127.0.0.1:0"]);
        arguments.extend(own);
        arguments.extend(more);
        let log = (self.log(name), self.level.as_str());
        Program::start(name, binary, &arguments, &self.stack, log)
    }

    /// Where a program's words go.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Waits until a producer that was just started has made the topics, without which a consumer
    /// does not start.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn until_topics(&self, producer: &mut Program) -> Result<()> {
        let reader = reader(&self.stack)?;
        let mut wanted = vec![self.control_topic()];
        for collection in &self.collections {
            wanted.push(self.topic(collection)?);
        }
        probe::until(TOPICS, "the producer to make the topics", async || {
            producer.check()?;
            let there = topics(&reader, &self.prefix)?;
            Ok(wanted
                .iter()
                .all(|topic| there.contains(topic))
                .then_some(()))
        })
        .await
    }

    /// The data topic of a collection.
    ///
    /// # Errors
    /// When Kafka would not take the name.
    pub fn topic(&self, collection: &str) -> Result<String> {
        Ok(data_topic(&self.prefix, &self.database, collection)?)
    }

    /// The control topic.
    pub fn control_topic(&self) -> String {
        control_topic(&self.prefix)
    }
}

/// A place for one test, which goes away with it.
pub struct World {
    /// Where it is.
    pub place: Place,
    /// The consumer group.
    pub group: String,
    /// The source.
    pub source: Database,
    /// The target.
    pub target: tokio_postgres::Client,
    servers: Stack,
    own_name: String,
    /// Keeps the folder until the world ends.
    _folder: tempfile::TempDir,
}

impl World {
    /// A new world on the servers of the environment. `name` is the test's own.
    ///
    /// # Errors
    /// When the environment names no servers, or one of them fails.
    pub async fn new(name: &str) -> Result<Self> {
        Self::on(Stack::from_env()?, name).await
    }

    /// A new world on other servers.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn on(servers: Stack, name: &str) -> Result<Self> {
        Self::of(MAPPING, servers, name).await
    }

    /// A new world for another mapping than FinLit's.
    ///
    /// # Errors
    /// When a server fails, or the mapping has faults.
    pub async fn of(mapping: &str, servers: Stack, name: &str) -> Result<Self> {
        let own_name = format!("lc_{name}_{}", std::process::id());
        let stack = servers.with_postgres_database(&own_name)?;
        let admin = servers.postgres().await?;
        for sql in ["drop database if exists", "create database"] {
            let sql = format!("{sql} \"{own_name}\"");
            admin.batch_execute(&sql).await.attempt(&sql)?;
        }
        let folder = tempfile::Builder::new().prefix(&own_name).tempdir()?;
        let source = stack.mongodb().await?.database(&own_name);
        source.drop().await.attempt("empty MongoDB")?;
        let target = stack.postgres().await?;
        let place = Place::of(mapping, stack, &own_name, &own_name, folder.path())?;
        Ok(Self {
            place,
            group: own_name.clone(),
            source,
            target,
            servers,
            own_name,
            _folder: folder,
        })
    }

    /// Connects to PostgreSQL again, after it was away.
    ///
    /// # Errors
    /// When it still is.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.target = self.place.stack.postgres().await?;
        Ok(())
    }

    /// Waits until nobody else is connected to the target: a session tells PostgreSQL's statistics
    /// what it did when it ends, at the latest.
    ///
    /// # Errors
    /// When PostgreSQL fails, or somebody stays.
    pub async fn until_alone(&self) -> Result<()> {
        const LONGEST: Duration = Duration::from_secs(30);
        let others = "select count(*) from pg_stat_activity where datname = current_database() \
                      and application_name <> 'leafcutter-tests'";
        probe::until(LONGEST, "the consumers' sessions to end", async || {
            let others: i64 = self.target.query_one(others, &[]).await?.get(0);
            Ok((others == 0).then_some(()))
        })
        .await
    }

    /// What a comparison needs.
    pub fn sides(&mut self) -> Sides<'_> {
        Sides {
            mongodb: &self.source,
            postgres: &mut self.target,
            prefix: &self.place.prefix,
            group: &self.group,
        }
    }

    /// Removes everything. A test that fails leaves its databases and topics to be looked at.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn close(self) -> Result<()> {
        self.source
            .drop()
            .await
            .attempt("drop the database of MongoDB")?;
        drop(self.target);
        let admin = self.servers.postgres().await?;
        let sql = format!("drop database \"{}\" with (force)", self.own_name);
        admin.batch_execute(&sql).await.attempt(&sql)?;
        delete_topics(&self.place.stack, &self.place.prefix).await
    }
}

/// A mapping for another database than its own, and its collections.
fn of_database(mapping: &str, database: &str) -> Result<(String, Vec<String>)> {
    let sound = parse::load(mapping, "mapping.yaml")
        .map_err(|faults| Failure::new(format!("the mapping has faults:\n{faults}")))?;
    let collections = sound.collections;
    let own = collections.first().map_or("", |c| c.database.as_str());
    let text = mapping.replace(
        &format!("\ndatabase: {own}\n"),
        &format!("\ndatabase: {database}\n"),
    );
    Ok((text, collections.into_iter().map(|c| c.name).collect()))
}

fn reader(stack: &Stack) -> Result<BaseConsumer> {
    let config = stack.kafka().reader_config("leafcutter-tests");
    Ok(config
        .map_err(|fault| Failure::new(fault.to_string()))?
        .create()?)
}

/// The topics of a prefix.
fn topics(reader: &BaseConsumer, prefix: &str) -> Result<Vec<String>> {
    let own = format!("{prefix}.");
    let metadata = reader
        .fetch_metadata(None, KAFKA_ANSWERS)
        .attempt("list the topics")?;
    let names = metadata
        .topics()
        .iter()
        .map(|topic| topic.name().to_owned());
    Ok(names.filter(|name| name.starts_with(&own)).collect())
}

/// Deletes all topics of a prefix.
async fn delete_topics(stack: &Stack, prefix: &str) -> Result<()> {
    let names = topics(&reader(stack)?, prefix)?;
    if names.is_empty() {
        return Ok(());
    }
    let config = stack.kafka().admin_config("leafcutter-tests");
    let admin: AdminClient<DefaultClientContext> = config
        .map_err(|fault| Failure::new(fault.to_string()))?
        .create()?;
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    admin
        .delete_topics(&names, &AdminOptions::new())
        .await
        .attempt("delete the topics")?;
    Ok(())
}
