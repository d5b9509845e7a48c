//! Which mapping is in force, and that a verb that writes rows has that one.
//!
//! A verb that wrote rows under another mapping than the consumers' would have them written again by the next
//! event. It refuses in the words of the consumers.

use crate::{catalog::Catalog, connect::State};
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_sink::{
    ids::Generation,
    model::Model,
    state::mappings::{self, MappingRow},
};
use std::{path::Path, sync::Arc};

/// What a verb is about to do.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    /// What could not be done otherwise.
    pub what: &'static str,
    /// The consumer group.
    pub group: &'a str,
    /// The mapping file.
    pub file: Option<&'a Path>,
}

/// The mapping in force.
///
/// # Errors
/// When PostgreSQL cannot be asked, or no consumer of the group has started yet.
pub async fn look(state: &mut State, purpose: Purpose<'_>) -> Result<MappingRow, Failure> {
    let Purpose { what, group, .. } = purpose;
    let row = mappings::in_force(&mut state.session, group).await;
    row.map_err(|error| state.lost(&error))?.ok_or_else(|| {
        let why = "no mapping is in force there: no consumer of it has started";
        let next = "Start a consumer of this group once, or check --group.";
        Failure::one(
            Exit::Preflight,
            Fault::new(what, format!("group `{group}`"), why, next),
        )
    })
}

/// The mapping in force, which has to mean the same as the model's.
///
/// # Errors
/// Those of [`look`]; that another mapping is in force.
pub async fn same(
    state: &mut State,
    model: &Model,
    purpose: Purpose<'_>,
) -> Result<MappingRow, Failure> {
    let row = look(state, purpose).await?;
    row.admit(&model.mapping)
        .map_err(|other| mapping::not_in_force(purpose.what, (purpose.file, purpose.group), &other))
}

/// The model of the mapping file, which has to mean the same as the mapping in force, and its generation. It
/// goes by the name of the one in force.
///
/// # Errors
/// Those of [`same`]; that there is no mapping file.
pub async fn required(
    state: &mut State,
    catalog: &mut Catalog,
    purpose: Purpose<'_>,
    no_mapping: impl FnOnce() -> Failure,
) -> Result<(Arc<Model>, Generation), Failure> {
    let model = catalog.model.as_mut().ok_or_else(no_mapping)?;
    let row = same(state, model, purpose).await?;
    // Nobody else has it yet.
    if let Some(model) = Arc::get_mut(model) {
        model.mapping.hash = row.hash;
    }
    Ok((Arc::clone(model), row.generation))
}
