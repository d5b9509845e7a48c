//! Cutting a collection into splits.
//!
//! It takes a collection and gives a [`Plan`]: bounds of `_id` at about equal distances. The
//! server sorts all candidates, because only it knows its order over every BSON type. The ladder:
//! one split where that is enough; every n-th key of the `_id` index where the index is small
//! enough to walk; otherwise a random sample, twenty candidates a split; and where the server
//! refuses to sample (28799), one split. A time series has no index on `_id`, and is one split.
//! Uneven splits cost balance, never documents: together
//! they cover everything by their form.

use super::plan::Plan;
use bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use leafcutter_schemas::{id::key_document, key::DocumentKey};
use mongodb::{
    Collection, Database,
    options::{Hint, SelectionCriteria},
};

/// An index of this many keys is walked in well under a second.
const WALK_DOCUMENTS_MAX: u64 = 100_000;
/// A plan is rewritten with each checkpoint; more splits than this would make it heavy.
const SPLITS_MAX: u64 = 4096;
/// Candidates per split: enough that the largest split is seldom twice the average.
const SAMPLES_PER_SPLIT: u64 = 20;
/// Above this share of the collection, `$sample` scans all of it.
const SAMPLE_SHARE: u64 = 20;

/// What the server says of a collection's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    documents: u64,
    bytes: u64,
}

/// Plans the snapshot of one collection in splits of about `split_bytes`.
///
/// # Errors
/// What the driver says.
pub async fn plan(
    database: &Database,
    name: &str,
    split_bytes: u64,
    reads: SelectionCriteria,
) -> mongodb::error::Result<Plan> {
    let collection = database.collection::<RawDocumentBuf>(name);
    let size = size(&collection).await?;
    let average = size.bytes.checked_div(size.documents).unwrap_or_default();
    let plan = Plan::whole(uuid(database, name).await?, size.documents, average);
    let splits = size
        .bytes
        .div_ceil(split_bytes.max(1))
        .min(SPLITS_MAX)
        .min(size.documents);
    if splits < 2 {
        return Ok(plan);
    }
    let candidates = candidates(&collection, size.documents, splits, reads).await?;
    Ok(plan.cut(&quantiles(distinct(candidates), splits)))
}

/// The one split of a time series.
///
/// # Errors
/// What the driver says.
pub async fn plan_series(database: &Database, name: &str) -> mongodb::error::Result<Plan> {
    /// Its buckets hold each name once, and pack the values.
    const UNPACKED: u64 = 4;
    let collection = database.collection::<RawDocumentBuf>(name);
    let documents = collection.estimated_document_count().await?;
    let bytes = size(&collection).await?.bytes;
    let average = bytes.checked_div(documents).unwrap_or_default() * UNPACKED;
    Ok(Plan::whole(uuid(database, name).await?, documents, average))
}

async fn size(collection: &Collection<RawDocumentBuf>) -> mongodb::error::Result<Size> {
    let stages = [doc! { "$collStats": { "storageStats": {} } }];
    let stats: mongodb::error::Result<Vec<Document>> =
        async { collection.aggregate(stages).await?.try_collect().await }.await;
    let Ok(shards) = stats else {
        // Not allowed, or no such collection: the estimate needs no privilege of its own. Without
        // bytes there is one split, which is slower but whole.
        let documents = collection
            .estimated_document_count()
            .await
            .unwrap_or_default();
        return Ok(Size {
            documents,
            bytes: 0,
        });
    };
    let mut size = Size::default();
    for shard in &shards {
        let number = |name| {
            let value = shard.get_document("storageStats").ok()?.get(name)?;
            match value {
                Bson::Int32(n) => u64::try_from(*n).ok(),
                Bson::Int64(n) => u64::try_from(*n).ok(),
                Bson::Double(n) => format!("{n:.0}").parse().ok(),
                _ => None,
            }
        };
        size.documents += number("count").unwrap_or_default();
        size.bytes += number("size").unwrap_or_default();
    }
    Ok(size)
}

/// The collection's UUID.
pub(crate) async fn uuid(
    database: &Database,
    name: &str,
) -> mongodb::error::Result<Option<String>> {
    let filter = doc! { "name": name };
    let found: Vec<_> = database
        .list_collections()
        .filter(filter)
        .await?
        .try_collect()
        .await?;
    let uuid = found.first().and_then(|found| found.info.uuid.clone());
    Ok(uuid.map(|uuid| {
        uuid.bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }))
}

/// Values of `_id` in the server's order, at least a few for every split.
async fn candidates(
    collection: &Collection<RawDocumentBuf>,
    documents: u64,
    splits: u64,
    reads: SelectionCriteria,
) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
    let sample = splits * SAMPLES_PER_SPLIT;
    if documents <= WALK_DOCUMENTS_MAX || sample * SAMPLE_SHARE >= documents {
        let cursor = collection
            .find(doc! {})
            .projection(doc! { "_id": 1 })
            .sort(doc! { "_id": 1 })
            .hint(Hint::Keys(doc! { "_id": 1 }))
            .selection_criteria(reads)
            .await?;
        let step = (documents / sample).max(1);
        let mut count = 0_u64;
        return cursor
            .try_filter(|_| {
                count += 1;
                std::future::ready(count.is_multiple_of(step))
            })
            .try_collect()
            .await;
    }
    let stages = [
        doc! { "$sample": { "size": i64::try_from(sample).unwrap_or(i64::MAX) } },
        doc! { "$project": { "_id": 1 } },
        doc! { "$sort": { "_id": 1 } },
    ];
    let sampled: mongodb::error::Result<Vec<RawDocumentBuf>> = async {
        let cursor = collection
            .aggregate(stages)
            .selection_criteria(reads)
            .await?;
        cursor.with_type::<RawDocumentBuf>().try_collect().await
    }
    .await;
    match sampled {
        Err(error) if crate::error::server_code(&error) == Some(28799) => {
            tracing::warn!(
                collection = collection.name(),
                "the server cannot sample; one split"
            );
            Ok(Vec::new())
        }
        other => other,
    }
}

/// The `_id`s, each once: a random cursor may give one twice.
fn distinct(candidates: Vec<RawDocumentBuf>) -> Vec<Bson> {
    let mut last = None;
    let mut ids = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let key = DocumentKey::of_document(&candidate);
        if key.is_none() || key == last {
            continue;
        }
        last = key;
        ids.extend(bound(&candidate));
    }
    ids
}

/// The `_id`, if it is the same after a way through the driver's types. One that is not could be a
/// bound out of order: text that is not UTF-8 has no form there, and of two fields of one name in an
/// `_id` only the last would be left.
fn bound(candidate: &RawDocument) -> Option<Bson> {
    let id = key_document(candidate)?;
    let value = Bson::try_from(id.get("_id").ok()??).ok()?;
    let again = doc! { "_id": value.clone() }.to_vec().ok()?;
    (again == id.as_bytes()).then_some(value)
}

/// At most `splits - 1` of the values, at equal distances.
fn quantiles(values: Vec<Bson>, splits: u64) -> Vec<Bson> {
    let splits = usize::try_from(splits).unwrap_or(usize::MAX);
    let count = values.len();
    if count < splits {
        return values;
    }
    let places = (1..splits).map(|number| number * count / splits);
    let mut values: Vec<Option<Bson>> = values.into_iter().map(Some).collect();
    places
        .filter_map(|place| values.get_mut(place).and_then(Option::take))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    #[test]
    fn candidates_are_taken_once_and_at_equal_distances() {
        let candidates = vec![
            rawdoc! { "_id": 1 },
            rawdoc! { "_id": 1i64 },
            rawdoc! { "_id": 2 },
            rawdoc! { "_id": "a" },
            rawdoc! { "_id": "b" },
        ];
        let ids = distinct(candidates);
        let expected = [
            Bson::from(1),
            Bson::from(2),
            Bson::from("a"),
            Bson::from("b"),
        ];
        assert_eq!(ids, expected);
        let mut twice = rawdoc! { "a": 9 };
        twice.append(bson::cstr!("a"), 1);
        assert!(distinct(vec![rawdoc! { "_id": twice }]).is_empty());
        assert_eq!(quantiles(ids.clone(), 2), [Bson::from("a")]);
        assert_eq!(quantiles(ids.clone(), 9), expected);
        let many: Vec<_> = (0..100).map(Bson::from).collect();
        assert_eq!(quantiles(many, 4), [25, 50, 75].map(Bson::from));
    }
}
