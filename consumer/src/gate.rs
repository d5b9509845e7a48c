//! The gate: a child collection's partitions wait until its parents' snapshots are applied
//! (`docs/protocol.md`, Gate).
//!
//! It saves parking and carries no promise: everything holds without it. It opens when every
//! partition of every parent topic has applied the offsets of the first `snapshot-complete`, as
//! PostgreSQL shows for all processes of the group, and stays open: no second snapshot closes it again.

use crate::control::SharedControl;
use leafcutter_sink::{
    ApplyError,
    connection::Connection,
    ids::CollectionId,
    orphan::has_applied,
    state::{gates, offsets},
};
use std::{collections::BTreeSet, sync::Arc};

/// The gates of one group.
#[derive(Debug)]
pub struct Gate {
    control: SharedControl,
    open: BTreeSet<CollectionId>,
}

impl Gate {
    /// The gates, all closed as far as is known here.
    pub fn new(control: SharedControl) -> Self {
        Self {
            control,
            open: BTreeSet::new(),
        }
    }

    /// Whether the collection's partitions may be read.
    pub fn is_open(&self, collection: CollectionId) -> bool {
        self.open.contains(&collection)
    }

    /// Looks again.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn refresh(&mut self, connection: &mut Connection) -> Result<(), ApplyError> {
        let model = Arc::clone(connection.model());
        if self.open.len() == model.collections.len() {
            return Ok(());
        }
        let control = self.control.snapshot();
        let group = connection.group().to_owned();
        let session = connection.session().await?;
        let latched = gates::open(session, &group).await?;
        let progress = offsets::progress(session, &group).await?;
        for id in model.collection_ids() {
            if self.open.contains(&id) {
                continue;
            }
            let collection = model.collection(id);
            let applied = |&parent: &CollectionId| {
                let topic = &model.collection(parent).topic;
                let complete = control.first_complete.get(topic);
                complete.is_some_and(|complete| has_applied(&progress, topic, &complete.offsets))
            };
            if latched.contains(&collection.topic) {
                self.open.insert(id);
            } else if collection.parents.iter().all(applied) {
                gates::latch(session, &group, &collection.topic).await?;
                tracing::info!(collection = collection.name, "gate open");
                self.open.insert(id);
            }
        }
        Ok(())
    }
}
