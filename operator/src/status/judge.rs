//! What the facts mean. Pure: facts of now and of before go in, a report comes out.

use super::facts::{ControlView, Facts, OUTCOMES, OffsetRow};
use crate::{
    catalog::Catalog,
    figures::{self, count, counted, percent, span},
    settings::Installation,
};
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::version::Version;
use serde::Serialize;
use std::collections::BTreeMap;

/// A consumer that was not seen for longer is gone; each shows itself every five seconds.
const CONSUMER_SEEN_MAX: i64 = 15;
/// A producer that was silent for longer is gone; each sends a heartbeat every second.
const HEARTBEAT_AGE_MAX: i64 = 10;
/// Behind by more seconds than this, cutting over would mean waiting.
const LAG_MAX: i64 = 10;

/// The answer.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// When it was true.
    pub at: String,
    /// The consumer group.
    pub group: String,
    /// The mapping's hash, where a file was given.
    pub mapping: Option<String>,
    /// Whether to cut over.
    pub ready: bool,
    /// Why not.
    pub not_ready_because: Vec<String>,
    /// The producers that ever sent a heartbeat.
    pub producers: Vec<ProducerLine>,
    /// The consumers seen lately.
    pub consumers: Vec<ConsumerLine>,
    /// The collections.
    pub collections: Vec<CollectionLine>,
    /// Documents that wait, by what they wait for.
    pub waiting: Vec<WaitingLine>,
    /// Deleted rows that others still point to, by table.
    pub held: BTreeMap<String, i64>,
    /// Open dead letters, by reason.
    pub dead_letters: BTreeMap<String, i64>,
    /// Whether every record has exactly one outcome.
    pub accounting: Accounting,
    /// Why Kafka could not be asked.
    #[serde(skip)]
    pub kafka: Option<Fault>,
}

/// One producer.
#[derive(Debug, Clone, Serialize)]
pub struct ProducerLine {
    /// Its name.
    pub name: String,
    /// Seconds since its last heartbeat, by this database's clock.
    pub heartbeat_age_seconds: i64,
    /// The source's time up to which everything is in Kafka; none before it can claim any.
    pub source_time: Option<String>,
}

/// One consumer.
#[derive(Debug, Clone, Serialize)]
pub struct ConsumerLine {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Program and version.
    pub program: String,
    /// Its mapping.
    pub mapping: String,
    /// The partitions it holds.
    pub partitions: i64,
    /// Where its health and metrics are served.
    pub admin: Option<String>,
    /// Seconds since it was seen.
    pub seen_seconds_ago: i64,
    /// Seen within the last 15 seconds.
    pub alive: bool,
}

/// How far a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// All its documents are in Kafka.
    Complete,
    /// It is being read.
    Running,
    /// None was taken: only changes are carried.
    None,
    /// No producer has said anything about it.
    Unknown,
}

/// One collection.
#[derive(Debug, Clone, Serialize)]
pub struct CollectionLine {
    /// Its name.
    pub collection: String,
    /// Its topic.
    pub topic: String,
    /// Its snapshot.
    pub snapshot: SnapshotState,
    /// Documents that the snapshot has read.
    pub snapshot_read: u64,
    /// The source's estimate of its documents.
    pub snapshot_estimated: u64,
    /// Splits acknowledged, and in all.
    pub snapshot_splits: (u32, u32),
    /// Records taken from Kafka.
    pub applied: i64,
    /// Records in Kafka, as the last heartbeat told.
    pub in_kafka: i64,
    /// Records in Kafka that are not applied.
    pub behind: i64,
    /// What the bar's whole is: records in Kafka, or more while the snapshot is being read.
    pub expected: i64,
    /// Records applied per second since the look before.
    pub rate: Option<i64>,
    /// Seconds until nothing is behind, at this rate.
    pub seconds_left: Option<i64>,
    /// The age, by the source's clock, of the state that is wholly applied.
    pub lag_seconds: Option<i64>,
    /// What its gate waits for; empty when it is open.
    pub gate_waits_for: Vec<ParentLine>,
}

/// A parent whose snapshot is not applied yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParentLine {
    /// Its name.
    pub collection: String,
    /// How much of its snapshot is applied.
    pub percent: i64,
}

/// Documents of one collection that wait for the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingLine {
    /// Their collection.
    pub collection: String,
    /// `parent` or `unique`.
    pub waits_for: &'static str,
    /// The table whose row is missing, or which has the value already.
    pub table: String,
    /// Their parent is known to be missing; they are placed if it comes all the same.
    pub orphans: bool,
    /// How many.
    pub documents: i64,
}

/// Whether every record has exactly one outcome.
#[derive(Debug, Clone, Serialize)]
pub struct Accounting {
    /// Records taken from Kafka.
    pub consumed: i64,
    /// What became of them.
    pub outcomes: BTreeMap<&'static str, i64>,
    /// The partitions where it does not add up.
    pub broken: Vec<Broken>,
}

/// A partition whose outcomes are not as many as its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Records taken.
    pub consumed: i64,
    /// Outcomes counted.
    pub accounted: i64,
}

/// Judges.
#[must_use]
pub fn judge(
    facts: &Facts,
    before: Option<&Facts>,
    catalog: &Catalog,
    installation: &Installation,
) -> Report {
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
        ready: false,
        not_ready_because: Vec::new(),
        producers: look.producers(),
        consumers: look.consumers(),
        collections: (0..catalog.collections.len())
            .map(|index| look.collection(index))
            .collect(),
        waiting: look.waiting(),
        held: facts.held.iter().cloned().collect(),
        dead_letters: look.dead_letters(),
        accounting: accounting(&facts.offsets),
        kafka: facts.control.as_ref().err().cloned(),
    };
    report.not_ready_because = reasons(&report);
    // The most likely cause of everything else comes first.
    if facts.offsets.is_empty() && !facts.groups.is_empty() {
        let groups = facts.groups.join(", ");
        let group = &installation.group;
        let why = format!("group {group} has applied nothing here; --group may be: {groups}");
        report.not_ready_because.insert(0, why);
    }
    if let Some(why) = look.outside() {
        report.not_ready_because.insert(0, why);
    }
    report.ready = report.not_ready_because.is_empty();
    report
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
            let claim = self
                .control
                .claims
                .get(name)
                .map_or(Version::ZERO, |claim| claim.time);
            ProducerLine {
                name: name.clone(),
                heartbeat_age_seconds: (self.facts.at - newest.sent_at).max(0) / 1000,
                source_time: (claim > Version::ZERO).then(|| figures::version_utc(claim)),
            }
        };
        self.control.newest.iter().map(line).collect()
    }

    fn consumers(&self) -> Vec<ConsumerLine> {
        let line = |row: &super::facts::ConsumerRow| ConsumerLine {
            id: row.id.clone(),
            host: row.host.clone(),
            program: row.program.clone(),
            mapping: row.mapping.clone(),
            partitions: row.partitions,
            admin: row.admin.clone(),
            seen_seconds_ago: row.seen.max(0),
            alive: row.seen <= CONSUMER_SEEN_MAX,
        };
        self.facts.consumers.iter().map(line).collect()
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
        let parents = collection.parents.iter().map(|&parent| ParentLine {
            collection: self.name(parent),
            percent: self.snapshot_applied(&self.catalog.collections[parent].topic),
        });
        parents.filter(|parent| parent.percent < 100).collect()
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
        let line = |row: &super::facts::WaitingRow| WaitingLine {
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
        for row in &self.facts.letters {
            *reasons.entry(row.reason.clone()).or_insert(0) += row.letters;
        }
        reasons
    }
}

fn accounting(offsets: &[OffsetRow]) -> Accounting {
    let mut outcomes: BTreeMap<&'static str, i64> = BTreeMap::new();
    let mut broken = Vec::new();
    for row in offsets {
        for (name, number) in OUTCOMES.iter().zip(row.outcomes) {
            *outcomes.entry(name).or_insert(0) += number;
        }
        let accounted = row.outcomes.iter().sum();
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

/// Why not to cut over now, the most fundamental first.
fn reasons(report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(fault) = &report.kafka {
        reasons.push(format!("Kafka cannot be asked: {}", fault.why));
    } else if report.producers.is_empty() {
        reasons.push("no producer has sent a heartbeat yet".to_owned());
    }
    for producer in &report.producers {
        if producer.heartbeat_age_seconds > HEARTBEAT_AGE_MAX {
            let age = span(producer.heartbeat_age_seconds);
            reasons.push(format!(
                "producer {} was last heard of {age} ago",
                producer.name
            ));
        } else if producer.source_time.is_none() {
            reasons.push(format!(
                "producer {} cannot tell yet how far it is",
                producer.name
            ));
        }
    }
    consumers_not_ready(report, &mut reasons);
    if report.collections.is_empty() {
        reasons.push("no collection is known yet".to_owned());
    }
    for line in &report.collections {
        reasons.extend(collection_not_ready(line).map(|why| format!("{}: {why}", line.collection)));
    }
    let waiting = |orphans: bool| -> i64 {
        report
            .waiting
            .iter()
            .filter(|w| w.orphans == orphans)
            .map(|w| w.documents)
            .sum()
    };
    if waiting(false) > 0 {
        reasons.push(format!("{} waiting", counted(waiting(false), "document")));
    }
    let held: i64 = report.held.values().sum();
    if held > 0 {
        reasons.push(format!(
            "{} kept because others point there",
            counted(held, "deleted row")
        ));
    }
    let letters: i64 = report.dead_letters.values().sum();
    if letters > 0 {
        reasons.push(format!(
            "{} open: leafcutter dead-letters list",
            counted(letters, "dead letter")
        ));
    }
    if !report.accounting.broken.is_empty() {
        reasons.push("the accounting does not add up".to_owned());
    }
    reasons
}

fn consumers_not_ready(report: &Report, reasons: &mut Vec<String>) {
    let alive: Vec<&ConsumerLine> = report.consumers.iter().filter(|c| c.alive).collect();
    let mut mappings: Vec<&str> = alive.iter().map(|c| c.mapping.as_str()).collect();
    mappings.sort_unstable();
    mappings.dedup();
    if alive.is_empty() {
        reasons.push("no consumer is running".to_owned());
    } else if mappings.len() > 1 {
        reasons.push(format!(
            "the consumers run under {} mappings",
            mappings.len()
        ));
    } else if let Some(ours) = &report.mapping
        && mappings[0] != ours
    {
        reasons.push(format!(
            "the consumers run under mapping {}, the file is {ours}",
            mappings[0]
        ));
    }
}

fn collection_not_ready(line: &CollectionLine) -> Option<String> {
    match line.snapshot {
        SnapshotState::Running => {
            let read = i64::try_from(line.snapshot_read).unwrap_or(i64::MAX);
            let estimated = i64::try_from(line.snapshot_estimated).unwrap_or(i64::MAX);
            return Some(format!(
                "snapshot {} % read",
                percent(read, estimated).min(99)
            ));
        }
        SnapshotState::Unknown => return Some("no producer has snapshotted it".to_owned()),
        SnapshotState::Complete | SnapshotState::None => {}
    }
    if !line.gate_waits_for.is_empty() {
        return Some("waits for its parents".to_owned());
    }
    let behind = || counted(line.behind, "record");
    match line.lag_seconds {
        Some(lag) if lag > LAG_MAX && line.behind > 0 => {
            Some(format!("{} and {} behind", behind(), span(lag)))
        }
        None if line.behind > 0 => Some(format!("{} behind", behind())),
        Some(_) | None => None,
    }
}

/// The waits of a gate in words: `learners 62 %, items 3 %`.
#[must_use]
pub fn gate_words(parents: &[ParentLine]) -> String {
    let each = parents
        .iter()
        .map(|parent| format!("{} {} %", parent.collection, parent.percent));
    each.collect::<Vec<_>>().join(", ")
}

/// An outcome as a person says it.
#[must_use]
pub fn outcome_words(outcome: &str, number: i64) -> String {
    let words = match outcome {
        "unchanged" => "the same as what is there",
        "stale" => "older than what is there",
        "held" => "deleted but kept, because others point there",
        "filtered" => "outside the filter",
        "parked" => "had to wait first",
        "ignored" => "without anything to do",
        "dead_lettered" => "to the dead letters",
        other => other,
    };
    format!("{} {words}", count(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Collection,
        status::facts::{ConsumerRow, LetterRow, WaitingRow},
    };
    use leafcutter_schemas::control::{Control, Heartbeat, SnapshotComplete, SnapshotProgress};

    /// The second at which the tests look.
    const NOW: i64 = 1_000;

    fn at(second: i64) -> Version {
        Version::from_i64(second << 31).unwrap()
    }

    fn installation() -> Installation {
        Installation {
            prefix: "lc".to_owned(),
            group: "g".to_owned(),
            mapping: None,
        }
    }

    /// Parents and their children.
    fn catalog() -> Catalog {
        let mut catalog = Catalog::load("lc", None).unwrap();
        let collection = |name: &str, parents: &[usize]| Collection {
            database: "shop".to_owned(),
            name: name.to_owned(),
            topic: format!("lc.shop.{name}"),
            parents: parents.to_vec(),
        };
        catalog.collections = vec![collection("parents", &[]), collection("children", &[0])];
        catalog
    }

    fn heartbeat(second: i64, parents: &[i64], children: &[i64]) -> Control {
        Control::Heartbeat(Heartbeat {
            producer: "lc.shop".to_owned(),
            run: "r".to_owned(),
            time: at(second),
            low_water: Version::ZERO,
            sent_at: (NOW - 1) * 1000,
            offsets: BTreeMap::from([
                ("lc.shop.parents".to_owned(), parents.to_vec()),
                ("lc.shop.children".to_owned(), children.to_vec()),
            ]),
            snapshots: BTreeMap::from([(
                "parents".to_owned(),
                SnapshotProgress {
                    topic: "lc.shop.parents".to_owned(),
                    documents_estimated: 1_000,
                    documents_read: 640,
                    splits_done: 5,
                    splits: 8,
                },
            )]),
        })
    }

    fn complete(collection: &str, offsets: &[i64]) -> Control {
        Control::SnapshotComplete(SnapshotComplete {
            producer: "lc.shop".to_owned(),
            run: "r".to_owned(),
            collection: collection.to_owned(),
            topic: format!("lc.shop.{collection}"),
            offsets: offsets.to_vec(),
            complete_time: at(1),
            documents: 1,
            snapshot: true,
        })
    }

    fn applied(collection: &str, partition: i32, next: i64, second: i64) -> OffsetRow {
        let mut outcomes = [0; 9];
        outcomes[0] = next;
        let topic = format!("lc.shop.{collection}");
        OffsetRow {
            topic,
            partition,
            next,
            source_time: at(second).as_i64(),
            outcomes,
        }
    }

    fn facts(control: Vec<Control>, offsets: Vec<OffsetRow>) -> Facts {
        let mut view = ControlView::default();
        for record in control {
            view.take(record);
        }
        let consumer = ConsumerRow {
            id: "consumer-1".to_owned(),
            host: "h".to_owned(),
            program: "leafcutter-consumer 0.1.0".to_owned(),
            mapping: "m".to_owned(),
            partitions: 4,
            admin: None,
            seen: 2,
        };
        Facts {
            at: NOW * 1000,
            groups: vec!["g".to_owned()],
            offsets,
            gates: ["lc.shop.children".to_owned()].into(),
            waiting: Vec::new(),
            held: Vec::new(),
            letters: Vec::new(),
            consumers: vec![consumer],
            control: Ok(view),
        }
    }

    /// Everything is applied and nothing waits.
    fn settled() -> Facts {
        facts(
            vec![
                heartbeat(NOW - 2, &[5, 0], &[3]),
                complete("parents", &[4, 0]),
                complete("children", &[0]),
            ],
            vec![
                applied("parents", 0, 5, 900),
                applied("children", 0, 3, 900),
            ],
        )
    }

    fn look(facts: &Facts) -> Report {
        judge(facts, None, &catalog(), &installation())
    }

    #[test]
    fn ready_when_everything_is_applied_and_nothing_waits() {
        let report = look(&settled());
        assert_eq!(report.not_ready_because, Vec::<String>::new());
        assert!(report.ready);
        // What is applied shows the source as it was at the heartbeat.
        assert_eq!(report.collections[0].lag_seconds, Some(2));
        assert_eq!(report.collections[0].behind, 0);
    }

    #[test]
    fn each_obstacle_alone_is_told() {
        type Change = fn(&mut Facts);
        let cases: [(Change, &str); 12] = [
            (|f| f.consumers.clear(), "no consumer is running"),
            (|f| f.consumers[0].seen = 16, "no consumer is running"),
            (
                |f| {
                    let mut other = f.consumers[0].clone();
                    other.mapping = "n".to_owned();
                    f.consumers.push(other);
                },
                "run under 2 mappings",
            ),
            (|f| f.at += 60_000, "was last heard of 1 min 1 s ago"),
            (
                |f| f.control = Ok(ControlView::default()),
                "no producer has sent a heartbeat",
            ),
            (
                |f| f.control = Err(Fault::new("a", "b", "connection refused", "c")),
                "Kafka cannot be asked: connection refused",
            ),
            (|f| f.gates.clear(), ""),
            (
                |f| {
                    f.offsets[0].next = 4;
                    f.offsets[0].outcomes[0] = 4;
                },
                "parents: 1 record and 1 min 40 s behind",
            ),
            (
                |f| {
                    f.waiting.push(WaitingRow {
                        topic: "lc.shop.children".to_owned(),
                        unique: false,
                        orphan: false,
                        wait_table: "parents".to_owned(),
                        documents: 2,
                    });
                },
                "2 documents waiting",
            ),
            (
                |f| f.held.push(("parents".to_owned(), 1)),
                "1 deleted row kept",
            ),
            (
                |f| {
                    f.letters.push(LetterRow {
                        topic: "lc.shop.parents".to_owned(),
                        reason: "wrong-type".to_owned(),
                        letters: 3,
                    });
                },
                "3 dead letters open",
            ),
            (
                |f| f.offsets[0].outcomes[3] = 1,
                "the accounting does not add up",
            ),
        ];
        for (change, expected) in cases {
            let mut facts = settled();
            change(&mut facts);
            let report = look(&facts);
            let why = report.not_ready_because.join("; ");
            assert!(why.contains(expected), "{expected:?} is not in {why:?}");
            // A gate that is closed and waits for nothing is about to open.
            assert_eq!(report.ready, expected.is_empty(), "{why}");
        }
    }

    #[test]
    fn a_gate_tells_how_much_of_its_parents_is_applied() {
        let mut facts = settled();
        facts.gates.clear();
        facts.offsets[0] = applied("parents", 0, 2, 900);
        let gate = &look(&facts).collections[1].gate_waits_for;
        assert_eq!(gate_words(gate), "parents 50 %");
        // Not complete: the estimate counts, and it is never the whole.
        facts.control = Ok(ControlView::default());
        if let Ok(control) = &mut facts.control {
            control.take(heartbeat(1, &[640, 0], &[0]));
        }
        facts.offsets[0] = applied("parents", 0, 620, 900);
        let report = look(&facts);
        assert_eq!(
            gate_words(&report.collections[1].gate_waits_for),
            "parents 62 %"
        );
        assert_eq!(report.collections[0].snapshot, SnapshotState::Running);
        assert_eq!(report.collections[0].expected, 1_000);
    }

    #[test]
    fn lag_is_that_of_the_partition_furthest_back() {
        let control = || vec![heartbeat(NOW, &[5, 7], &[3])];
        let lag = |offsets| look(&facts(control(), offsets)).collections[0].lag_seconds;
        let done = applied("parents", 1, 7, 1);
        assert_eq!(
            lag(vec![applied("parents", 0, 5, 1), done.clone()]),
            Some(0)
        );
        assert_eq!(
            lag(vec![applied("parents", 0, 4, 940), done.clone()]),
            Some(60)
        );
        assert_eq!(lag(vec![done]), None, "nothing of partition 0 is applied");
    }

    #[test]
    fn rates_come_from_two_looks() {
        let before = facts(vec![], vec![applied("parents", 0, 100, 1)]);
        let mut now = facts(
            vec![heartbeat(NOW, &[5_100], &[])],
            vec![applied("parents", 0, 1_100, 1)],
        );
        now.at += 2_000;
        let line = |before| judge(&now, before, &catalog(), &installation()).collections[0].clone();
        assert_eq!((line(None).rate, line(None).seconds_left), (None, None));
        assert_eq!(
            (line(Some(&before)).rate, line(Some(&before)).seconds_left),
            (Some(500), Some(8))
        );
        assert_eq!(line(Some(&now)).rate, None, "at the same moment");
    }

    #[test]
    fn accounting_is_checked_partition_by_partition() {
        let mut facts = settled();
        // One too many here and one too few there do not make up for each other.
        facts.offsets[0].outcomes[1] += 1;
        facts.offsets[1].outcomes[0] -= 1;
        let broken = look(&facts).accounting.broken;
        assert_eq!(broken.len(), 2);
        assert_eq!((broken[0].consumed, broken[0].accounted), (5, 6));
    }

    #[test]
    fn topics_outside_the_mapping_are_told() {
        let mut facts = settled();
        facts.offsets.push(applied("strangers", 0, 1, 900));
        facts.offsets.push(applied("strangers", 1, 1, 900));
        let report = look(&facts);
        assert_eq!(
            report.not_ready_because,
            ["1 topic outside the mapping, as lc.shop.strangers"]
        );
    }

    #[test]
    fn a_wrong_group_is_told_first() {
        let mut facts = settled();
        facts.offsets.clear();
        facts.groups = vec!["other".to_owned()];
        let report = look(&facts);
        assert!(report.not_ready_because[0].contains("--group may be: other"));
    }
}
