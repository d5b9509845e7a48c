//! MongoDB's part: reachable, new enough, readable by this user, and a replica set, unless it is
//! polled.

use super::{Source, findings::Findings, polled};
use crate::{
    checkpoint::Cluster,
    error::{server_code, told},
    settings::{Capture, Settings},
};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use leafcutter_runtime::{
    report::Fault,
    secret::{redact_uri, repeats_secret},
};
use mongodb::{
    Client, Database,
    error::{Error, ErrorKind},
    options::ClientOptions,
    results::{CollectionSpecification, CollectionType},
};
use std::time::Duration;

/// How long the server may take to be found.
const ANSWER: Duration = Duration::from_secs(5);
/// The oldest server with what we rely on.
const VERSION_MIN: (i64, i64) = (4, 4);
/// A full oplog that reaches back less than this is worth a warning.
const WINDOW_SECONDS_MIN: u32 = 3600;

const UNAUTHORIZED: i32 = 13;

pub(super) async fn check(settings: &Settings, findings: &mut Findings) -> Option<Source> {
    let place = format!("MongoDB at {}", redact_uri(settings.mongodb_uri.expose()));
    let client = match connect(settings).await {
        Ok(client) => client,
        Err(error) => {
            findings.fault(Fault::new(
                "could not understand the MongoDB connection string",
                place,
                misread(&error, settings.mongodb_uri.expose()),
                "It looks like mongodb://user:password@host:27017/?replicaSet=rs0. In user and \
                 password each of `: / ? # [ ] @ %` is written as its percent code, such as %3F.",
            ));
            return None;
        }
    };
    let hello = match client
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await
    {
        Ok(hello) => hello,
        Err(error) => {
            findings.fault(unreachable(&place, &error));
            return None;
        }
    };
    let set = hello.get_str("setName").unwrap_or_default().to_owned();
    let sharded = is_sharded(&hello);
    let stream = settings.capture == Capture::Stream;
    if let Some(fault) = unfit(&hello, &place, stream) {
        findings.fault(fault);
    }
    check_version(&client, &place, findings).await;
    let database = client.database(&settings.database);
    let found = check_collections(settings, &database, findings).await;
    if findings.faults.is_empty() && stream {
        check_stream(&database, findings).await;
        warn_of_short_oplog(&client).await;
    } else if findings.faults.is_empty() {
        tracing::warn!(
            database = settings.database,
            "polling: deletes are not seen, the rows of deleted documents stay; and a change is \
             seen only where it sets a date of `poll_by`"
        );
    }
    let id = if sharded { None } else { set_id(&client).await };
    Some(Source {
        client,
        cluster: Cluster { set, id },
        sharded,
        post_images: found.post_images,
        time_series: found.time_series,
    })
}

fn is_sharded(hello: &Document) -> bool {
    hello.get_str("msg").is_ok_and(|text| text == "isdbgrid")
}

/// Why this kind of server cannot be read so.
fn unfit(hello: &Document, place: &str, stream: bool) -> Option<Fault> {
    if is_sharded(hello) {
        return Some(Fault::new(
            "refused a sharded cluster",
            place,
            "a mongos answers. Leafcutter was not tested with sharded clusters: there an update \
             of a shard key is a delete and an insert of one moment, in either order",
            "Read a replica set. A collection that is not sharded can be read from its own shard.",
        ));
    }
    let standalone = hello.get_str("setName").is_err();
    (stream && standalone).then(|| {
        Fault::new(
            "could not follow changes",
            place,
            "this is a standalone server; only replica sets have change streams",
            "Start mongod with `--replSet rs0` and run `rs.initiate()` once; one member is enough. \
             Or read it by dates, without deletes: `--capture poll`.",
        )
    })
}

/// What the driver says of a connection string, unless it repeats a piece of the password.
fn misread(error: &Error, uri: &str) -> String {
    let told = told(error);
    if repeats_secret(&told, uri) {
        return "it cannot be read; what exactly is wrong would show a part of the password"
            .to_owned();
    }
    told
}

async fn connect(settings: &Settings) -> Result<Client, Error> {
    let mut options = ClientOptions::parse(settings.mongodb_uri.expose()).await?;
    options
        .app_name
        .get_or_insert_with(|| "leafcutter-producer".to_owned());
    options.server_selection_timeout.get_or_insert(ANSWER);
    options.connect_timeout.get_or_insert(ANSWER);
    Client::with_options(options)
}

fn unreachable(place: &str, error: &Error) -> Fault {
    let why = told(error);
    let (what, next) = match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => (
            "could not log in to MongoDB",
            "Check user and password, and `authSource` in the connection string.",
        ),
        ErrorKind::Command(command) if command.code == 18 => (
            "could not log in to MongoDB",
            "Check user and password, and `authSource` in the connection string.",
        ),
        _ if why.contains("certificate") || why.contains("SSL") => (
            "could not reach MongoDB",
            "Check `tls`, `tlsCAFile` and `tlsCertificateKeyFile` in the connection string, and that the \
             server's certificate names this host and has not ended.",
        ),
        _ => (
            "could not reach MongoDB",
            "Check host, port and `replicaSet` in the connection string, and that the server is \
             up.",
        ),
    };
    Fault::new(what, place, why, next)
}

async fn check_version(client: &Client, place: &str, findings: &mut Findings) {
    let Ok(info) = client
        .database("admin")
        .run_command(doc! { "buildInfo": 1 })
        .await
    else {
        return;
    };
    let number = |index| {
        let value = info.get_array("versionArray").ok()?.get(index)?;
        match value {
            Bson::Int32(n) => Some(i64::from(*n)),
            _ => value.as_i64(),
        }
    };
    let version = (number(0).unwrap_or_default(), number(1).unwrap_or_default());
    if version < VERSION_MIN {
        findings.fault(Fault::new(
            "could not rely on this MongoDB",
            place,
            format!(
                "it is version {}.{}; 4.4 is the oldest supported",
                version.0, version.1
            ),
            "Upgrade the source first.",
        ));
    }
}

/// What there is among the mapped collections.
#[derive(Default)]
struct Found {
    post_images: bool,
    time_series: Vec<String>,
}

/// Checks every mapped collection.
async fn check_collections(
    settings: &Settings,
    database: &Database,
    findings: &mut Findings,
) -> Found {
    let listed: Result<Vec<CollectionSpecification>, Error> =
        async { database.list_collections().await?.try_collect().await }.await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) => {
            let place = format!("database `{}`", database.name());
            findings.fault(forbidden("list the collections", place, &error));
            return Found::default();
        }
    };
    let stream = settings.capture == Capture::Stream;
    let mut all = Found::default();
    for collection in settings.collections.iter() {
        let name = &collection.name;
        let place = format!("collection `{}.{name}`", database.name());
        let Some(found) = listed.iter().find(|found| found.name == *name) else {
            let then = if stream {
                "not there yet; its changes are followed when it is"
            } else {
                "not there yet; what comes is seen where its dates are later than now"
            };
            tracing::warn!(collection = name, "{then}");
            continue;
        };
        let refusal = match found.collection_type {
            CollectionType::Collection => None,
            CollectionType::View => Some("it is a view, which has no changes of its own"),
            CollectionType::Timeseries if !stream => {
                all.time_series.push(name.clone());
                None
            }
            CollectionType::Timeseries => Some("time-series collections have no change stream"),
            _ => Some("it is not a plain collection"),
        };
        if let Some(why) = refusal {
            let next = if found.collection_type == CollectionType::Timeseries {
                "Leave it to a second producer with `--capture poll --only`, and start this one \
                 with `--except`."
            } else {
                "Take it out of the mapping, or map what it is made of."
            };
            findings.fault(Fault::new("could not follow changes", place, why, next));
            continue;
        }
        if stream {
            let images = &found.options.change_stream_pre_and_post_images;
            all.post_images |= images.as_ref().is_some_and(|images| images.enabled);
        } else {
            let series = found.options.timeseries.as_ref();
            polled::check_indexes(database, collection, series).await;
        }
        let collection = database.collection::<RawDocumentBuf>(name);
        if let Err(error) = collection
            .find_one(doc! {})
            .projection(doc! { "_id": 1 })
            .await
        {
            findings.fault(forbidden("read documents", place, &error));
        }
    }
    all
}

async fn check_stream(database: &Database, findings: &mut Findings) {
    let stages = [doc! { "$changeStream": {} }];
    if let Err(error) = database.aggregate(stages).await {
        let place = format!("database `{}`", database.name());
        findings.fault(forbidden("open a change stream", place, &error));
    }
}

fn forbidden(what: &str, place: String, error: &Error) -> Fault {
    let next = if server_code(error) == Some(UNAUTHORIZED) {
        "Grant this user the role `read` on the database; it holds all that is needed."
    } else {
        "Check the server's log, and that the connection string names the right cluster."
    };
    Fault::new(format!("could not {what}"), place, told(error), next)
}

/// The replica set's own id, where the user may read it.
async fn set_id(client: &Client) -> Option<String> {
    let reply = client
        .database("admin")
        .run_command(doc! { "replSetGetConfig": 1 })
        .await
        .ok()?;
    let settings = reply
        .get_document("config")
        .ok()?
        .get_document("settings")
        .ok()?;
    settings
        .get_object_id("replicaSetId")
        .ok()
        .map(|id| id.to_hex())
}

/// How far the oplog reaches back decides how long the producer may be down.
async fn warn_of_short_oplog(client: &Client) {
    let local = client.database("local");
    let oplog = local.collection::<Document>("oplog.rs");
    let edge = async |direction: i32| {
        let found = oplog
            .find_one(doc! {})
            .sort(doc! { "$natural": direction })
            .await;
        found
            .ok()
            .flatten()
            .and_then(|entry| entry.get_timestamp("ts").ok())
    };
    let (Some(first), Some(last)) = (edge(1).await, edge(-1).await) else {
        tracing::info!("how far the oplog reaches back cannot be seen by this user");
        return;
    };
    let stats = local
        .run_command(doc! { "collStats": "oplog.rs" })
        .await
        .unwrap_or_default();
    let number = |name| match stats.get(name) {
        Some(Bson::Int32(n)) => f64::from(*n),
        Some(Bson::Int64(n)) => n.to_string().parse().unwrap_or_default(),
        Some(Bson::Double(n)) => *n,
        _ => 0.0,
    };
    let seconds = last.time.saturating_sub(first.time);
    let full = number("maxSize") > 0.0 && number("size") > 0.9 * number("maxSize");
    if full && seconds < WINDOW_SECONDS_MIN {
        tracing::warn!(
            seconds,
            "the oplog is full and reaches back less than an hour: a longer stop of the producer \
             loses the history; enlarge it with `replSetResizeOplog`"
        );
    } else {
        tracing::debug!(seconds, full, "the oplog reaches back");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mongos_is_refused_with_a_reason_and_a_standalone_for_a_stream_only() {
        let mongos = doc! { "msg": "isdbgrid" };
        for stream in [true, false] {
            let fault = unfit(&mongos, "there", stream).unwrap();
            assert!(fault.to_string().contains("mongos"), "{fault}");
        }
        assert!(unfit(&doc! { "setName": "rs0" }, "there", true).is_none());
        assert!(unfit(&doc! {}, "there", true).is_some());
        assert!(unfit(&doc! {}, "there", false).is_none());
    }
}
