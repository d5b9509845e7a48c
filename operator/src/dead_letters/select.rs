//! Which dead letters a person means, as the index is asked for them.

use super::{find, parse_id, settings::Selection};
use crate::{catalog::Catalog, connect::State};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::dead_letter::Origin;
use leafcutter_sink::state::dead_letters::{DeadLetterRow, Filter};

/// The filter, of dead letters in any state.
///
/// # Errors
/// When a collection is unknown, or a name is none of a dead letter.
pub(super) fn select(
    selection: &Selection,
    ids: &[String],
    catalog: &Catalog,
) -> Result<Filter, Failure> {
    let called = selection.collection.as_deref();
    let found = called.map(|called| catalog.find(called)).transpose()?;
    let ids: Vec<Origin> = ids
        .iter()
        .map(|id| parse_id(catalog, id))
        .collect::<Result<_, _>>()?;
    Ok(Filter {
        topic: found.map(|index| catalog.collections[index].topic.clone()),
        reason: selection.reason.clone(),
        table: selection.table.clone(),
        column: selection.column.clone(),
        sqlstate: selection.sqlstate.clone(),
        since: selection.since,
        before: selection.before,
        state: None,
        ids: (!ids.is_empty()).then_some(ids),
    })
}

/// Those named that are not open, with what is listed of them.
///
/// # Errors
/// When PostgreSQL cannot be asked.
pub(super) async fn not_open(
    filter: &Filter,
    state: &mut State,
) -> Result<Vec<(Origin, Option<DeadLetterRow>)>, Failure> {
    let Some(ids) = filter.ids.clone() else {
        return Ok(Vec::new());
    };
    let named = Filter {
        ids: Some(ids.clone()),
        ..Filter::default()
    };
    let mut rows = find(state, &named, 0).await?;
    let mut closed = Vec::new();
    for id in ids {
        let is_it = |row: &DeadLetterRow| {
            (row.topic.as_str(), row.partition, row.offset)
                == (id.topic.as_str(), id.partition, id.offset)
        };
        let row = rows.iter().position(is_it).map(|at| rows.swap_remove(at));
        if row.as_ref().is_none_or(|row| row.state != "open") {
            closed.push((id, row));
        }
    }
    Ok(closed)
}
