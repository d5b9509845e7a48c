//! Documents of which no table can have a row, such as those whose `_id` cannot be read.
//!
//! What closes a dead letter is the row that is written or deleted. Of such a document there is none, so
//! its letter is closed by the record that says that the document is gone: that mends it in the source.

use super::attempt::Attempt;
use crate::{change::Prepared, error::ApplyError, ids::CollectionId, state::dead_letters};
use leafcutter_schemas::version::Version;
use std::collections::BTreeMap;

/// Closes the open dead letters of the batch's documents that are gone, or left out, and can have no row.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub(crate) async fn close_letters(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    if !t.flags.dead_letters {
        return Ok(());
    }
    let model = t.model;
    let mut gone: BTreeMap<CollectionId, Vec<(&[u8], Version)>> = BTreeMap::new();
    for record in t.records.batch() {
        if let Prepared::Write { version, changes } = &record.prepared
            && changes.is_empty()
        {
            let collection = record.delivery.origin.partition.collection;
            let gone = gone.entry(collection).or_default();
            gone.push((&record.delivery.key, version.version));
        }
    }
    for (collection, gone) in gone {
        let collection = model.collection(collection);
        let table = &model.table(collection.roots[0]).state_name;
        dead_letters::supersede_rowless(t.session, (&collection.topic, table), &gone).await?;
    }
    Ok(())
}
