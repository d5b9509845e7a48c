//! The proof of a mapping: it is compiled, and the consumers' own transform is tried on documents.
//!
//! What it says of rejections is therefore not guessed: each is one that the transform gave. It holds for
//! the documents that were read; of a sample, the share is what may be expected of the rest. It keeps
//! counts and a few keys, and no documents.

use super::source::{Extent, Source};
use crate::trial::Trial;
use bson::{Bson, oid::ObjectId};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::{
    key::DocumentKey,
    mapping::{Conversion, PgType, Table},
};
use leafcutter_sink::{
    ids::RowRange,
    model::{CollectionModel, Model},
    transform::{Made, Rows},
};
use std::collections::{BTreeMap, BTreeSet};

/// Values of references asked for at once.
const ASKED_MAX: usize = 1_000;

/// What became of a collection's documents.
#[derive(Debug, Default)]
pub struct Proof {
    /// Rows and rejections.
    pub trial: Trial,
    /// Different values of references without a parent, in each batch, by table and column.
    pub orphans: BTreeMap<(String, String), u64>,
}

/// Of each reference, values that are to be looked for.
type Asked = BTreeMap<(String, String), (String, BTreeSet<Vec<u8>>)>;

/// Tries the documents of one collection; `parents` gives the collection of a table.
///
/// # Errors
/// When MongoDB cannot be read.
pub async fn collection(
    source: &Source,
    (model, index): (&Model, usize),
    extent: Extent,
    parents: &BTreeMap<String, String>,
    mut each: impl FnMut(),
) -> Result<Proof, Failure> {
    let collection = &model.collections[index];
    let mut proof = Proof::default();
    let mut rows = Rows::default();
    let mut asked = Asked::new();
    let mark = rows.mark();
    let mut reader = source.read(&collection.name, extent).await?;
    while let Some(document) = reader.next().await? {
        proof.trial.documents += 1;
        rows.reset(mark);
        match collection.plan.transform(document, &mut rows) {
            Ok(made) => proof.take(collection, &made, &rows, &mut asked),
            Err(reason) => {
                let key = DocumentKey::of_document(document).unwrap_or_else(DocumentKey::missing);
                proof.trial.refuse(&reason, &key);
            }
        }
        if asked.values().any(|(_, values)| values.len() >= ASKED_MAX) {
            proof.look(source, model, parents, &mut asked).await?;
        }
        each();
    }
    proof.look(source, model, parents, &mut asked).await?;
    Ok(proof)
}

impl Proof {
    fn take(
        &mut self,
        collection: &CollectionModel,
        made: &[Made],
        rows: &Rows,
        asked: &mut Asked,
    ) {
        let ranges = made.iter().filter_map(|(_, range)| *range);
        for index in ranges.flat_map(RowRange::rows) {
            let plan = &collection.plan.tables[rows.row(index).plan_table];
            let table = plan.table.name.to_string();
            for (position, column) in plan.table.columns.iter().enumerate() {
                let Some(reference) = &column.reference else {
                    continue;
                };
                if let Some(value) = rows.field(index, position) {
                    let place = (table.clone(), column.name.clone());
                    let (_, values) = asked
                        .entry(place)
                        .or_insert_with(|| (reference.table.to_string(), BTreeSet::new()));
                    values.insert(value.to_vec());
                }
            }
            *self.trial.rows.entry(table).or_default() += 1;
        }
    }

    /// Looks for the parents of the values that were gathered.
    async fn look(
        &mut self,
        source: &Source,
        model: &Model,
        parents: &BTreeMap<String, String>,
        asked: &mut Asked,
    ) -> Result<(), Failure> {
        for (place, (parent, values)) in std::mem::take(asked) {
            let total = u64::try_from(values.len()).unwrap_or(u64::MAX);
            let table = model.mapping.tables().map(|(_, table)| table);
            let table = table
                .into_iter()
                .find(|table| table.name.to_string() == parent);
            let (Some(table), Some(collection)) = (table, parents.get(&parent)) else {
                continue;
            };
            let ids = values.iter().map(|value| ids(table, value));
            let Some(ids) = ids.collect::<Option<Vec<_>>>() else {
                *self.orphans.entry(place).or_default() += total;
                continue;
            };
            let known = source.known(collection, ids.concat()).await?;
            let known: BTreeSet<String> = known.iter().map(as_text).collect();
            let there = u64::try_from(known.len()).unwrap_or(u64::MAX);
            *self.orphans.entry(place).or_default() += total.saturating_sub(there);
        }
        Ok(())
    }
}

/// An `_id` and its text are one parent.
fn as_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => text.clone(),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        Bson::Double(number) => number.to_string(),
        other => other.to_string(),
    }
}

/// The `_id`s that have this key; none where that cannot be known.
fn ids(table: &Table, value: &[u8]) -> Option<Vec<Bson>> {
    let [key] = table.key.as_slice() else {
        return None;
    };
    let key = table.columns.get(*key)?;
    match (key.pg_type, key.conversion) {
        (_, Conversion::UuidV5) => None,
        (PgType::Text, _) => {
            let text = std::str::from_utf8(value).ok()?;
            let id = ObjectId::parse_str(text).ok().map(Bson::ObjectId);
            Some(
                id.into_iter()
                    .chain([Bson::String(text.to_owned())])
                    .collect(),
            )
        }
        (PgType::Int8, _) => {
            let number = i64::from_be_bytes(value.try_into().ok()?);
            Some(vec![Bson::Int64(number)])
        }
        _ => None,
    }
}
