//! Which splits are to be read: those of a new plan, or those that an earlier run left.

use super::{Run, Shared};
use crate::{
    checkpoint::{Stored, resume, snapshot_key, store::unreadable},
    error::Error,
    progress::Snapshot as SnapshotState,
    settings::Verb,
    source::{Collection, change_stream::reaches_back, snapshot::Task, split},
};
use leafcutter_schemas::version::Version;
use std::collections::BTreeMap;

impl Run {
    /// Plans every snapshot, or takes it up where it was left; gives the splits to be read, in the
    /// order of tiers.
    pub(super) async fn plan(
        &self,
        stored: &Stored,
        now: Version,
        shared: &Shared,
    ) -> Result<Vec<Task>, Error> {
        let mut tasks = Vec::new();
        if self.settings.verb == Verb::Stream {
            return Ok(tasks);
        }
        for (position, collection) in self.settings.collections.iter().enumerate() {
            let state = self.snapshot_state(stored, collection, now).await?;
            for (number, split) in state.splits.iter().enumerate() {
                if split.done {
                    continue;
                }
                let Some(range) = state.plan.split(number) else {
                    let key = snapshot_key(&self.settings.name, &collection.name);
                    let why = format!("split {number} has no bounds");
                    return Err(unreadable(&self.prepared.checkpoints_topic, &key, why));
                };
                tasks.push(Task {
                    collection: position,
                    number,
                    split: range,
                    average: state.plan.average,
                    scan: self.is_series(collection),
                });
            }
            shared.progress.snapshot_planned(&collection.name, state);
        }
        Ok(tasks)
    }

    async fn snapshot_state(
        &self,
        stored: &Stored,
        collection: &Collection,
        now: Version,
    ) -> Result<SnapshotState, Error> {
        let settings = &self.settings;
        let database = self.prepared.client.database(&settings.database);
        let failed = |source| Error::Source {
            what: format!("plan the snapshot of `{}`", collection.name),
            source,
        };
        let uuid = split::uuid(&database, &collection.name)
            .await
            .map_err(failed)?;
        let left = resume::snapshot(stored, &collection.name, &collection.topic, uuid.as_deref());
        if let Some(left) = left {
            return Ok(left);
        }
        let plan = if self.is_series(collection) {
            split::plan_series(&database, &collection.name).await
        } else {
            let reads = settings.reads.clone();
            split::plan(&database, &collection.name, settings.split_bytes, reads).await
        };
        let mut plan = plan.map_err(failed)?;
        plan.planned_at = now;
        Ok(SnapshotState::new(&collection.topic, plan))
    }

    /// The collections of which the source does not have any more what happened after their checkpoints;
    /// where it has that, and does not take the position all the same, those that are furthest behind.
    pub(super) async fn without_history(&self, stored: &Stored) -> Vec<String> {
        let mut times: BTreeMap<Version, Vec<String>> = BTreeMap::new();
        for collection in self.settings.collections.iter() {
            if let Some(time) = stored.covered(&collection.name) {
                times.entry(time).or_default().push(collection.name.clone());
            }
        }
        let (client, database) = (&self.prepared.client, &self.settings.database);
        let mut lost = Vec::new();
        for (time, names) in times {
            match reaches_back(client, database, time).await {
                Ok(false) => lost.extend(names),
                Ok(true) | Err(_) if lost.is_empty() => return names,
                Ok(true) | Err(_) => return lost,
            }
        }
        lost
    }

    pub(super) fn is_series(&self, collection: &Collection) -> bool {
        self.prepared.time_series.contains(&collection.name)
    }
}
