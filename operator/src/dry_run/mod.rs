//! `leafcutter dry-run`: the consumers' own transform over the real source, and nothing written.
//!
//! Documents come from MongoDB, each in a record as the producer would send it, or records from the topics
//! ([`read`], [`topic`]). Each goes through the sink's decode and transform ([`look`]); what would be there in
//! the end follows from its references and unique values ([`placing`]). So what it counts is what a run
//! counts; what it cannot know is said: docs/decisions/what-a-dry-run-says.md.
//!
//! It reads only, and holds figures, a few keys, and hashes of keys up to a bound ([`keys`]).

pub(crate) mod settings;
mod keys;
mod links;
mod aside;
mod placing;
mod look;
mod read;
mod topic;
mod report;
mod render;
#[cfg(test)]
mod tests;

pub use settings::DryRunSettings;

use crate::{
    catalog::{Catalog, usage},
    kafka::ask,
    progress::bar,
    show::Show,
    verify::{source::Source, work::Work},
};
use leafcutter_runtime::{
    exit::Exit,
    kafka::KafkaSettings,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::tier;
use leafcutter_sink::{ids::CollectionId, model::Model};
use look::Look;
use placing::{Extent, Placing};
use report::{Report, Seen};
use std::{sync::Arc, time::Instant};

/// Tries a mapping.
///
/// # Errors
/// When the mapping has faults, a collection is unknown, or a server cannot be asked.
pub async fn run(settings: DryRunSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mapping = &settings.mapping;
    let catalog = Catalog::load(&mapping.prefix, Some(&mapping.mapping))?;
    let model = catalog.model.clone().ok_or_else(bug)?;
    let chosen = chosen(&settings.collections, &catalog)?;
    let source = match settings.from_topic {
        true => None,
        false => Some(Source::open(&settings.mongodb).await?),
    };
    let tiers = tier::tiers(&model.mapping);
    let most = usize::try_from(settings.keys_max).unwrap_or(usize::MAX);
    let mut placing = Placing::new(&model, &chosen, most);
    let mut seen = Vec::new();
    let mut chosen = chosen.into_iter().peekable();
    while let Some(id) = chosen.next() {
        let one;
        (one, placing) = match &source {
            Some(source) => {
                let work = Work::of(0, id, &model);
                let look = (id, source, work);
                Box::pin(from_mongodb(&settings, &model, look, placing, show)).await?
            }
            None => {
                let kafka = settings.kafka.0.clone().ok_or_else(no_kafka)?;
                from_topic(&settings, &model, (id, kafka), placing, show).await?
            }
        };
        seen.push(one);
        let next = chosen.peek();
        if next.is_none_or(|next| tiers.tier(next.0) != tiers.tier(id.0)) {
            placing.settle();
        }
    }
    let report = Report::of(&settings, &model, seen, &placing);
    for one in &report.collections {
        tracing::info!(
            collection = one.collection,
            documents = one.documents,
            rejected = one.rejected,
            "tried"
        );
    }
    if show.json {
        show.json(&report);
    } else {
        show.text(&render::render(&report, show.paint));
    }
    Ok(report.exit())
}

/// The collections that are meant, parents first.
fn chosen(called: &[String], catalog: &Catalog) -> Result<Vec<CollectionId>, Failure> {
    let mut chosen = Vec::new();
    for name in called {
        let id = CollectionId(catalog.find(name)?);
        if !chosen.contains(&id) {
            chosen.push(id);
        }
    }
    if called.is_empty() {
        chosen = (0..catalog.collections.len()).map(CollectionId).collect();
    }
    if let Some(model) = &catalog.model {
        let tiers = tier::tiers(&model.mapping);
        chosen.sort_by_key(|id| tiers.tier(id.0));
    }
    Ok(chosen)
}

async fn from_mongodb(
    settings: &DryRunSettings,
    model: &Arc<Model>,
    (id, source, work): (CollectionId, &Source, Work),
    mut placing: Placing,
    show: &Show<'_>,
) -> Result<(Seen, Placing), Failure> {
    let mut look = Look::new(Arc::clone(model), id, source.estimate(&work).await?);
    let bar = bar("trying", &work.name, wanted(settings, look.all), show);
    let began = Instant::now();
    let notes = (&mut look, &mut placing);
    let whole = read::mongodb(source, &work, settings, &bar, notes).await?;
    look.took = began.elapsed();
    bar.finish_and_clear();
    Ok(ended(look, placing, (whole, true)))
}

async fn from_topic(
    settings: &DryRunSettings,
    model: &Arc<Model>,
    (id, kafka): (CollectionId, KafkaSettings),
    mut placing: Placing,
    show: &Show<'_>,
) -> Result<(Seen, Placing), Failure> {
    let model = Arc::clone(model);
    let (limit, keys_max) = (settings.limit, settings.keys_max);
    let collection = model.collection(id);
    let (name, topic) = (collection.name.clone(), collection.topic.clone());
    let (of, asked) = (topic.clone(), kafka.clone());
    let bounds = ask(move || topic::bounds(&asked, &of)).await?;
    let all: i64 = bounds.iter().map(|(from, until)| until - from).sum();
    let all = u64::try_from(all).unwrap_or_default();
    let bar = bar("trying", &name, wanted(settings, all), show);
    let tried = ask(move || {
        let mut look = Look::new(model, id, all);
        let began = Instant::now();
        let most = usize::try_from(keys_max).unwrap_or(usize::MAX);
        let notes = (&mut look, &mut placing);
        let reached = topic::read(&kafka, (&topic, &bounds), limit, most, &bar, notes)?;
        look.took = began.elapsed();
        bar.finish_and_clear();
        Ok(ended(look, placing, (reached.whole, reached.newest)))
    });
    tried.await
}

/// About how many are read.
fn wanted(settings: &DryRunSettings, all: u64) -> u64 {
    let limit = settings.limit.or(settings.sample.map(u64::from));
    limit.map_or(all, |limit| limit.min(all))
}

fn ended(look: Look, mut placing: Placing, (whole, newest): (bool, bool)) -> (Seen, Placing) {
    // Where records of one document could not be told from each other, nobody knows which keys are there.
    let extent = if whole && newest {
        Extent::Whole
    } else {
        Extent::Part
    };
    placing.extents[look.id.0] = extent;
    let seen = Seen {
        look,
        whole,
        newest,
    };
    (seen, placing)
}

fn no_kafka() -> Failure {
    usage(
        "could not read a topic",
        "`--kafka-brokers` or `LEAFCUTTER_KAFKA_BROKERS`",
        "no broker is given",
        "Give one, such as 127.0.0.1:9092, or leave --from-topic away to read MongoDB.",
    )
}

fn bug() -> Failure {
    let fault = Fault::new(
        "could not compile the mapping",
        "this program",
        "a file was given, and there is no mapping",
        "Please report this.",
    );
    Failure::one(Exit::Bug, fault)
}
