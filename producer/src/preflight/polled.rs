//! What polling asks of a source: collections that can be read again, and indexes on their dates.

use crate::source::Collection;
use bson::RawDocumentBuf;
use futures_util::TryStreamExt;
use mongodb::{Database, IndexModel, options::TimeseriesOptions};

/// Warns of dates without an index: each poll reads such a collection whole.
pub(super) async fn check_indexes(
    database: &Database,
    collection: &Collection,
    series: Option<&TimeseriesOptions>,
) {
    let handle = database.collection::<RawDocumentBuf>(&collection.name);
    let listed: Result<Vec<IndexModel>, _> =
        async { handle.list_indexes().await?.try_collect().await }.await;
    let Ok(indexes) = listed else {
        tracing::info!(
            collection = collection.name,
            "whether its dates have indexes cannot be seen by this user"
        );
        return;
    };
    let by_time = |field: &str| series.is_some_and(|series| series.time_field == field);
    let slow: Vec<String> = collection
        .dates
        .fields()
        .filter(|field| !by_time(field) && !indexes.iter().any(|index| serves(index, field)))
        .collect();
    if !slow.is_empty() {
        tracing::warn!(
            collection = collection.name,
            fields = slow.join(", "),
            "no index begins with the date: each poll scans the collection; createIndex, or a \
             longer `--poll-interval`"
        );
    }
}

/// Whether an index finds documents by the newest values of a field.
fn serves(index: &IndexModel, field: &str) -> bool {
    let first = index.keys.iter().next();
    let ordered = first.is_some_and(|(name, order)| name == field && order.as_str().is_none());
    let options = index.options.as_ref();
    let partial = options.is_some_and(|options| options.partial_filter_expression.is_some());
    let hidden = options.and_then(|options| options.hidden).unwrap_or(false);
    ordered && !partial && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use mongodb::options::IndexOptions;

    #[test]
    fn an_index_serves_the_field_it_begins_with() {
        let plain = |keys| IndexModel::builder().keys(keys).build();
        assert!(serves(&plain(doc! { "a.b": -1, "c": 1 }), "a.b"));
        assert!(!serves(&plain(doc! { "c": 1, "a.b": 1 }), "a.b"));
        assert!(!serves(&plain(doc! { "a.b": "hashed" }), "a.b"));
        let partial = IndexOptions::builder()
            .partial_filter_expression(doc! { "c": 1 })
            .build();
        let hidden = IndexOptions::builder().hidden(true).build();
        for options in [partial, hidden] {
            let index = IndexModel::builder().keys(doc! { "a": 1 }).options(options);
            assert!(!serves(&index.build(), "a"));
        }
    }
}
