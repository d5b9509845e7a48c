//! The way to PostgreSQL of one driver: a session that is opened when it is needed, and transactions on
//! it.
//!
//! A session whose transaction was dropped half-way, or that the server has ended, is never used again.

use crate::{
    change::Record,
    error::ApplyError,
    ids::{Generation, Partition},
    model::Model,
    session::{Config, Session},
    state::{
        mappings,
        offsets::{self, Position, TakenOver},
    },
    transform::Rows,
    write::{
        attempt::Attempt, copy_backoff::DirectCopies, known_parents::KnownParents,
        records::CandidateRecords,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Sessions for one consumer of a group, or for a person's tool.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    name: String,
    group: String,
    owner: String,
    model: Arc<Model>,
    generation: Generation,
    asynchronous: bool,
    session: Option<Session>,
    direct: DirectCopies,
    known: KnownParents,
}

/// A batch is small and its table may be large. Nobody knows yet how large: the temporary tables have no
/// statistics, and a table that is being filled has those of a while ago. So the rows of a batch are looked for by
/// their keys, and no table is read from its beginning to its end for them; that took ten times longer
/// (PostgreSQL manual, 20.7.1).
const BY_INDEX: &str = "set enable_seqscan = off;";

/// How a transaction ends whose steps have succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Commit,
    RollBack,
}

impl Connection {
    /// For `group` as `owner`, through sessions that PostgreSQL shows by this name. Nothing is written unless
    /// this generation of the group's mapping is in force, which `model` is.
    pub fn new(
        config: Config,
        name: &str,
        group: &str,
        owner: &str,
        (model, generation): (Arc<Model>, Generation),
    ) -> Self {
        Self {
            config,
            name: name.to_owned(),
            group: group.to_owned(),
            owner: owner.to_owned(),
            model,
            generation,
            asynchronous: false,
            session: None,
            direct: DirectCopies::default(),
            known: KnownParents::default(),
        }
    }

    /// Does not wait for the disk when it commits (PostgreSQL chapter 28.4). A crash of the server
    /// takes the last transactions back as a whole, rows and positions, and their records are read
    /// again: the same reason for which subscriptions of PostgreSQL commit like this.
    #[must_use]
    pub fn asynchronous(mut self) -> Self {
        self.asynchronous = true;
        self
    }

    /// The compiled mapping.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The generation of its mapping.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The consumer group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The session, opened if there is none.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn session(&mut self) -> Result<&mut Session, ApplyError> {
        let session = self.take_session().await?;
        Ok(self.session.insert(session))
    }

    async fn take_session(&mut self) -> Result<Session, ApplyError> {
        // A connection that the server ended is found out here, by the next call.
        if let Some(open) = self.session.take().filter(|session| !session.is_closed()) {
            return Ok(open);
        }
        // What the server had committed may be gone with it.
        self.known.clear();
        let mut session = Session::open(&self.config, &self.name).await?;
        let tables = self.model.tables.iter();
        let create = tables.flat_map(|table| {
            let cascade = table.cascade.as_ref();
            std::iter::once(&table.sql.create_temp).chain(cascade.map(|sql| &sql.create_temp))
        });
        let mut sql = create.fold(String::from(BY_INDEX), |sql, create| sql + create + ";");
        if self.asynchronous {
            sql.push_str("set synchronous_commit = off");
        }
        session.batch(&sql).await?;
        Ok(session)
    }

    /// Takes a partition over (F4, F10).
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost, and the session is given up then; when another mapping is in force.
    pub async fn take_over(&mut self, partition: Partition) -> Result<TakenOver, ApplyError> {
        let mut session = self.take_session().await?;
        // Nothing is written by it: that another one comes at this moment is found out by the first batch.
        let in_force = mappings::generation(&mut session, &self.group).await?;
        self.admit(in_force)?;
        let topic = &self.model.collection(partition.collection).topic;
        let taken = offsets::take_over(
            &mut session,
            &self.group,
            (topic, partition.number),
            &self.owner,
            &self.model.mapping.hash,
        )
        .await?;
        self.session = Some(session);
        Ok(taken)
    }

    /// Where each partition of the group stands.
    ///
    /// # Errors
    /// When PostgreSQL is lost.
    pub async fn positions(&mut self) -> Result<BTreeMap<Partition, Position>, ApplyError> {
        let model = Arc::clone(&self.model);
        let group = self.group.clone();
        let rows = offsets::positions(self.session().await?, &group).await?;
        Ok(rows
            .into_iter()
            .filter_map(|((topic, number), position)| {
                let collection = model.collection_of_topic(&topic)?;
                Some((Partition { collection, number }, position))
            })
            .collect())
    }

    fn admit(&self, in_force: Generation) -> Result<(), ApplyError> {
        if in_force == self.generation {
            return Ok(());
        }
        Err(ApplyError::Mapping {
            ours: self.generation,
            in_force,
        })
    }

    /// Runs the steps of one transaction; what they give, if it could be ended as it should.
    pub(crate) async fn transact<R>(
        &mut self,
        records: &[Record],
        rows: &mut Rows,
        ending: Ending,
        steps: impl AsyncFnOnce(&mut Attempt<'_>) -> Result<R, ApplyError>,
    ) -> Result<R, ApplyError> {
        // Taken out, so that a session whose transaction was dropped half-way is never used again.
        let mut session = self.take_session().await?;
        let begun = mappings::begin(&mut session, &self.group).await?;
        if !begun.in_session {
            // Given up: its temporary tables are somebody else's.
            session.roll_back().await?;
            return Err(ApplyError::of_a_pooler());
        }
        if let Err(error) = self.admit(begun.in_force) {
            session.roll_back().await?;
            self.session = Some(session);
            return Err(error);
        }
        let mark = rows.mark();
        let mut attempt = Attempt::new(
            &mut session,
            &self.model,
            &self.group,
            CandidateRecords::new(records),
            rows,
            (&mut self.direct, &mut self.known),
        );
        let result = steps(&mut attempt).await;
        let last = attempt.last.take();
        rows.reset(mark);
        let commits = result.is_ok() && ending == Ending::Commit;
        let ended = if commits {
            session.commit(last).await
        } else {
            session.roll_back().await
        };
        self.known.ended(ended.is_ok() && commits);
        match (ended, result) {
            (Ok(()), result) => {
                let spoilt = result.as_ref().is_err_and(ApplyError::spoils_session);
                self.session = (!spoilt).then_some(session);
                result
            }
            (Err(error), Ok(_)) => Err(error.into()),
            (Err(_), Err(error)) => Err(error),
        }
    }
}
