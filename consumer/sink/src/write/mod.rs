//! The steps of one transaction that write, and their order.
//!
//! 1. Upserts, referenced tables before referring ones, each document with its children.
//! 2. Deletes, referring tables before referenced ones. Their locks stand in every other transaction's
//!    way, so they come last.
//! 3. What waits is parked, and what was placed is no longer parked.
//!
//! Each step looks at the database in statements of its own, after the locks of the step before it:
//! under READ COMMITTED a statement sees what was committed before it began.

pub(crate) mod waiting;
pub(crate) mod candidate;
pub(crate) mod candidates;
pub(crate) mod released;
pub(crate) mod records;
pub(crate) mod parent_keys;
pub(crate) mod copy_backoff;
pub(crate) mod known_parents;
pub(crate) mod loading;
pub(crate) mod row_to_delete;
mod rows_led_to;
pub(crate) mod attempt;
pub(crate) mod stage;
pub(crate) mod suppressed;
pub(crate) mod table_lock;
pub(crate) mod release;
mod look_up;
mod missing_parents;
pub(crate) mod owners;
mod children;
mod round;
mod unique_cycles;
mod direct_copy;
mod upserts;
pub(crate) mod cascade;
pub(crate) mod deletes;
pub(crate) mod by_document;
pub(crate) mod stored;
pub(crate) mod park;
pub(crate) mod rowless;
pub(crate) mod failures;

use crate::{error::ApplyError, ids::TableId};
use attempt::Attempt;
use candidate::CandidateSource;
use leafcutter_schemas::dead_letter::{Reason, Stage};

/// Brings the candidates to what they want, or parks them.
pub(crate) async fn write(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let roots: Vec<TableId> = model.roots().collect();
    for &root in &roots {
        if model.table(root).natural_key {
            // What is not there to tell is looked for.
            let precheck = t.precheck;
            t.precheck |= t.loading.concerns(model, root);
            let written = by_document::write_documents(t, root).await;
            t.precheck = precheck;
            written?;
        } else {
            upserts::upsert_documents(t, root).await?;
        }
    }
    for &root in roots.iter().rev() {
        if model.table(root).natural_key {
            by_document::delete_unowned(t, root).await?;
        } else {
            deletes::delete_documents(t, root).await?;
        }
    }
    refuse_undecided(t)?;
    park::park(t).await
}

/// Each step leaves what it does not decide to the next one, and the last ones decide the rest. What were left all
/// the same would be neither written nor parked, and counted: so nothing is committed then.
fn refuse_undecided(t: &Attempt<'_>) -> Result<(), ApplyError> {
    let undecided = t.candidates.iter().find(|candidate| {
        candidate.is_open() && matches!(candidate.source(), CandidateSource::Batch(_))
    });
    let Some(candidate) = undecided else {
        return Ok(());
    };
    let message = "nothing has decided what becomes of the document: this is a fault of Leafcutter, please report it";
    let table = t.model.table(candidate.row().table).state_name.clone();
    let reason = Reason::new(Stage::Apply, "undecided", message).at(table, None);
    Err(ApplyError::Again(Some(Box::new(reason))))
}
