//! The database that is looked at: its collections, and their documents one after the other.
//!
//! It only reads. Documents come in the driver's batches, so memory does not grow with the collection.
//! A collection of no more documents than the sample is read whole, since that is cheaper than to draw
//! them; from a larger one MongoDB draws at random (`$sample`).

use super::settings::DraftSettings;
use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
    secret::redact_uri,
};
use mongodb::{
    Client, Cursor, Database,
    options::{ClientOptions, CollectionOptions, ReadPreference, SelectionCriteria},
    results::CollectionType,
};
use std::time::Duration;

/// A server that is there answers sooner.
const ANSWER: Duration = Duration::from_secs(10);

/// A database.
#[derive(Debug)]
pub struct Source {
    database: Database,
    place: String,
}

/// A collection of it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Why it is not moved, if it is not.
    pub left_out: Option<&'static str>,
    /// How many documents it has, about.
    pub documents: u64,
}

/// How much of a collection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// So many documents, drawn at random.
    Sample(u32),
}

impl Extent {
    /// About how many documents of a collection are read.
    pub fn of(self, listed: &Listed) -> u64 {
        match self {
            Self::Whole => listed.documents,
            Self::Sample(size) => u64::from(size),
        }
    }
}

impl Source {
    /// Connects.
    ///
    /// # Errors
    /// When the settings are wrong or no server answers.
    pub async fn open(settings: &DraftSettings) -> Result<Self, Failure> {
        let settings_failure = |fault| Failure::one(Exit::Settings, fault);
        let uri = settings.uri().map_err(settings_failure)?;
        let place = redact_uri(uri.expose());
        let parsed = ClientOptions::parse(uri.expose()).await;
        let mut options = parsed.map_err(|error| {
            settings_failure(Fault::new(
                "could not read the connection string",
                place.clone(),
                causes(&error),
                "Give one such as mongodb://user:password@host/?replicaSet=rs0.",
            ))
        })?;
        let own = options.default_database.clone();
        let Some(name) = settings.database.clone().or(own) else {
            return Err(settings_failure(Fault::new(
                "could not choose a database",
                "`--database`",
                "neither it nor the connection string names one",
                "Name the database to draft a mapping for.",
            )));
        };
        options.app_name = Some("leafcutter draft".to_owned());
        options.server_selection_timeout.get_or_insert(ANSWER);
        options.connect_timeout.get_or_insert(ANSWER);
        // The busy primary is spared where there is another member.
        let reads = ReadPreference::SecondaryPreferred { options: None };
        options
            .selection_criteria
            .get_or_insert(SelectionCriteria::ReadPreference(reads));
        let client = Client::with_options(options);
        let client = client.map_err(|error| failed(&place, &error))?;
        let database = client.database(&name);
        let place = format!("database `{name}` of {place}");
        Ok(Self { database, place })
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        self.database.name()
    }

    /// The server and the database, as they may be shown.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// When MongoDB cannot be asked.
    pub async fn list(&self) -> Result<Vec<Listed>, Failure> {
        let listed = self.database.list_collections().await;
        let mut cursor = listed.map_err(|error| self.failed(&error))?;
        let mut all = Vec::new();
        while cursor
            .advance()
            .await
            .map_err(|error| self.failed(&error))?
        {
            let found = cursor.deserialize_current();
            let found = found.map_err(|error| self.failed(&error))?;
            let left_out = match found.collection_type {
                CollectionType::View => Some("a view: map the collections that it shows"),
                CollectionType::Timeseries => {
                    Some("a time series: map it by hand, with `poll_by`, for --capture poll")
                }
                _ if found.name.starts_with("system.") => Some("MongoDB's own"),
                _ => None,
            };
            all.push(Listed {
                name: found.name,
                left_out,
                documents: 0,
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        for listed in all.iter_mut().filter(|listed| listed.left_out.is_none()) {
            let collection = self.database.collection::<Document>(&listed.name);
            let count = collection.estimated_document_count().await;
            listed.documents = count.map_err(|error| self.failed(&error))?;
        }
        Ok(all)
    }

    /// Begins to read a collection.
    ///
    /// # Errors
    /// When MongoDB refuses.
    pub async fn read(&self, name: &str, extent: Extent) -> Result<Reader<'_>, Failure> {
        let collection = self.database.collection::<RawDocumentBuf>(name);
        let cursor = match extent {
            Extent::Whole => collection.find(doc! {}).await,
            Extent::Sample(size) => {
                let draw = doc! { "$sample": { "size": i64::from(size) } };
                let drawn = collection.aggregate([draw]).allow_disk_use(true);
                drawn.with_type::<RawDocumentBuf>().await
            }
        };
        let cursor = cursor.map_err(|error| self.failed(&error))?;
        Ok(Reader {
            source: self,
            cursor,
        })
    }

    /// How many of these `_id`s the collection has.
    ///
    /// # Errors
    /// When MongoDB cannot be asked.
    pub async fn known(&self, name: &str, ids: Vec<Bson>) -> Result<Vec<Bson>, Failure> {
        let options = CollectionOptions::builder().build();
        let collection = self
            .database
            .collection_with_options::<Document>(name, options);
        let asked = doc! { "_id": { "$in": ids } };
        let found = collection.find(asked).projection(doc! { "_id": 1 }).await;
        let mut cursor = found.map_err(|error| self.failed(&error))?;
        let mut known = Vec::new();
        while cursor
            .advance()
            .await
            .map_err(|error| self.failed(&error))?
        {
            let mut document = cursor.deserialize_current().map_err(|e| self.failed(&e))?;
            known.extend(document.remove("_id"));
        }
        Ok(known)
    }

    fn failed(&self, error: &mongodb::error::Error) -> Failure {
        failed(&self.place, error)
    }
}

fn failed(place: &str, error: &mongodb::error::Error) -> Failure {
    let fault = Fault::new(
        "could not read MongoDB",
        place,
        causes(error),
        "Check the server, the connection string, and that its user may read the database and list \
         its collections (role `read`).",
    );
    Failure::one(Exit::Preflight, fault)
}

/// The documents of a collection.
#[derive(Debug)]
pub struct Reader<'s> {
    source: &'s Source,
    cursor: Cursor<RawDocumentBuf>,
}

impl Reader<'_> {
    /// The next document.
    ///
    /// # Errors
    /// When MongoDB cannot be read any further.
    pub async fn next(&mut self) -> Result<Option<&RawDocument>, Failure> {
        match self.cursor.advance().await {
            Ok(true) => Ok(Some(self.cursor.current())),
            Ok(false) => Ok(None),
            Err(error) => Err(self.source.failed(&error)),
        }
    }
}
