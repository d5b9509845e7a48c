//! Whose a row is, for those who have to say so: asked only when a document is given up for it.

use super::{attempt::Attempt, row_to_delete::RowToDelete, stage};
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
    state::key_map,
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeSet;

/// Characters of a document's key that are shown.
const SHOWN_MAX: usize = 120;

/// The document whose row has this key, as its record's key names it; none where that is not known.
pub(crate) async fn owner_of(
    t: &mut Attempt<'_>,
    root: TableId,
    row_key: &[u8],
) -> Result<Option<String>, ApplyError> {
    let entry = t.model.table(root);
    let mut collection: Option<String> = None;
    let owner: Option<Vec<u8>> = if let Some(sql) = &entry.sql.owners {
        let row = RowToDelete {
            document: DocumentId::new(0),
            key: row_key.to_vec(),
            owner: None,
            version: Version::ZERO,
        };
        stage::copy_keys(t, root, std::slice::from_ref(&row)).await?;
        let found = t.session.query(sql, &[]).await?;
        collection = found.first().and_then(|row| row.get(2));
        found.first().map(|row| row.get(1))
    } else if entry.natural_key {
        let (name, apart) = (&entry.state_name, BTreeSet::new());
        let owners = key_map::of_rows(t.session, name, &[row_key], &apart, false).await?;
        owners.into_iter().next().map(|entry| entry.source)
    } else {
        None
    };
    Ok(owner.filter(|key| !key.is_empty()).map(|key| {
        let text = String::from_utf8_lossy(&key);
        let text = text.trim_start_matches('\0');
        let mut shown: String = text.chars().take(SHOWN_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        match collection {
            Some(collection) => format!("`{shown}` of `{collection}`"),
            None => format!("`{shown}`"),
        }
    }))
}
