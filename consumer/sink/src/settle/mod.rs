//! The settling task: what batches cannot see of each other (`docs/protocol.md`, S1; orphans).
//!
//! A batch that writes a parent does not see a child that is being parked at that moment, and the
//! child's batch does not see the parent. So every consumer looks again, in transactions of its own:
//! it locks parked documents (leaving out those that another session works on), then tries them through
//! the same steps as a batch; what is held is the matter of [`held`].
//!
//! A document whose parent is parked itself can only be placed after it, and is not given up before
//! it. So a round tries those that wait for nothing parked, and then, pass after pass, those that
//! waited for what it has placed: a whole tree follows its root at once, however much else waits.
//! Documents that wait for each other in a cycle are looked for, and tried together; so are those that exchange
//! unique values ([`holders`]).
//!
//! Nothing stops because of one document: what PostgreSQL refuses is isolated ([`isolate`]), and whatever
//! else fails, the other scopes have their turn.
//!
//! What waits for a row that is there is found at once, however it was missed ([`arrived`]).

mod decide;
mod taken;
mod refusal;
mod rests;
mod arrived;
mod isolate;
mod rounds;
mod take_up;
mod holders;
mod held;
mod policy;

pub use arrived::Arrivals;
pub use decide::DueDeadLetter;
pub use policy::OrphanPolicy;
pub use rounds::Settled;

use rests::Rests;
use taken::Taken;

use crate::{
    change::Outcome,
    connection::{Connection, Ending},
    error::ApplyError,
    ids::{RowId, TableId},
    state::{
        self,
        parked::{self, GivenUp, ParkedRow},
    },
    transform::Rows,
    write::{
        self,
        attempt::Attempt,
        candidate::{Candidate, Standing},
        park::is_placed,
        release,
        released::Parked,
        table_lock,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

/// Which parked documents a transaction tries.
#[derive(Debug, Clone, Copy)]
enum Scope<'r> {
    /// Those that wait for nothing that is parked.
    Free,
    /// Those that wait for these rows, which have been placed.
    Behind(&'r [RowId]),
    /// Those that wait for each other in a cycle.
    Cycles,
    /// Those that were not tried for long, whatever they wait for.
    Rest,
    /// These alone; whether they may be given up.
    Only(&'r [RowId], bool),
    /// This one alone, apart from its parents, to find out whether PostgreSQL refuses it. Nothing of it is
    /// committed.
    Probe(&'r RowId),
}

/// What one transaction did.
#[derive(Debug, Default)]
struct Pass {
    tried: usize,
    /// The bytes of their records.
    bytes: usize,
    placed: usize,
    /// Rows that others may wait for.
    rows: Vec<RowId>,
    due: Vec<DueDeadLetter>,
}

/// Settles what waits, round by round.
#[derive(Debug)]
pub struct Settler {
    connection: Connection,
    /// Where the next round over the held rows of a table begins.
    held_after: HashMap<TableId, Vec<u8>>,
    refused_deletes: Rests<(TableId, Vec<u8>)>,
    /// When rows are looked for next that are waited for, and behind which.
    arrived_after: Instant,
    arrivals: Arrivals,
    /// Rounds over what is parked.
    round: u64,
    /// Documents that were refused for an error that may be the world's: in how many rounds, and the last.
    doubted: BTreeMap<RowId, (u32, u64)>,
    /// When documents that wait for each other in a cycle are looked for next.
    cycles_after: Instant,
}

impl Settler {
    /// Settles through this connection.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            held_after: HashMap::new(),
            refused_deletes: Rests::default(),
            arrived_after: Instant::now(),
            arrivals: Arrivals::default(),
            round: 0,
            doubted: BTreeMap::new(),
            cycles_after: Instant::now(),
        }
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Tries some documents, in one transaction; `taken` are those that were taken up, whether it succeeds
    /// or not.
    async fn pass(
        &mut self,
        policy: &OrphanPolicy,
        scope: Scope<'_>,
        taken: &mut Vec<Taken>,
    ) -> Result<Pass, ApplyError> {
        let mut rows = Rows::default();
        let steps = async |t: &mut Attempt<'_>| {
            t.look_at_state().await?;
            if !t.flags.parked {
                return Ok(Pass::default());
            }
            t.probes = matches!(scope, Scope::Probe(_));
            let tried = take_up_scope(t, policy, scope).await?;
            taken.extend(
                t.records
                    .released
                    .all()
                    .map(|parked| Taken::of(t.model, parked)),
            );
            touch(t).await?;
            write::write(t).await?;
            let mut pass = Pass {
                tried,
                bytes: t.records.bytes_of_others(),
                placed: t.candidates.iter().filter(|c| is_placed(t, c)).count(),
                ..Pass::default()
            };
            if scope.decides() {
                pass.due = decide::decide_all(t, policy).await?;
            }
            pass.due.extend(decide::refuse_suppressed(t).await?);
            mark_orphans(t).await?;
            let placed = |candidate: &Candidate| {
                candidate
                    .done()
                    .is_some_and(|outcome| outcome != Outcome::Suppressed)
            };
            pass.rows = release::pointed_to(t, t.candidates.rows(), placed);
            Ok(pass)
        };
        let ending = if matches!(scope, Scope::Probe(_)) {
            Ending::RollBack
        } else {
            Ending::Commit
        };
        self.connection
            .transact(&[], &mut rows, ending, steps)
            .await
    }

    /// Gives documents up whose dead letters Kafka has. They stay parked: orphans are tried on, what
    /// PostgreSQL refuses is not. Gives how many.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn give_up(&mut self, sent: &[DueDeadLetter]) -> Result<u64, ApplyError> {
        let mut given_up = 0;
        for why in [GivenUp::Orphan, GivenUp::Refused] {
            let these: Vec<&DueDeadLetter> = sent.iter().filter(|due| due.why() == why).collect();
            if !these.is_empty() {
                given_up += self.give_up_for(why, &these).await?;
            }
        }
        Ok(given_up)
    }

    async fn give_up_for(
        &mut self,
        why: GivenUp,
        sent: &[&DueDeadLetter],
    ) -> Result<u64, ApplyError> {
        let model = Arc::clone(self.connection.model());
        let (tables, keys): (Vec<&str>, Vec<&[u8]>) = sent
            .iter()
            .map(|due| {
                let row = due.row();
                (
                    model.table(row.table).state_name.as_str(),
                    row.key.as_slice(),
                )
            })
            .unzip();
        let mut records = state::Origins::default();
        for due in sent {
            records.push(&due.origin.topic, due.origin.partition, due.origin.offset);
        }
        let session = self.connection.session().await?;
        Ok(parked::give_up(session, why, (&tables, &keys), &records).await?)
    }
}

impl Pass {
    /// Whether there may be more than one transaction takes up: as many as `most`, or about as many bytes.
    fn is_full(&self, most: usize) -> bool {
        self.tried >= most || self.bytes >= parked::TAKEN_BYTES_MAX / 2
    }
}

impl Scope<'_> {
    /// Whether documents may be given up that still wait: not where what they wait for may be parked.
    fn decides(self) -> bool {
        match self {
            Self::Free | Self::Cycles => true,
            Self::Only(_, decides) => decides,
            Self::Behind(_) | Self::Rest | Self::Probe(_) => false,
        }
    }
}

/// Locks the documents of a scope and makes them candidates; gives how many were found.
async fn take_up_scope(
    t: &mut Attempt<'_>,
    policy: &OrphanPolicy,
    scope: Scope<'_>,
) -> Result<usize, ApplyError> {
    let model = t.model;
    let busy = table_lock::try_lock_all(t).await?;
    let tables = model.wait_tables();
    let found = match scope {
        Scope::Free => parked::lock_free(t.session, &tables, &busy).await?,
        Scope::Rest => parked::lock_rest(t.session, &tables, &busy).await?,
        Scope::Cycles => {
            let cyclic = model.cyclic.iter();
            let cyclic = cyclic.map(|&root| model.table(root).state_name.as_str());
            let cyclic: Vec<&str> = cyclic.collect();
            parked::lock_cycles(t.session, &cyclic, &tables).await?
        }
        Scope::Only(rows, _) => lock_these(t, rows).await?,
        Scope::Probe(row) => lock_these(t, std::slice::from_ref(row)).await?,
        Scope::Behind(rows) => {
            release::release_behind(t, rows.to_vec()).await?;
            return Ok(t.records.released.len());
        }
    };
    let found = Parked::all(model, found);
    let mut tried = found.len();
    for parked in found {
        take_up::take_up(t, parked, &busy, scope.decides().then_some(policy)).await?;
    }
    if matches!(scope, Scope::Free | Scope::Rest) {
        tried += holders::take_up_holders(t, &busy).await?;
    }
    Ok(tried)
}

async fn lock_these(t: &mut Attempt<'_>, rows: &[RowId]) -> Result<Vec<ParkedRow>, ApplyError> {
    let model = t.model;
    let names = rows
        .iter()
        .map(|row| model.table(row.table).state_name.as_str());
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) =
        names.zip(rows.iter().map(|row| row.key.as_slice())).unzip();
    Ok(parked::lock_these(t.session, &tables, &keys).await?)
}

/// Notes that these documents were tried, so that the next round takes others.
async fn touch(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    let model = t.model;
    let locked = t.records.released.locked();
    let (tables, keys): (Vec<&str>, Vec<&[u8]>) = locked
        .map(|row| {
            (
                model.table(row.table).state_name.as_str(),
                row.key.as_slice(),
            )
        })
        .unzip();
    Ok(parked::touch(t.session, &tables, &keys).await?)
}

/// What was written without its parent is given up; what still lacks a row is given up for that, with a
/// dead letter.
async fn mark_orphans(t: &mut Attempt<'_>) -> Result<(), ApplyError> {
    for candidate in t.candidates.iter() {
        if matches!(candidate.standing(), Standing::WithoutParent(_)) {
            let row = candidate.row();
            let name = &t.model.table(row.table).state_name;
            parked::mark_orphan(t.session, name, &row.key).await?;
        }
    }
    Ok(())
}
