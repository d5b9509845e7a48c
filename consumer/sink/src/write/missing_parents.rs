//! References that are set to null since their parent is known never to come.

use super::attempt::Attempt;
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
};
use leafcutter_schemas::mapping::OnMissing;

/// Sets them to null in a temporary table, of those documents for which that is decided.
pub(crate) async fn set_null(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Result<(), ApplyError> {
    let entry = t.model.table(table);
    let is_root = entry.above.is_empty();
    let probes = t.probes;
    let decided: Vec<DocumentId> = documents
        .iter()
        .copied()
        .filter(|&d| probes || t.candidates.get(d).leaves_out_parents(is_root))
        .collect();
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
