//! All that a dry run says, in the shape of its JSON (docs/decisions/what-a-dry-run-says.md).

use super::{
    look::Look,
    placing::{Extent, Placing},
    settings::DryRunSettings,
};
use leafcutter_runtime::exit::Exit;
use leafcutter_schemas::mapping::OnMissing;
use leafcutter_sink::{ids::CollectionId, model::Model, transform::Loss};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// What was seen of a collection.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) look: Look,
    /// All of it was read.
    pub(super) whole: bool,
    /// Only the newest record of each document counts.
    pub(super) newest: bool,
}

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `mongodb` or `topic`.
    pub(super) source: &'static str,
    /// The mapping's hash.
    pub(super) mapping: String,
    /// By collection, in the order in which they were read.
    pub(super) collections: Vec<OfCollection>,
    /// Every reference of these collections.
    pub(super) references: Vec<OfReference>,
    /// Unique values that several documents have.
    pub(super) taken: Vec<OfUnique>,
    /// What all of it is likely to take.
    pub(super) estimate: Estimate,
}

/// What was seen of a collection.
#[derive(Debug, Serialize)]
pub(super) struct OfCollection {
    pub(super) collection: String,
    /// About how many documents, or records, there are.
    pub(super) all: u64,
    /// How many were read.
    pub(super) read: u64,
    /// Everything was.
    pub(super) whole: bool,
    /// Documents tried.
    pub(super) documents: u64,
    /// Of them rejected.
    pub(super) rejected: u64,
    /// Of them outside the conditions of every table.
    pub(super) filtered: u64,
    /// Of them waiting for ever for a parent, themselves or with a child row.
    pub(super) without_parent: u64,
    /// Of them waiting for ever for a value that another has, themselves or with a child row.
    pub(super) without_value: u64,
    /// Documents whose row a newer one has (`newest-wins`).
    pub(super) outdone: u64,
    /// Records of a topic that say that their document was deleted.
    pub(super) deleted: u64,
    /// Records of a topic of which there is a newer one.
    pub(super) superseded: u64,
    /// Whether those were told from others.
    pub(super) newest_only: bool,
    pub(super) document_bytes: u64,
    pub(super) record_bytes: u64,
    pub(super) tables: Vec<OfTable>,
    pub(super) rejections: Vec<Value>,
    pub(super) lost: Vec<OfLoss>,
    pub(super) left: Vec<OfPath>,
    /// Fields of paths beyond the first thousand.
    pub(super) left_more: u64,
    /// Documents of which this transform alone makes rows in a second.
    pub(super) transform_per_second: Option<u64>,
    /// Seconds that reading and trying took.
    pub(super) seconds: f64,
    #[serde(skip)]
    pub(super) lines: Vec<String>,
}

/// Rows of a table.
#[derive(Debug, Serialize)]
pub(super) struct OfTable {
    pub(super) table: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Values that lose something.
#[derive(Debug, Serialize)]
pub(super) struct OfLoss {
    pub(super) table: String,
    pub(super) column: String,
    pub(super) loss: &'static str,
    pub(super) values: u64,
    pub(super) examples: Vec<String>,
    #[serde(skip)]
    pub(super) kind: Loss,
    #[serde(skip)]
    pub(super) shown: String,
}

/// A field that no column takes.
#[derive(Debug, Serialize)]
pub(super) struct OfPath {
    pub(super) path: String,
    pub(super) documents: u64,
}

/// A reference, and what lacks a parent.
#[derive(Debug, Serialize)]
pub(super) struct OfReference {
    pub(super) collection: String,
    pub(super) table: String,
    pub(super) column: String,
    pub(super) parent: String,
    /// `dead-letter`, `null` or `keep`.
    pub(super) on_missing: &'static str,
    /// Why nobody looked; null where somebody did.
    pub(super) not_looked: Option<&'static str>,
    /// Rows without a parent.
    pub(super) rows: u64,
    pub(super) examples: Vec<String>,
    #[serde(skip)]
    pub(super) shown: String,
}

/// Values of which another row has the same.
#[derive(Debug, Serialize)]
pub(super) struct OfUnique {
    pub(super) collection: String,
    pub(super) table: String,
    pub(super) columns: String,
    /// More keys than there is room for: not all were compared.
    pub(super) given_up: bool,
    pub(super) rows: u64,
    pub(super) examples: Vec<String>,
    #[serde(skip)]
    pub(super) shown: String,
}

/// What the whole is likely to take: what was read, for as many documents as there are.
#[derive(Debug, Default, Serialize)]
pub(super) struct Estimate {
    pub(super) documents: u64,
    /// In Kafka, before it compresses them.
    pub(super) record_bytes: u64,
    pub(super) rows: u64,
    /// Of their fields, without what PostgreSQL adds to each row, and without indexes.
    pub(super) row_bytes: u64,
    /// The transform alone, on one core.
    pub(super) transform_seconds: f64,
    /// Reading and trying, as here.
    pub(super) read_seconds: f64,
}

impl Report {
    pub(super) fn of(
        settings: &DryRunSettings,
        model: &Model,
        seen: Vec<Seen>,
        placing: &Placing,
    ) -> Self {
        let mut estimate = Estimate::default();
        let collections: Vec<OfCollection> = seen
            .iter()
            .map(|one| {
                let of = OfCollection::of(model, one, placing);
                estimate.add(&of, one);
                of
            })
            .collect();
        Self {
            source: if settings.from_topic {
                "topic"
            } else {
                "mongodb"
            },
            mapping: model.mapping.hash.clone(),
            references: references(model, placing),
            taken: taken(model, placing),
            collections,
            estimate,
        }
    }

    /// 1 where something would not arrive.
    pub(super) fn exit(&self) -> Exit {
        let arrives = |one: &OfCollection| {
            one.rejected == 0 && one.without_parent == 0 && one.without_value == 0
        };
        if !self.collections.iter().all(arrives) {
            Exit::Differences
        } else {
            Exit::Done
        }
    }
}

/// As the mapping writes it.
fn word(on_missing: OnMissing) -> &'static str {
    match on_missing {
        OnMissing::DeadLetter => "dead-letter",
        OnMissing::Null => "null",
        OnMissing::Keep => "keep",
    }
}

fn full_name(model: &Model, id: CollectionId) -> String {
    let collection = model.collection(id);
    format!("{}.{}", collection.database, collection.name)
}

impl OfCollection {
    fn of(model: &Model, seen: &Seen, placing: &Placing) -> Self {
        let look = &seen.look;
        let collection = full_name(model, look.id);
        let plan = &model.collection(look.id).plan.tables;
        let placed = &placing.placed[look.id.0];
        let tables = plan.iter().zip(placed).map(|(entry, placed)| OfTable {
            table: entry.table.name.to_string(),
            rows: placed.rows,
            bytes: placed.bytes,
        });
        let lost = look.lost.iter().map(|((table, column, loss), examples)| {
            let table = &plan[*table].table;
            OfLoss {
                table: table.name.to_string(),
                column: table.columns[*column].name.clone(),
                loss: loss.as_str(),
                values: examples.count,
                examples: examples.keys.clone(),
                kind: *loss,
                shown: examples.shown(),
            }
        });
        let paths = look.left.paths.iter();
        let mut left: Vec<OfPath> = paths
            .map(|(path, (documents, _))| OfPath {
                path: path.clone(),
                documents: *documents,
            })
            .collect();
        left.sort_by_key(|one| std::cmp::Reverse(one.documents));
        Self {
            all: look.all.max(look.read),
            read: look.read,
            whole: seen.whole,
            documents: look.trial.documents,
            rejected: look.trial.rejected(),
            filtered: look.filtered,
            without_parent: placing.waiting[look.id.0].for_parent,
            without_value: placing.waiting[look.id.0].for_value,
            outdone: placing.outdone[look.id.0],
            deleted: look.deleted,
            superseded: look.superseded,
            newest_only: seen.newest,
            document_bytes: look.document_bytes,
            record_bytes: look.record_bytes,
            tables: tables.collect(),
            rejections: look.trial.rejections_json(),
            lost: lost.collect(),
            left,
            left_more: look.left.more,
            transform_per_second: look.speed().map(rounded),
            seconds: look.took.as_secs_f64(),
            lines: look.trial.rejections(&collection),
            collection,
        }
    }
}

/// Those of the collections that were read.
fn references(model: &Model, placing: &Placing) -> Vec<OfReference> {
    let all = placing.links.references.iter().zip(&placing.orphans);
    let all = all.enumerate();
    let read = all.filter(|(_, (of, _))| placing.extents[of.collection.0] != Extent::Nothing);
    read.map(|(number, (of, orphans))| {
        let not_looked = placing.not_looked(number);
        let examples = match not_looked {
            Some(_) => Default::default(),
            None => orphans.clone(),
        };
        OfReference {
            collection: full_name(model, of.collection),
            table: of.table.clone(),
            column: of.column.clone(),
            parent: of.parent.clone(),
            on_missing: word(of.on_missing),
            not_looked,
            rows: examples.count,
            shown: examples.shown(),
            examples: examples.keys,
        }
    })
    .collect()
}

/// Those that several have, and those of which that is not known.
fn taken(model: &Model, placing: &Placing) -> Vec<OfUnique> {
    let all = placing.links.uniques.iter().zip(&placing.taken).enumerate();
    let of = all.map(|(number, (of, examples))| OfUnique {
        collection: full_name(model, of.collection),
        table: of.table.clone(),
        columns: of.columns.clone(),
        given_up: placing.is_given_up(number),
        rows: examples.count,
        examples: examples.keys.clone(),
        shown: examples.shown(),
    });
    of.filter(|one| one.rows > 0 || one.given_up).collect()
}

impl Estimate {
    fn add(&mut self, of: &OfCollection, seen: &Seen) {
        if of.read == 0 {
            return;
        }
        let scale = |number: u64| {
            let all = if of.whole { of.read } else { of.all };
            let scaled = u128::from(number) * u128::from(all) / u128::from(of.read);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        let documents = scale(of.documents);
        self.documents += documents;
        self.record_bytes += scale(of.record_bytes);
        self.rows += of.tables.iter().map(|t| scale(t.rows)).sum::<u64>();
        self.row_bytes += of.tables.iter().map(|t| scale(t.bytes)).sum::<u64>();
        if let Some(speed) = seen.look.speed() {
            self.transform_seconds += float(documents) / speed;
        }
        let read = seen.look.took.max(Duration::from_micros(1)).as_secs_f64();
        self.read_seconds += read * float(scale(of.read)) / float(of.read);
    }
}

fn float(number: u64) -> f64 {
    // The nearest double, by the text.
    number.to_string().parse().unwrap_or(f64::MAX)
}

/// A number of a second, by its text: without a fraction.
pub(super) fn rounded(number: f64) -> u64 {
    format!("{:.0}", number.max(0.0))
        .parse()
        .unwrap_or(u64::MAX)
}
