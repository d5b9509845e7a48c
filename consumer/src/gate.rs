//! The gate: a child collection's partitions wait until its parents' snapshots are applied
//! (`PROTOCOL.md` §6).
//!
//! It saves parking and carries no promise: everything holds without it. It opens when every
//! partition of every parent topic has applied the offsets of the first `snapshot-complete`, as
//! `leafcutter.offsets` shows for all processes of the group, and stays open (latched in
//! `leafcutter.gates`): no second snapshot closes it again.

use crate::{
    control::SharedControl,
    model::Model,
    orphan::{Progress, has_applied},
    sink::{ApplyError, apply::Applier, session::Session},
};
use std::collections::BTreeSet;

/// The gates of one group.
#[derive(Debug)]
pub struct Gate {
    group: String,
    control: SharedControl,
    open: BTreeSet<usize>,
}

impl Gate {
    /// The gates of `group`, all closed as far as is known here.
    pub fn new(group: &str, control: SharedControl) -> Self {
        Self {
            group: group.to_owned(),
            control,
            open: BTreeSet::new(),
        }
    }

    /// Whether the collection's partitions may be read.
    pub fn is_open(&self, collection: usize) -> bool {
        self.open.contains(&collection)
    }

    /// Looks again.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn refresh(
        &mut self,
        applier: &mut Applier,
        model: &Model,
    ) -> Result<(), ApplyError> {
        if self.open.len() == model.collections.len() {
            return Ok(());
        }
        let control = self.control.snapshot();
        let session = applier.session().await?;
        let latched: Vec<String> = {
            let statement = session
                .prepared("select topic from leafcutter.gates where consumer_group = $1")
                .await?;
            let rows = session.client().query(&statement, &[&self.group]).await?;
            rows.iter().map(|row| row.get(0)).collect()
        };
        let progress = progress(session, &self.group).await?;
        for (index, collection) in model.collections.iter().enumerate() {
            if self.open.contains(&index) {
                continue;
            }
            let parents_applied = || {
                collection.parents.iter().all(|&parent| {
                    let topic = &model.collections[parent].topic;
                    control
                        .first_complete
                        .get(topic)
                        .is_some_and(|complete| has_applied(&progress, topic, &complete.offsets))
                })
            };
            if latched.contains(&collection.topic) {
                self.open.insert(index);
            } else if parents_applied() {
                let statement = session
                    .prepared(
                        "insert into leafcutter.gates (consumer_group, topic) values ($1, $2) \
                         on conflict do nothing",
                    )
                    .await?;
                session
                    .client()
                    .execute(&statement, &[&self.group, &collection.topic])
                    .await?;
                tracing::info!(collection = collection.name, "gate open");
                self.open.insert(index);
            }
        }
        Ok(())
    }
}

/// How far the group has applied.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn progress(session: &mut Session, group: &str) -> Result<Progress, ApplyError> {
    let statement = session
        .prepared("select topic, partition, next_offset from leafcutter.offsets where consumer_group = $1")
        .await?;
    let mut progress = Progress::new();
    for row in session.client().query(&statement, &[&group]).await? {
        let partitions = progress.entry(row.get(0)).or_default();
        partitions.insert(row.get(1), row.get(2));
    }
    Ok(progress)
}
