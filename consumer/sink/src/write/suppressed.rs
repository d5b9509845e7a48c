//! Documents of whose rows the target swallowed some, without an error (`docs/protocol.md`, B1).
//!
//! Such a document's record is counted as suppressed, and harms nobody: its row is taken out of what follows,
//! its child rows are not written below a row that is not there. One that was parked is counted already: it
//! becomes a dead letter, which only the settling task can list and send.

use super::{
    attempt::Attempt,
    candidate::{Candidate, CandidateSource},
    rows_led_to,
    stage::{documents as documents_of, take_out},
};
use crate::{
    change::Outcome,
    error::ApplyError,
    ids::{DocumentId, TableId},
    model::Model,
    target::suppressing,
};
use leafcutter_schemas::dead_letter::{Reason, Stage};
use std::collections::BTreeSet;

/// Whether a table may swallow rows.
pub(crate) async fn may_suppress(t: &mut Attempt<'_>, table: TableId) -> Result<bool, ApplyError> {
    Ok(known(t).await?.contains(&table))
}

/// Whether any table may.
pub(crate) async fn any_may_suppress(t: &mut Attempt<'_>) -> Result<bool, ApplyError> {
    Ok(!known(t).await?.is_empty())
}

async fn known<'a>(t: &'a mut Attempt<'_>) -> Result<&'a BTreeSet<TableId>, ApplyError> {
    let known = match t.suppressing.take() {
        Some(known) => known,
        None => suppressing::suppressing(t.session, t.model).await?,
    };
    Ok(t.suppressing.insert(known))
}

/// Writes the root rows that stand in the temporary table, those of these documents. Gives the documents
/// whose rows are written.
pub(crate) async fn upsert_roots(
    t: &mut Attempt<'_>,
    root: TableId,
    mut documents: Vec<DocumentId>,
) -> Result<Vec<DocumentId>, ApplyError> {
    let sql = &t.model.table(root).sql;
    if !may_suppress(t, root).await? {
        let count = t.session.execute(&sql.upsert, &[]).await?;
        // A row changed between the comparison and the write: compare again.
        if usize::try_from(count) != Ok(documents.len()) {
            return Err(ApplyError::Again(None));
        }
        return Ok(documents);
    }
    let missed = documents_of(t, &sql.upsert_seen).await?;
    let mut missed: BTreeSet<DocumentId> = missed.into_iter().collect();
    if missed.is_empty() {
        return Ok(documents);
    }
    if let Some(take_foreign) = &sql.take_foreign {
        // Another document's row has come meanwhile.
        let foreign = documents_of(t, take_foreign).await?;
        if foreign.iter().any(|document| missed.contains(document)) {
            return Err(ApplyError::Again(None));
        }
    }
    for row in t.session.query(&sql.classify, &[]).await? {
        let (document, stale): (DocumentId, bool) = (row.get(0), row.get(1));
        // Else it is there: a trigger has put it elsewhere, as in a table that others inherit from.
        if missed.remove(&document) && stale {
            return Err(ApplyError::Again(None));
        }
    }
    for &document in &missed {
        let candidate = t.candidates.get_mut(document);
        candidate.decide(Outcome::Suppressed);
        candidate.suppress(root);
    }
    documents.retain(|document| !missed.contains(document));
    let missed: Vec<DocumentId> = missed.into_iter().collect();
    take_out(t, root, &missed).await?;
    Ok(documents)
}

/// Writes the rows of a child table.
pub(crate) async fn upsert_children(t: &mut Attempt<'_>, child: TableId) -> Result<(), ApplyError> {
    let sql = &t.model.table(child).sql;
    if !may_suppress(t, child).await? {
        t.session.execute(&sql.upsert, &[]).await?;
        return Ok(());
    }
    let missed = documents_of(t, &sql.upsert_seen).await?;
    note(t, child, missed);
    Ok(())
}

/// Deletes the rows of a child table that the written documents no longer have.
pub(crate) async fn delete_vanished(t: &mut Attempt<'_>, child: TableId) -> Result<(), ApplyError> {
    let sql = &t.model.table(child).sql;
    let (Some(delete), Some(left)) = (&sql.delete_vanished, &sql.vanished_left) else {
        return Ok(());
    };
    let may = may_suppress(t, child).await?;
    rows_led_to::write(t, delete, !may, &[]).await?;
    if may {
        let left = documents_of(t, left).await?;
        note(t, child, left);
    }
    Ok(())
}

/// Those of these documents of which rows are left in a table, though they were deleted there.
pub(crate) async fn left_in(
    t: &mut Attempt<'_>,
    table: TableId,
    documents: &[DocumentId],
) -> Result<Vec<DocumentId>, ApplyError> {
    if !may_suppress(t, table).await? {
        return Ok(Vec::new());
    }
    let sql = &t.model.table(table).sql.delete_left;
    let rows = t.session.query(sql, &[&documents]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn note(t: &mut Attempt<'_>, table: TableId, documents: Vec<DocumentId>) {
    for document in documents {
        t.candidates.get_mut(document).suppress(table);
    }
}

/// Why a document is refused that the target suppressed; none where it did not.
pub(crate) fn reason(model: &Model, candidate: &Candidate) -> Option<Reason> {
    Some(by(&model.table(candidate.suppressed_in()?).state_name))
}

/// What this table swallowed.
pub(crate) fn by(table: &str) -> Reason {
    let message = format!(
        "a trigger, a rule or a policy of `{table}` kept a row from being written or deleted, without an error"
    );
    Reason::new(Stage::Apply, "suppressed", message).at(table.to_owned(), None)
}

/// Lets an attempt fail in which a released document was suppressed: without it, it is the settling task's
/// matter (S5a).
pub(crate) fn refuse_released(t: &Attempt<'_>) -> Result<(), ApplyError> {
    let released =
        |candidate: &&Candidate| matches!(candidate.source(), CandidateSource::Parked(_));
    let mut released = t.candidates.iter().filter(released);
    match released.find_map(|candidate| reason(t.model, candidate)) {
        Some(reason) => Err(ApplyError::Again(Some(Box::new(reason)))),
        None => Ok(()),
    }
}
