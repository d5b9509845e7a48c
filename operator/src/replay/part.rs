//! What of which topic is applied again: from where, and how far.

use super::settings::ReplaySettings;
use crate::{
    catalog::{Catalog, usage},
    kafka::{Topics, ask},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// What could not be done.
pub(super) const WHAT: &str = "could not replay";

/// One topic that is to be replayed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    pub(super) collection: String,
    pub(super) topic: String,
    /// Records applied before.
    pub(super) applied: i64,
    /// Where each partition begins again.
    #[serde(skip)]
    pub(super) starts: BTreeMap<i32, i64>,
    /// The end of each of them: how far the replay runs.
    #[serde(skip)]
    pub(super) ends: BTreeMap<i32, i64>,
    /// Records to apply.
    pub(super) records: i64,
    /// All partitions of the group are among them.
    #[serde(skip)]
    pub(super) is_of_all: bool,
}

impl Part {
    /// Whether all that the group has applied is applied again.
    pub(super) fn is_whole(&self) -> bool {
        self.is_of_all && self.starts.values().all(|start| *start == 0)
    }

    /// The ends of all partitions, in their order.
    pub(super) fn ends_by_partition(&self) -> Vec<i64> {
        let last = self.ends.keys().last().copied().unwrap_or(-1);
        let ends = (0..=last).map(|partition| self.ends.get(&partition).copied());
        ends.map(Option::unwrap_or_default).collect()
    }
}

/// From where a person wants to begin.
#[derive(Debug, Clone)]
enum Beginning {
    Start,
    /// With the first record that came at this time or later: milliseconds since 1970.
    Time(i64),
    /// These partitions only, each with this offset.
    Offsets(BTreeMap<i32, i64>),
}

impl Beginning {
    fn of(settings: &ReplaySettings) -> Self {
        let millis = |seconds: f64| {
            // Seconds before now, where it is negative.
            let away = Duration::from_secs_f64(seconds.abs());
            let time = if seconds < 0.0 {
                SystemTime::now().checked_sub(away)
            } else {
                SystemTime::UNIX_EPOCH.checked_add(away)
            };
            let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
            since.map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            })
        };
        match settings.since {
            Some(since) => Self::Time(millis(since)),
            None if settings.offset.is_empty() => Self::Start,
            None => Self::Offsets(settings.offset.iter().copied().collect()),
        }
    }

    /// Where a partition of which `next` is the position begins; none where it is not meant.
    fn start(
        &self,
        topics: &Topics,
        (topic, partition, next): (&str, i32, i64),
    ) -> Result<Option<i64>, Failure> {
        match self {
            Self::Start => Ok(Some(0)),
            Self::Time(millis) => {
                let found = topics.offset_at(topic, partition, *millis)?;
                // What is not applied yet is to be applied in any case.
                Ok(Some(found.map_or(next, |found| found.min(next))))
            }
            Self::Offsets(offsets) => {
                let Some(&start) = offsets.get(&partition) else {
                    return Ok(None);
                };
                if start <= next {
                    return Ok(Some(start));
                }
                let why = format!(
                    "the group is at {next}: records before that offset are not applied yet"
                );
                let place = format!("{topic}/{partition}, offset {start}");
                Err(usage(WHAT, &place, why, "Give an offset that is applied."))
            }
        }
    }
}

/// Asks Kafka how far each topic reaches, and whether what is to be applied is still there.
pub(super) async fn parts(
    settings: &ReplaySettings,
    catalog: &Catalog,
    indices: &[usize],
    mut positions: BTreeMap<String, BTreeMap<i32, i64>>,
) -> Result<Vec<Part>, Failure> {
    let from = Beginning::of(settings);
    if matches!(from, Beginning::Offsets(_)) && indices.len() != 1 {
        let why = "an offset is one of a partition of one topic";
        return Err(usage(WHAT, "`--offset`", why, "Name one collection."));
    }
    let wanted: Vec<(String, String, BTreeMap<i32, i64>)> = indices
        .iter()
        .map(|&index| &catalog.collections[index])
        .filter_map(|c| Some((c.name.clone(), c.topic.clone(), positions.remove(&c.topic)?)))
        .collect();
    let kafka = settings.kafka.clone();
    ask(move || {
        let topics = Topics::open(&kafka)?;
        let mut parts = Vec::new();
        let mut cut_off = Vec::new();
        for (collection, topic, positions) in wanted {
            known(&from, &topic, &positions)?;
            let (mut starts, mut ends) = (BTreeMap::new(), BTreeMap::new());
            let mut applied = 0;
            for (&partition, &next) in &positions {
                let Some(start) = from.start(&topics, (&topic, partition, next))? else {
                    continue;
                };
                let (first, end) = topics.bounds(&topic, partition)?;
                if first > start {
                    cut_off.push(format!("{topic}/{partition} begins at {first}"));
                }
                starts.insert(partition, start);
                ends.insert(partition, end);
                applied += next;
            }
            let records = starts.iter().map(|(partition, start)| ends[partition] - start);
            parts.push(Part {
                collection,
                topic,
                applied,
                records: records.sum(),
                is_of_all: starts.len() == positions.len(),
                starts,
                ends,
            });
        }
        if cut_off.is_empty() {
            return Ok(parts);
        }
        Err(Failure::one(
            Exit::HistoryLost,
            Fault::new(
                "could not replay from there",
                format!("brokers `{}`", kafka.brokers),
                format!(
                    "the first records are gone (retention): {}",
                    cut_off.join(", ")
                ),
                "Read these collections again: leafcutter resnapshot. Or replay what is there: --since, \
                 --offset. Nothing was changed.",
            ),
        ))
    })
    .await
}

/// Sees to it that the group has the partitions that are named.
fn known(from: &Beginning, topic: &str, positions: &BTreeMap<i32, i64>) -> Result<(), Failure> {
    let Beginning::Offsets(offsets) = from else {
        return Ok(());
    };
    let mut partitions = offsets.keys();
    let Some(unknown) = partitions.find(|partition| !positions.contains_key(partition)) else {
        return Ok(());
    };
    let why = "the group has no position in this partition";
    let next = "See which there are: leafcutter peek.";
    Err(usage(WHAT, &format!("{topic}/{unknown}"), why, next))
}
