//! What the facts mean. Pure: facts of now and of before go in, a report comes out.

use super::{
    facts::{ControlView, Facts},
    readiness::{Reason, reasons},
    report::{
        Accounting, Broken, CollectionLine, ConsumerLine, InForceLine, OlderLine, ParentLine,
        PausedLine, ProducerLine, ReadAgainLine, Report, SnapshotState, StoppedLine, WaitingLine,
    },
};
use crate::{
    catalog::Catalog,
    drift,
    figures::{self, counted, percent},
    settings::Installation,
};
use leafcutter_schemas::version::Version;
use leafcutter_sink::{
    change::Outcome,
    state::{
        breakers::BreakerRow, consumers::ConsumerRow, offsets::OffsetRow, older_rows::OlderRow,
        parked::WaitingDocuments, pauses::PauseRow,
    },
};
use std::collections::BTreeMap;

/// Judges. The reasons not to cut over come with what they are about, too.
#[must_use]
pub fn judge(
    facts: &Facts,
    before: Option<&Facts>,
    catalog: &Catalog,
    installation: &Installation,
) -> (Report, Vec<Reason>) {
    let nothing = ControlView::default();
    let control = facts.control.as_ref().unwrap_or(&nothing);
    let look = Look {
        facts,
        before,
        control,
        catalog,
    };
    let mut report = Report {
        at: figures::utc(facts.at),
        group: installation.group.clone(),
        mapping: catalog
            .model
            .as_ref()
            .map(|model| model.mapping.hash.clone()),
        in_force: look.in_force(),
        older_rows: look.older_rows(),
        deferred_constraints: facts.deferred.clone(),
        ready: false,
        not_ready_because: Vec::new(),
        producers: look.producers(),
        consumers: look.consumers(),
        collections: (0..catalog.collections.len())
            .map(|index| look.collection(index))
            .collect(),
        paused: look.paused(),
        stopped: look.stopped(),
        read_again: look.read_again(),
        waiting: look.waiting(),
        held: facts.held.iter().cloned().collect(),
        cascaded: facts.cascaded.iter().cloned().collect(),
        dead_letters: look.dead_letters(),
        unmapped_fields: look.unmapped_fields(),
        accounting: accounting(&facts.offsets),
        kafka: facts.control.as_ref().err().cloned(),
    };
    let mut reasons = reasons(&report);
    // The most likely cause of everything else comes first.
    if facts.offsets.is_empty() && !facts.groups.is_empty() {
        let groups = facts.groups.join(", ");
        let group = &installation.group;
        let why = format!("group {group} has applied nothing here; --group may be: {groups}");
        reasons.insert(0, Reason::stored(why));
    }
    if let Some(why) = look.outside() {
        reasons.insert(0, Reason::stored(why));
    }
    report.ready = reasons.is_empty();
    report.not_ready_because = reasons.iter().map(|reason| reason.words.clone()).collect();
    (report, reasons)
}

struct Look<'a> {
    facts: &'a Facts,
    before: Option<&'a Facts>,
    control: &'a ControlView,
    catalog: &'a Catalog,
}

impl Look<'_> {
    fn name(&self, index: usize) -> String {
        let collection = &self.catalog.collections[index];
        let same = |other: &&crate::catalog::Collection| other.name == collection.name;
        if self.catalog.collections.iter().filter(same).count() > 1 {
            format!("{}.{}", collection.database, collection.name)
        } else {
            collection.name.clone()
        }
    }

    fn name_of_topic(&self, topic: &str) -> String {
        match self.catalog.by_topic(topic) {
            Some(index) => self.name(index),
            None => self.catalog.short(topic).to_owned(),
        }
    }

    fn producers(&self) -> Vec<ProducerLine> {
        let line = |(name, newest): (&String, &leafcutter_schemas::control::Heartbeat)| {
            let claims = self.control.claims.values();
            let own = claims.filter(|claim| claim.producer == *name);
            let claim = own.map(|claim| claim.time).max().unwrap_or_default();
            ProducerLine {
                name: name.clone(),
                heartbeat_age_seconds: (self.facts.at - newest.sent_at).max(0) / 1000,
                source_time: (claim > Version::ZERO).then(|| figures::version_utc(claim)),
                polled: newest.polled,
            }
        };
        self.control.newest.iter().map(line).collect()
    }

    fn consumers(&self) -> Vec<ConsumerLine> {
        let line = |row: &ConsumerRow| ConsumerLine {
            id: row.id.clone(),
            host: row.host.clone(),
            program: row.program.clone(),
            mapping: row.mapping.clone(),
            partitions: row.partitions,
            admin: row.admin.clone(),
            seen_seconds_ago: row.seen.max(0),
            alive: row.is_alive(),
            problem: row.problem.clone(),
        };
        self.facts.consumers.iter().map(line).collect()
    }

    /// How many fields no column takes, by collection.
    fn unmapped_fields(&self) -> BTreeMap<String, i64> {
        let mut fields = BTreeMap::new();
        for row in &self.facts.unmapped {
            if drift::is_unmapped(row, self.catalog) {
                *fields
                    .entry(self.name_of_topic(&row.field.topic))
                    .or_default() += 1;
            }
        }
        fields
    }

    fn paused(&self) -> Vec<PausedLine> {
        let line = |row: &PauseRow| PausedLine {
            collection: row.topic.as_ref().map(|topic| self.name_of_topic(topic)),
            reason: row.reason.clone(),
            since: row.since.clone(),
            seconds_ago: row.paused_seconds,
        };
        self.facts.pauses.iter().map(line).collect()
    }

    fn stopped(&self) -> Vec<StoppedLine> {
        let line = |row: &BreakerRow| {
            Some(StoppedLine {
                collection: self.name_of_topic(&row.topic),
                failures: row.failures,
                reason: row.reason.clone().unwrap_or_default(),
                seconds_ago: row.open_seconds?.max(0),
            })
        };
        self.facts.breakers.iter().filter_map(line).collect()
    }

    fn in_force(&self) -> Option<InForceLine> {
        let row = self.facts.in_force.as_ref()?;
        let model = self.catalog.model.as_ref();
        let differs = model.map(|model| row.differs(&model.mapping));
        Some(InForceLine {
            generation: row.generation.0,
            mapping: row.hash.clone(),
            since: row.since.clone(),
            differs: differs.unwrap_or_default(),
        })
    }

    fn older_rows(&self) -> Vec<OlderLine> {
        let line = |row: &OlderRow| {
            let positions = self.positions(&row.topic);
            let next = |partition| positions.get(&partition).map_or(0, |row| row.next);
            if row.is_replayed(next) {
                return None;
            }
            let collection = self.name_of_topic(&row.topic);
            Some(OlderLine {
                generation: row.generation,
                what: row.what.clone(),
                command: again(row.replay, &collection),
                running: row.ends.is_some(),
                collection,
            })
        };
        self.facts.older.iter().filter_map(line).collect()
    }

    fn read_again(&self) -> Vec<ReadAgainLine> {
        let rows = self.facts.unfinished.iter();
        let lines = rows.map(|row| ReadAgainLine {
            collection: self.name_of_topic(&row.topic),
            running: row.running,
            seconds_ago: row.seconds.max(0),
        });
        lines.collect()
    }

    fn positions(&self, topic: &str) -> BTreeMap<i32, &OffsetRow> {
        let own = self.facts.offsets.iter().filter(|row| row.topic == topic);
        own.map(|row| (row.partition, row)).collect()
    }

    fn collection(&self, index: usize) -> CollectionLine {
        let topic = &self.catalog.collections[index].topic;
        let positions = self.positions(topic);
        let applied: i64 = positions.values().map(|row| row.next).sum();
        let ends = self.control.ends(topic);
        let next = |partition: usize| {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            positions.get(&partition).map_or(0, |row| row.next)
        };
        let behind: i64 = ends
            .iter()
            .enumerate()
            .map(|(p, end)| (end - next(p)).max(0))
            .sum();
        let (snapshot, progress) = self.snapshot(topic);
        let in_kafka = applied + behind;
        let estimated = i64::try_from(progress.documents_estimated).unwrap_or(i64::MAX);
        let expected = if snapshot == SnapshotState::Running {
            in_kafka.max(estimated)
        } else {
            in_kafka
        };
        let rate = self.rate(topic, applied);
        CollectionLine {
            collection: self.name(index),
            topic: topic.clone(),
            snapshot,
            snapshot_read: progress.documents_read,
            snapshot_estimated: progress.documents_estimated,
            snapshot_splits: (progress.splits_done, progress.splits),
            applied,
            in_kafka,
            behind,
            expected,
            rate,
            seconds_left: rate
                .filter(|&rate| rate > 0 && behind > 0)
                .map(|rate| behind / rate),
            lag_seconds: self.lag(topic, &positions),
            gate_waits_for: self.gate(index),
        }
    }

    fn snapshot(
        &self,
        topic: &str,
    ) -> (SnapshotState, leafcutter_schemas::control::SnapshotProgress) {
        let progress = self
            .control
            .newest
            .values()
            .flat_map(|heartbeat| heartbeat.snapshots.values())
            .find(|progress| progress.topic == topic);
        let state = match (self.control.complete.get(topic), progress) {
            (Some(complete), _) if complete.snapshot => SnapshotState::Complete,
            (Some(_), _) => SnapshotState::None,
            (None, Some(_)) => SnapshotState::Running,
            (None, None) => SnapshotState::Unknown,
        };
        (state, progress.cloned().unwrap_or_default())
    }

    fn rate(&self, topic: &str, applied: i64) -> Option<i64> {
        let before = self.before?;
        let millis = self.facts.at - before.at;
        if millis <= 0 {
            return None;
        }
        let earlier: i64 = before
            .offsets
            .iter()
            .filter(|row| row.topic == topic)
            .map(|row| row.next)
            .sum();
        Some((applied - earlier).max(0).saturating_mul(1000) / millis)
    }

    /// Everything below the offsets of a heartbeat with time H is applied: the target shows the
    /// source as it was at H. Otherwise it shows, for the partition furthest back, the time of
    /// the newest record applied there.
    fn lag(&self, topic: &str, positions: &BTreeMap<i32, &OffsetRow>) -> Option<i64> {
        let claim = self
            .control
            .claim(topic)
            .filter(|claim| claim.time > Version::ZERO)?;
        let mut applied_to = claim.time;
        for (partition, &end) in claim.offsets.get(topic)?.iter().enumerate() {
            let position = positions.get(&i32::try_from(partition).unwrap_or(i32::MAX));
            if position.map_or(0, |row| row.next) < end {
                let seen = Version::from_i64(position.map_or(0, |row| row.source_time))?;
                applied_to = applied_to.min(seen);
            }
        }
        // Nothing of some partition is applied: there is no time to speak of.
        (applied_to > Version::ZERO).then(|| (self.facts.at / 1000 - applied_to.seconds()).max(0))
    }

    fn gate(&self, index: usize) -> Vec<ParentLine> {
        let collection = &self.catalog.collections[index];
        if self.facts.gates.contains(&collection.topic) {
            return Vec::new();
        }
        let parents = collection.parents.iter().map(|&parent| {
            let topic = &self.catalog.collections[parent].topic;
            let waiting = self.facts.waiting.iter();
            let waiting = waiting.filter(|waiting| waiting.topic == *topic && !waiting.orphan);
            ParentLine {
                collection: self.name(parent),
                percent: self.snapshot_applied(topic),
                waiting: waiting.map(|waiting| waiting.documents).sum(),
            }
        });
        let is_behind = |parent: &ParentLine| parent.percent < 100 || parent.waiting > 0;
        parents.filter(is_behind).collect()
    }

    /// How much of a topic's snapshot is applied, in percent.
    fn snapshot_applied(&self, topic: &str) -> i64 {
        let positions = self.positions(topic);
        if let Some(complete) = self.control.complete.get(topic) {
            let whole: i64 = complete.offsets.iter().sum();
            let applied = complete
                .offsets
                .iter()
                .enumerate()
                .map(|(partition, &end)| {
                    let position = positions.get(&i32::try_from(partition).unwrap_or(i32::MAX));
                    position.map_or(0, |row| row.next).min(end)
                });
            return percent(applied.sum(), whole);
        }
        let applied: i64 = positions.values().map(|row| row.next).sum();
        let (_, progress) = self.snapshot(topic);
        let estimated = i64::try_from(progress.documents_estimated).unwrap_or(i64::MAX);
        let ends: i64 = self.control.ends(topic).iter().sum();
        // Not complete, so never the whole, whatever the estimate says.
        let whole = estimated.max(ends).max(1);
        percent(applied, whole).min(99)
    }

    /// The group's topics that are none of the mapping's: it may be the wrong file.
    fn outside(&self) -> Option<String> {
        let mut outside: Vec<&str> = self
            .facts
            .offsets
            .iter()
            .map(|o| o.topic.as_str())
            .collect();
        outside.dedup();
        outside.retain(|topic| self.catalog.by_topic(topic).is_none());
        let first = outside.first()?;
        let number = i64::try_from(outside.len()).unwrap_or(i64::MAX);
        Some(format!(
            "{} outside the mapping, as {first}",
            counted(number, "topic")
        ))
    }

    fn waiting(&self) -> Vec<WaitingLine> {
        let line = |row: &WaitingDocuments| WaitingLine {
            collection: self.name_of_topic(&row.topic),
            waits_for: if row.unique { "unique" } else { "parent" },
            table: row.wait_table.clone(),
            orphans: row.orphan,
            documents: row.documents,
        };
        self.facts.waiting.iter().map(line).collect()
    }

    fn dead_letters(&self) -> BTreeMap<String, i64> {
        let mut reasons = BTreeMap::new();
        for row in &self.facts.dead_letters {
            *reasons.entry(row.reason.clone()).or_insert(0) += row.dead_letters;
        }
        reasons
    }
}

/// The command that writes the rows of a collection again.
#[must_use]
pub fn again(replay: bool, collection: &str) -> String {
    let verb = if replay { "replay" } else { "resnapshot" };
    format!("leafcutter {verb} {collection}")
}

fn accounting(offsets: &[OffsetRow]) -> Accounting {
    let mut outcomes: BTreeMap<&'static str, i64> = BTreeMap::new();
    let mut broken = Vec::new();
    for row in offsets {
        for outcome in Outcome::ALL {
            *outcomes.entry(outcome.column()).or_insert(0) += row.outcomes.of(outcome);
        }
        let accounted = row.outcomes.total();
        if accounted != row.next {
            broken.push(Broken {
                topic: row.topic.clone(),
                partition: row.partition,
                consumed: row.next,
                accounted,
            });
        }
    }
    Accounting {
        consumed: offsets.iter().map(|row| row.next).sum(),
        outcomes,
        broken,
    }
}

#[cfg(test)]
mod tests;
