//! A world of its own for each test: databases, topics and programs that no other test sees.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
    program::Program,
    stack::Stack,
    target::Target,
    topic,
};
use leafcutter_schemas::{
    mapping::parse,
    name::{control_topic, data_topic},
};
use mongodb::Database;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

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
    /// A place in a folder, with the mapping for this database written into it.
    ///
    /// # Errors
    /// When the folder cannot be made or written to, or the mapping has faults.
    pub fn new(
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
        let reader = topic::reader(&self.stack.kafka())?;
        let mut wanted = vec![self.control_topic()];
        for collection in &self.collections {
            wanted.push(self.topic(collection)?);
        }
        probe::until(TOPICS, "the producer to make the topics", async || {
            producer.check()?;
            let there = topic::list(&reader, &self.prefix)?;
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
    _database: Target,
    /// Keeps the folder until the world ends.
    folder: tempfile::TempDir,
}

impl World {
    /// A new world for this mapping. `name` is the test's own.
    ///
    /// # Errors
    /// When a server fails, or the mapping has faults.
    pub async fn new(mapping: &str, servers: Stack, name: &str) -> Result<Self> {
        let own_name = own_name(name);
        let database = Target::create(servers, &own_name).await?;
        let stack = database.stack.clone();
        let folder = tempfile::Builder::new().prefix(&own_name).tempdir()?;
        let source = stack.mongodb().await?.database(&own_name);
        let target = stack.postgres().await?;
        let place = Place::new(mapping, stack, &own_name, &own_name, folder.path())?;
        Ok(Self {
            place,
            group: own_name,
            source,
            target,
            _database: database,
            folder,
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

    /// Leaves the folder with what the programs said there when the world ends; gives it.
    pub fn keep_logs(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }

    /// Removes everything. A test that fails leaves its database of MongoDB and its topics to be looked at.
    ///
    /// # Errors
    /// When a server fails.
    pub async fn close(self) -> Result<()> {
        self.source
            .drop()
            .await
            .attempt("drop the database of MongoDB")?;
        topic::delete_all(&self.place.stack.kafka(), &self.place.prefix).await
    }
}

/// A name for what one test makes on the servers, and nothing else has.
pub fn own_name(test: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("lc_{test}_{}", &id[..8])
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
