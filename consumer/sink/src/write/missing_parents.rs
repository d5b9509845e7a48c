//! References that are set to null since their parent is known never to come.

use super::attempt::Attempt;
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
};
use leafcutter_schemas::mapping::OnMissing;

/// Those of these documents for which that is decided.
pub(crate) fn to_set_null(
    t: &Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Vec<DocumentId> {
    let is_root = t.model.table(table).above.is_empty();
    let decided = |d: &DocumentId| t.probes || t.candidates.get(*d).leaves_out_parents(is_root);
    documents.iter().copied().filter(decided).collect()
}

/// Sets them to null in a temporary table, of those documents for which that is decided.
pub(crate) async fn set_null(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let entry = t.model.table(table);
    let probes = t.probes;
    let decided = to_set_null(t, table, documents);
    if decided.is_empty() {
        return Ok(());
    }
    for check in &entry.sql.references {
        let column = &entry.table.columns[check.column];
        let reference = column.reference.as_ref();
        let nullable = !column.required && !entry.table.key.contains(&check.column);
        if (probes && nullable) || reference.is_some_and(|r| r.on_missing == OnMissing::Null) {
            for row in t.session.query(&check.set_null, &[&decided]).await? {
                t.candidates.get_mut(row.get(0)).set_nulled();
            }
        }
    }
    Ok(())
}
