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
pub(crate) mod row_to_delete;
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

/// Brings the candidates to what they want, or parks them.
pub(crate) async fn write(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let roots: Vec<TableId> = model.roots().collect();
    for &root in &roots {
        if model.table(root).natural_key {
            by_document::write_documents(t, root).await?;
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
    park::park(t).await
}
