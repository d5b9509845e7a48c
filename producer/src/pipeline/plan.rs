//! Which splits are to be read: those of a new plan, or those that an earlier run left.

use super::{Run, Shared};
use crate::checkpoint::{Stored, resume};
use crate::error::Error;
use crate::progress::Snapshot as SnapshotState;
use crate::settings::Verb;
use crate::source::snapshot::Task;
use crate::source::{Collection, split};
use leafcutter_schemas::version::Version;

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
                    return Err(Error::MalformedEvent {
                        why: format!("a bound of `{}` in the checkpoint", collection.name),
                    });
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

    pub(super) fn is_series(&self, collection: &Collection) -> bool {
        self.prepared.time_series.contains(&collection.name)
    }
}
