//! The gate: a child collection's partitions wait until its parents' snapshots are applied
//! (`docs/protocol.md`, Gate).
//!
//! It saves parking and carries no promise: everything holds without it. It opens when every
//! partition of every parent topic has applied the offsets of the first `snapshot-complete`, as
//! PostgreSQL shows for all processes of the group, and stays open: no second snapshot closes it again.
//!
//! Parents may be parked themselves then, as a tree of one collection that came in pieces: all their children
//! would be parked behind them. So it stays shut while one of them waits for a row that is there, for that one is
//! about to be placed, and others behind it; but not for longer than [`PLACED_WITHIN`].

use crate::control::SharedControl;
use leafcutter_sink::{
    ApplyError,
    connection::Connection,
    ids::CollectionId,
    orphan::has_applied,
    settle::Arrivals,
    state::{gates, offsets},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a gate waits for parents that are parked.
const PLACED_WITHIN: Duration = Duration::from_secs(10);
/// How long it is not looked for them again, at least; nine times as long as a look takes.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The gates of one group.
#[derive(Debug)]
pub struct Gate {
    control: SharedControl,
    open: BTreeSet<CollectionId>,
    /// The gates that wait for nothing but parents that are parked.
    parents_parked: BTreeMap<CollectionId, ParentsParked>,
}

/// Since when a gate waits for parents that are parked, and when they are looked for next.
#[derive(Debug)]
struct ParentsParked {
    until: Instant,
    look_after: Instant,
    arrivals: Arrivals,
}

impl Gate {
    /// The gates, all closed as far as is known here.
    pub fn new(control: SharedControl) -> Self {
        Self {
            control,
            open: BTreeSet::new(),
            parents_parked: BTreeMap::new(),
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
            } else if collection.parents.iter().all(applied) && !self.waits(connection, id).await? {
                let session = connection.session().await?;
                gates::latch(session, &group, &collection.topic).await?;
                tracing::info!(collection = collection.name, "gate open");
                self.open.insert(id);
            }
        }
        Ok(())
    }

    /// Whether parents are parked that are about to be placed.
    async fn waits(
        &mut self,
        connection: &mut Connection,
        id: CollectionId,
    ) -> Result<bool, ApplyError> {
        let now = Instant::now();
        let parked = self
            .parents_parked
            .entry(id)
            .or_insert_with(|| ParentsParked {
                until: now + PLACED_WITHIN,
                look_after: now,
                arrivals: Arrivals::default(),
            });
        if now >= parked.until {
            return Ok(false);
        }
        if now < parked.look_after {
            return Ok(true);
        }
        let model = Arc::clone(connection.model());
        let parents = model.collection(id).parents.iter();
        let roots = parents.flat_map(|&parent| &model.collection(parent).roots);
        let roots: Vec<&str> = roots
            .map(|&root| model.table(root).state_name.as_str())
            .collect();
        let waits = parked.arrivals.may_be_placed(connection, &roots).await?;
        parked.look_after = Instant::now() + LOOK_PAUSE.max(now.elapsed() * 9);
        Ok(waits)
    }
}
