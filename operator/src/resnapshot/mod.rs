//! `leafcutter resnapshot`: a collection read again from the source, while everything runs.
//!
//! This process reads, with the producer's own reader, and writes into the collection's topic; the consumers
//! apply it like anything else. When they have, rows that the source does not have are deleted through the
//! sink's own steps. Why nothing is lost by that and nothing comes back:
//! docs/decisions/reading-a-collection-again.md.
//!
//! It may be interrupted at any moment. What was sent is applied all the same, and what was passed by for good
//! (history that is lost, records that Kafka has no more) is noted in PostgreSQL before, until a read of the
//! whole collection is finished.

mod part;
mod run;
pub(crate) mod settings;
mod sweep;
mod tell;
mod work;

pub use settings::ResnapshotSettings;

use crate::{
    catalog::{Catalog, Collection, usage},
    connect::State,
    in_force::{self, Purpose},
    kafka::{Topics, ask},
    show::Show,
};
use leafcutter_producer::again::{Followed, Place, Reader, followed};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
    shutdown::Shutdown,
};
use leafcutter_sink::{
    ids::{CollectionId, Generation},
    model::Model,
    state::{
        consumers, offsets,
        pauses::{self, PauseRow},
        resnapshots,
    },
};
use part::Part;
use std::sync::Arc;
use tell::Facts;
use work::{Outcome, Work};

/// Reads collections again.
///
/// # Errors
/// When a server cannot be asked, a name or a filter is unknown, nobody can confirm, or the sweep would take
/// more than it may.
pub async fn run(settings: ResnapshotSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let mut catalog = Catalog::of(&settings.installation, &mut state).await?;
    let purpose = Purpose {
        what: "could not read a collection again",
        group: &settings.installation.group,
        file: settings.installation.mapping.as_deref(),
    };
    let (model, generation) =
        in_force::required(&mut state, &mut catalog, purpose, no_mapping).await?;
    let consumers = consumers::alive(&mut state.session, purpose.group).await;
    let consumers = consumers.map_err(|error| state.lost(&error))?.len();
    let collections = meant(&settings, &catalog, &model)?;
    if collections.len() > 1 && part_is_named(&settings) {
        return Err(usage(
            "could not read a part of several collections",
            "the command line",
            "--ids, --where and --since are of one collection",
            "Name one collection.",
        ));
    }
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    let mut exit = Exit::Done;
    for (id, collection) in collections {
        let one = one(
            &settings,
            &mut state,
            (&model, generation),
            (id, collection),
            consumers,
            show,
            &shutdown,
        );
        match Box::pin(one).await? {
            Outcome::Done => {}
            Outcome::Differences => exit = Exit::Differences,
            Outcome::Stopped => return Ok(Exit::Differences),
            Outcome::Refused => return Ok(Exit::Done),
        }
    }
    Ok(exit)
}

fn part_is_named(settings: &ResnapshotSettings) -> bool {
    !settings.ids.is_empty()
        || settings.ids_file.is_some()
        || settings.filter.is_some()
        || settings.since.is_some()
}

fn no_mapping() -> Failure {
    let fault = Fault::new(
        "could not read a collection again",
        "--mapping",
        "without the mapping nobody knows which rows are whose",
        "Give --mapping or LEAFCUTTER_MAPPING: the file that the consumers run with.",
    );
    Failure::one(Exit::Settings, fault)
}

/// The collections that are meant, parents first, so that their children need not wait.
fn meant<'c>(
    settings: &ResnapshotSettings,
    catalog: &'c Catalog,
    model: &Model,
) -> Result<Vec<(CollectionId, &'c Collection)>, Failure> {
    let mut found = Vec::new();
    for called in &settings.collections {
        let collection = &catalog.collections[catalog.find(called)?];
        let Some(id) = model.collection_of_topic(&collection.topic) else {
            return Err(usage(
                "could not read a collection again",
                &format!("`{called}`"),
                "it is not in the mapping",
                "Give the mapping that has it.",
            ));
        };
        if !found.iter().any(|(known, _)| *known == id) {
            found.push((id, collection));
        }
    }
    found.sort_by_key(|(id, _)| model.collection(*id).roots.first().copied());
    Ok(found)
}

/// One collection, from the look at it to the last word.
async fn one(
    settings: &ResnapshotSettings,
    state: &mut State,
    (model, generation): (&Arc<Model>, Generation),
    (id, collection): (CollectionId, &Collection),
    consumers: usize,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
) -> Result<Outcome, Failure> {
    let bounds = bounds(settings, collection).await?;
    let followed = look_up_followed(settings, collection).await?;
    let place = Place {
        mapping: &model.mapping,
        prefix: &settings.installation.prefix,
        database: &collection.database,
        collection: &collection.name,
        partitions: i32::try_from(bounds.len()).unwrap_or(i32::MAX),
        kafka: &settings.kafka,
    };
    let producer = settings.source.settings(&place, &followed)?;
    let reader = Box::pin(Reader::open(producer, followed)).await?;
    let part = Part::of(settings, &reader)?;
    let lost = settings.lost_history || !reader.reaches_back().await?;
    let expired = expired(state, settings, collection, &bounds).await?;
    if !matches!(part, Part::Whole) && (lost || !expired.is_empty()) {
        return Err(whole_is_needed(collection, lost));
    }
    if !settings.dry_run {
        not_paused(state, &settings.installation.group, collection).await?;
    }
    let locked = resnapshots::try_lock(&mut state.session, &collection.topic).await;
    if !locked.map_err(|error| state.lost(&error))? {
        return Err(busy(collection));
    }
    let mut work = Work {
        settings,
        state,
        model: Arc::clone(model),
        generation,
        id,
        collection,
        reader: Arc::new(reader),
        part,
        facts: Facts {
            partitions: place.partitions,
            lost,
            expired,
            consumers,
            ..Facts::default()
        },
        shutdown: shutdown.clone(),
        begun: std::time::Instant::now(),
    };
    Box::pin(work.run(show)).await
}

/// Where each partition of the topic begins and ends.
async fn bounds(
    settings: &ResnapshotSettings,
    collection: &Collection,
) -> Result<Vec<(i64, i64)>, Failure> {
    let (kafka, topic) = (settings.kafka.clone(), collection.topic.clone());
    ask(move || {
        let topics = Topics::open(&kafka)?;
        let partitions = topics.partitions(&topic)?.unwrap_or_default();
        if partitions == 0 {
            let fault = Fault::new(
                "could not read a collection again",
                format!("topic `{topic}`"),
                "it is not there",
                "Start the producer: it creates the topic, and reads a collection that is new.",
            );
            return Err(Failure::one(Exit::Preflight, fault));
        }
        (0..partitions)
            .map(|partition| topics.bounds(&topic, partition))
            .collect()
    })
    .await
}

async fn look_up_followed(
    settings: &ResnapshotSettings,
    collection: &Collection,
) -> Result<Followed, Failure> {
    let (kafka, prefix) = (settings.kafka.clone(), settings.installation.prefix.clone());
    let (database, name) = (collection.database.clone(), collection.name.clone());
    let found = ask(move || followed(&kafka, &prefix, (&database, &name))).await?;
    found.ok_or_else(|| {
        let fault = Fault::new(
            "could not read a collection again",
            format!("`{}`", collection.name),
            "no producer has ever followed it",
            "Start the producer: it reads a collection that is new, whole.",
        );
        Failure::one(Exit::Preflight, fault)
    })
}

/// The partitions whose next record Kafka does not have any more, with the first one that is there.
async fn expired(
    state: &mut State,
    settings: &ResnapshotSettings,
    collection: &Collection,
    bounds: &[(i64, i64)],
) -> Result<Vec<(i32, i64)>, Failure> {
    let progress = offsets::progress(&mut state.session, &settings.installation.group).await;
    let mut progress = progress.map_err(|error| state.lost(&error))?;
    let positions = progress.remove(&collection.topic).unwrap_or_default();
    let firsts = (0..)
        .zip(bounds)
        .map(|(partition, &(first, _))| (partition, first));
    let expired = firsts
        .filter(|(partition, first)| positions.get(partition).is_some_and(|next| next < first));
    Ok(expired.collect())
}

fn whole_is_needed(collection: &Collection, lost: bool) -> Failure {
    let name = &collection.name;
    let why = if lost {
        "the source has overwritten changes of it that were not read: nobody knows which documents they are of"
    } else {
        "Kafka has removed records of it that were not applied: nobody knows which documents they are of"
    };
    Failure::one(
        Exit::HistoryLost,
        Fault::new(
            "could not read only a part of a collection",
            format!("`{name}`"),
            why,
            format!("Read all of it: leafcutter resnapshot {name}"),
        ),
    )
}

/// What is paused is not applied, and would be waited for without an end.
async fn not_paused(
    state: &mut State,
    group: &str,
    collection: &Collection,
) -> Result<(), Failure> {
    let rows = pauses::rows(&mut state.session, group).await;
    let rows = rows.map_err(|error| state.lost(&error))?;
    let is_meant = |row: &&PauseRow| {
        let topic = row.topic.as_deref();
        topic.is_none_or(|topic| topic == collection.topic)
    };
    let Some(row) = rows.iter().find(is_meant) else {
        return Ok(());
    };
    let name = &collection.name;
    let command = match row.topic {
        Some(_) => format!("leafcutter resume {name}"),
        None => "leafcutter resume".to_owned(),
    };
    let fault = Fault::new(
        "could not read a collection again",
        format!("`{name}`"),
        format!("it is paused: {}", row.reason),
        format!("Let it go on first: {command}"),
    );
    Err(Failure::one(Exit::Preflight, fault))
}

fn busy(collection: &Collection) -> Failure {
    Failure::one(
        Exit::Preflight,
        Fault::new(
            "could not read a collection again",
            format!("`{}`", collection.name),
            "somebody else is at it",
            "Wait for that to end; `leafcutter status` shows it.",
        ),
    )
}
