//! How a collection is cut into splits, in a form that a checkpoint can hold.
//!
//! A plan is a list of bounds in the server's order; the first split has no lower bound and the
//! last no upper one, so together they cover every `_id` whatever its BSON type, also those
//! inserted later. Bounds are kept as BSON bytes in hex: Extended JSON could not tell an `_id`
//! that is a document with an operator's name from the operator.

use bson::{Bson, Document, doc};
use leafcutter_schemas::version::Version;
use serde::{Deserialize, Serialize};

/// How one collection is cut.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The collection's UUID: a collection dropped and created anew has another.
    pub uuid: Option<String>,
    /// When it was planned; a later plan replaces an earlier one.
    pub planned_at: Version,
    /// The server's estimate of its documents.
    pub estimated: u64,
    /// Bytes of an average document.
    pub average: u64,
    /// Bounds between the splits, as `{ _id: … }` in hex.
    pub bounds: Vec<String>,
}

/// A range of `_id`: from `lower`, inclusive, to `upper`, exclusive.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Split {
    /// No lower bound: from the smallest.
    pub lower: Option<Document>,
    /// No upper bound: to the largest.
    pub upper: Option<Document>,
}

impl Plan {
    /// A plan with one split.
    pub fn whole(uuid: Option<String>, estimated: u64, average: u64) -> Self {
        Self {
            uuid,
            estimated,
            average,
            ..Self::default()
        }
    }

    /// Cuts at these values of `_id`, which stand in the server's order, each once. The smallest
    /// and the largest value of all are no bounds: a range from MaxKey on is empty for the server,
    /// although there may be a document with that `_id` (6.0.5).
    #[must_use]
    pub fn cut(mut self, bounds: &[Bson]) -> Self {
        let inner = bounds
            .iter()
            .filter(|id| !matches!(id, Bson::MinKey | Bson::MaxKey));
        self.bounds = inner.filter_map(to_hex).collect();
        self
    }

    /// How many splits there are; never none.
    pub fn split_count(&self) -> usize {
        self.bounds.len() + 1
    }

    /// The range of a split.
    pub fn split(&self, number: usize) -> Option<Split> {
        let bound = |index: usize| self.bounds.get(index).map(|text| from_hex(text));
        let lower = match number.checked_sub(1) {
            None => None,
            Some(before) => Some(bound(before)??),
        };
        let upper = match bound(number) {
            None => None,
            Some(upper) => Some(upper?),
        };
        Some(Split { lower, upper })
    }
}

fn to_hex(id: &Bson) -> Option<String> {
    let bytes = doc! { "_id": id.clone() }.to_vec().ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn from_hex(text: &str) -> Option<Document> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    Document::from_reader(bytes?.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_touch_without_gap_or_overlap() {
        let ids = [
            Bson::MinKey,
            Bson::from(1),
            Bson::from("a"),
            Bson::from(doc! { "$oid": "x" }),
            Bson::MaxKey,
        ];
        let plan = Plan::whole(Some("u".into()), 5, 10).cut(&ids);
        assert_eq!(plan.split_count(), 4, "no bound at either end");
        let stored = serde_json::to_vec(&plan).unwrap();
        let plan: Plan = serde_json::from_slice(&stored).unwrap();
        let splits: Vec<_> = (0..4).map(|n| plan.split(n).unwrap()).collect();
        assert_eq!(splits[0].lower, None);
        assert_eq!(splits[3].upper, None);
        for (pair, id) in splits.windows(2).zip(&ids[1..4]) {
            assert_eq!(pair[0].upper, pair[1].lower);
            assert_eq!(pair[0].upper, Some(doc! { "_id": id.clone() }));
        }
    }
}
