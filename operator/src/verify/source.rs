//! The source: connecting, its time, ranges of `_id`, and documents by the batch.
//!
//! Everything is read from the primary with majority read concern, since only what a majority has can be
//! in Kafka. A range has its bounds from a sample of `_id`s that the server itself sorts; together the
//! ranges cover every `_id` whatever its type, also those inserted later.

use super::{settings::MongodbSettings, work::Work};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
    secret,
};
use leafcutter_schemas::version::Version;
use mongodb::{
    Client, Collection, Cursor,
    options::{ClientOptions, FindOptions, Hint, ReadConcern, ReadPreference, SelectionCriteria},
};
use std::time::Duration;

/// How long the server may take to answer at the start.
const ANSWER: Duration = Duration::from_secs(10);
/// Documents in a range, about; a range is what is read again after an interruption.
const RANGE: u64 = 20_000;
/// Ranges at most.
const RANGES_MAX: u64 = 1_024;

/// The source.
#[derive(Debug, Clone)]
pub struct Source {
    client: Client,
    /// The server, as it may be shown.
    pub place: String,
}

/// A range of `_id`: from the first bound on, up to the second one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// No lower bound: from the smallest.
    pub lower: Option<Bson>,
    /// No upper bound: to the largest.
    pub upper: Option<Bson>,
}

impl Range {
    /// The ranges between these bounds.
    pub fn between(bounds: Vec<Bson>) -> Vec<Self> {
        let mut ranges = Vec::with_capacity(bounds.len() + 1);
        let mut lower = None;
        for bound in bounds {
            ranges.push(Self {
                lower: lower.take(),
                upper: Some(bound.clone()),
            });
            lower = Some(bound);
        }
        ranges.push(Self { lower, upper: None });
        ranges
    }

    /// Index bounds and no query: a query compares values of one type only.
    fn options(&self) -> FindOptions {
        let bound = |id: &Option<Bson>| id.clone().map(|id| doc! { "_id": id });
        FindOptions::builder()
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .min(bound(&self.lower))
            .max(bound(&self.upper))
            .batch_size(BATCH)
            .build()
    }
}

/// Documents that come with one answer.
const BATCH: u32 = 1_000;

fn version(reply: &Document) -> Option<Version> {
    reply
        .get_timestamp("operationTime")
        .ok()
        .map(Version::from_cluster_time)
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    /// When there is no connection string, or the server cannot be reached.
    pub async fn open(settings: &MongodbSettings) -> Result<Self, Failure> {
        let (value, file) = (
            settings.mongodb_uri.clone(),
            settings.mongodb_uri_file.clone(),
        );
        let uri = secret::resolve(value, file, "the MongoDB connection string").map_err(|why| {
            let fault = Fault::new(
                "could not find the source",
                "`--mongodb-uri` or `LEAFCUTTER_MONGODB_URI`, or either with `_FILE`",
                why,
                "Give a connection string such as mongodb://user:password@host/?replicaSet=rs0.",
            );
            Failure::one(Exit::Settings, fault)
        })?;
        let place = secret::redact_uri(uri.expose());
        let mut options = ClientOptions::parse(uri.expose()).await.map_err(|_| {
            let fault = Fault::new(
                "could not read the settings",
                "--mongodb-uri",
                "it is no connection string of MongoDB",
                "Write it as mongodb://user:password@host:port/?replicaSet=rs0.",
            );
            Failure::one(Exit::Settings, fault)
        })?;
        options
            .app_name
            .get_or_insert_with(|| "leafcutter-verify".to_owned());
        options.server_selection_timeout.get_or_insert(ANSWER);
        options.connect_timeout.get_or_insert(ANSWER);
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria =
            Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let client = Client::with_options(options).map_err(|error| failed(&place, &error))?;
        Ok(Self { client, place })
    }

    /// The time of the server: everything before it has happened.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn now(&self) -> Result<Version, Failure> {
        let asked = self
            .client
            .database("admin")
            .run_command(doc! { "ping": 1 })
            .await;
        let reply = asked.map_err(|error| self.failed(&error))?;
        if let Some(time) = version(&reply) {
            return Ok(time);
        }
        // A standalone server has no such time; what is polled there goes by its clock, in whole seconds.
        let asked = self
            .client
            .database("admin")
            .run_command(doc! { "hello": 1 })
            .await;
        let reply = asked.map_err(|error| self.failed(&error))?;
        let second = reply
            .get_datetime("localTime")
            .map_or(0, |at| at.timestamp_millis() / 1000 + 1);
        Ok(Version::from_cluster_time(bson::Timestamp {
            time: u32::try_from(second).unwrap_or(u32::MAX),
            increment: 0,
        }))
    }

    fn collection(&self, work: &Work) -> Collection<RawDocumentBuf> {
        self.client.database(&work.database).collection(&work.name)
    }

    /// About how many documents there are.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn estimate(&self, work: &Work) -> Result<u64, Failure> {
        let asked = self.collection(work).estimated_document_count().await;
        asked.map_err(|error| self.failed(&error))
    }

    /// How many documents there are.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn count(&self, work: &Work) -> Result<u64, Failure> {
        let asked = self.collection(work).count_documents(doc! {}).await;
        asked.map_err(|error| self.failed(&error))
    }

    /// Bounds that cut a collection into ranges of about equal size.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn bounds(&self, work: &Work, documents: u64) -> Result<Vec<Bson>, Failure> {
        let ranges = (documents / RANGE).min(RANGES_MAX);
        if ranges < 2 {
            return Ok(Vec::new());
        }
        // Twenty candidates for each range, so that the largest is seldom twice the average.
        let size = i64::try_from(ranges * 20).unwrap_or(i64::MAX);
        let stages = [
            doc! { "$sample": { "size": size } },
            doc! { "$project": { "_id": 1 } },
            doc! { "$sort": { "_id": 1 } },
        ];
        let sampled: mongodb::error::Result<Vec<RawDocumentBuf>> = async {
            let cursor = self.collection(work).aggregate(stages).await?;
            cursor.with_type::<RawDocumentBuf>().try_collect().await
        }
        .await;
        // A server that refuses to sample has one range, as a collection without an index has.
        let Ok(sampled) = sampled else {
            return Ok(Vec::new());
        };
        let mut bounds: Vec<Bson> = Vec::new();
        let count = sampled.len();
        let ranges = usize::try_from(ranges).unwrap_or(1);
        for number in 1..ranges {
            let Some(candidate) = sampled.get(number * count / ranges) else {
                continue;
            };
            // What is not the same after a way through the driver's types is no bound.
            let id = candidate
                .get("_id")
                .ok()
                .flatten()
                .and_then(|id| Bson::try_from(id).ok());
            let Some(id) = id.filter(|id| !matches!(id, Bson::MinKey | Bson::MaxKey)) else {
                continue;
            };
            let again = doc! { "_id": id.clone() }.to_vec().ok();
            let key = leafcutter_schemas::id::key_document(candidate);
            if again.as_deref() == key.as_ref().map(|key| key.as_bytes())
                && bounds.last() != Some(&id)
            {
                bounds.push(id);
            }
        }
        Ok(bounds)
    }

    /// The documents of a range.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn read(
        &self,
        work: &Work,
        range: &Range,
    ) -> Result<Cursor<RawDocumentBuf>, Failure> {
        let whole = range.lower.is_none() && range.upper.is_none();
        let collection = self.collection(work);
        let find = collection.find(doc! {});
        // A time series has no index on `_id`.
        let read = if whole {
            find.batch_size(BATCH).await
        } else {
            find.with_options(range.options()).await
        };
        read.map_err(|error| self.failed(&error))
    }

    /// Documents with one of these dates from a day on.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn since(
        &self,
        work: &Work,
        since: bson::DateTime,
    ) -> Result<Cursor<RawDocumentBuf>, Failure> {
        let dates = work
            .poll_by
            .iter()
            .map(|path| doc! { path: { "$gte": since } });
        let filter = doc! { "$or": dates.collect::<Vec<_>>() };
        let found = self.collection(work).find(filter).batch_size(BATCH).await;
        found.map_err(|error| self.failed(&error))
    }

    /// So many documents, chosen at random.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn sample(&self, work: &Work, size: u32) -> Result<Cursor<RawDocumentBuf>, Failure> {
        let stages = [doc! { "$sample": { "size": i64::from(size) } }];
        let sampled = self
            .collection(work)
            .aggregate(stages)
            .batch_size(BATCH)
            .await;
        let cursor = sampled.map_err(|error| self.failed(&error))?;
        Ok(cursor.with_type())
    }

    /// The documents with these `_id`s, as they are now.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn again(&self, work: &Work, ids: Vec<Bson>) -> Result<Vec<RawDocumentBuf>, Failure> {
        let found = async {
            let cursor = self
                .collection(work)
                .find(doc! { "_id": { "$in": ids } })
                .await?;
            cursor.try_collect().await
        };
        found.await.map_err(|error| self.failed(&error))
    }

    /// What went wrong, for a person.
    pub fn failed(&self, error: &mongodb::error::Error) -> Failure {
        failed(&self.place, error)
    }
}

fn failed(place: &str, error: &mongodb::error::Error) -> Failure {
    Failure::one(
        Exit::Preflight,
        Fault::new(
            "could not read from MongoDB",
            place,
            causes(error),
            "Check that the server is up, and user, password and `replicaSet` in --mongodb-uri.",
        ),
    )
}
