//! What a person has paused: collections whose partitions are not read.
//!
//! A pause is a row in PostgreSQL. Whoever holds a partition looks before it reads it, and every second while
//! it does. One that is paused meanwhile is taken over again, under another epoch, so that what was read of
//! it and is not committed is dropped, and then it waits as before a closed gate. So nothing of it is written
//! any more, and it goes on exactly where PostgreSQL says that it stands.

use crate::metrics;
use leafcutter_runtime::admin::{Condition, Health};
use leafcutter_sink::{
    ApplyError,
    connection::Connection,
    ids::CollectionId,
    model::Model,
    state::pauses::{self, PauseRow},
};
use std::{collections::BTreeSet, sync::Arc};

/// The pauses of one group.
#[derive(Debug)]
pub struct Pauses {
    model: Arc<Model>,
    /// Not met while anything is paused.
    running: Condition,
    rows: Vec<PauseRow>,
    held: BTreeSet<CollectionId>,
}

impl Pauses {
    /// None, as far as is known here.
    pub fn new(model: Arc<Model>, health: &Health) -> Self {
        let running = health.condition("running");
        running.set(true, "");
        Self {
            model,
            running,
            rows: Vec::new(),
            held: BTreeSet::new(),
        }
    }

    /// Whether the collection's partitions must not be read.
    pub fn hold(&self, collection: CollectionId) -> bool {
        self.held.contains(&collection)
    }

    /// Looks again.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn refresh(&mut self, connection: &mut Connection) -> Result<(), ApplyError> {
        let group = connection.group().to_owned();
        let rows = pauses::rows(connection.session().await?, &group).await?;
        self.take(rows);
        Ok(())
    }

    fn take(&mut self, rows: Vec<PauseRow>) {
        let same = |a: &PauseRow, b: &PauseRow| (&a.topic, &a.reason) == (&b.topic, &b.reason);
        let is_known = rows.len() == self.rows.len()
            && rows.iter().zip(&self.rows).all(|(new, old)| same(new, old));
        if !is_known {
            tracing::info!(pauses = rows.len(), "a person has paused or resumed");
        }
        let all = rows.iter().any(|row| row.topic.is_none());
        let named = |id: &CollectionId| {
            let topic = &self.model.collection(*id).topic;
            rows.iter().any(|row| row.topic.as_ref() == Some(topic))
        };
        let ids = self.model.collection_ids();
        self.held = ids.filter(|id| all || named(id)).collect();
        for id in self.model.collection_ids() {
            metrics::paused(&self.model.collection(id).name, self.held.contains(&id));
        }
        let each = rows.iter().filter_map(|row| {
            let name = match &row.topic {
                None => "all collections",
                Some(topic) => {
                    let id = self.model.collection_of_topic(topic)?;
                    self.model.collection(id).name.as_str()
                }
            };
            Some(words(name, row))
        });
        let each: Vec<String> = each.collect();
        self.running.set(each.is_empty(), each.join("; "));
        self.rows = rows;
    }
}

fn words(name: &str, row: &PauseRow) -> String {
    let (since, why) = (&row.since, &row.reason);
    format!("{name} paused by a person since {since}: {why}; leafcutter resume lets go on")
}
