//! What is stored for documents of such a table: their entries and their tombstones.

use crate::{
    error::ApplyError,
    guard::{self, Stored},
    ids::TableId,
    state::{key_map, tombstones},
    write::attempt::Attempt,
};

/// The highest version stored for each of these documents. The table's lock must have been taken.
pub(crate) async fn stored(
    t: &mut Attempt<'_>,
    root: TableId,
    sources: &[&[u8]],
) -> Result<Vec<Stored>, ApplyError> {
    let name = &t.model.table(root).state_name;
    let entries = key_map::of_documents(t.session, name, sources).await?;
    let deleted = tombstones::of_keys(t.session, name, sources).await?;
    let stored = sources.iter().map(|&source| {
        let entry = entries.get(source).map(|entry| entry.version);
        guard::highest(entry, deleted.get(source).copied())
    });
    Ok(stored.collect())
}
