//! One parked document that PostgreSQL refuses: isolated, so that all others are settled
//! (`docs/protocol.md`, S1k).
//!
//! A transaction that fails because of a document is halved in its documents, until the one that keeps
//! failing stands alone. That one becomes a dead letter, as an orphan does, and is not tried any more. What
//! is the world's fault is not isolated: it fails for all, and passes.
//!
//! Documents that wait for each other in a cycle cannot be tried apart. They are one group, and only groups
//! are told from each other. In the group that keeps failing, each document is probed: written alone,
//! without its missing parents, and taken back.

use super::{
    Pass, Scope, Settler, decide,
    policy::OrphanPolicy,
    refusal::{AGAIN_TOGETHER, Refusal, may_pass},
    taken::{Group, Taken, cycles},
};
use crate::{
    connection::Ending,
    error::ApplyError,
    ids::RowId,
    isolate::AGAIN_MAX,
    state::parked,
    transform::Rows,
    write::{attempt::Attempt, released::Parked},
};
use leafcutter_schemas::dead_letter::Reason;
use std::sync::Arc;

/// Rounds in which a document is refused for an error that may be the world's, before it is given up.
const DOUBT_ROUNDS: u32 = 4;

/// For how many rounds such a round is remembered.
const DOUBT_KEPT: u64 = 1_000;

impl Settler {
    /// Tries the documents of a scope. Gives what was done, and why not all was.
    pub(super) async fn attempt(
        &mut self,
        policy: &OrphanPolicy,
        scope: Scope<'_>,
    ) -> (Pass, Option<ApplyError>) {
        let mut taken = Vec::new();
        let error = match self.pass(policy, scope, &mut taken).await {
            Ok(pass) => return (pass, None),
            Err(error) => error,
        };
        if let Refusal::World(error) = Refusal::of(error) {
            return (Pass::default(), Some(error));
        }
        let mut done = Pass {
            tried: taken.len(),
            ..Pass::default()
        };
        // Apart from each other, members of a cycle wait for something parked (S1c).
        let (groups, decides) = match scope {
            Scope::Cycles => (cycles(taken), false),
            Scope::Free | Scope::Behind(_) | Scope::Rest | Scope::Only(..) | Scope::Probe(_) => (
                taken.into_iter().map(|one| vec![one]).collect(),
                scope.decides(),
            ),
        };
        let isolated = self.isolate(policy, groups, decides, &mut done).await;
        (done, isolated.err())
    }

    /// Tries these groups, in halves where one of them is refused.
    async fn isolate(
        &mut self,
        policy: &OrphanPolicy,
        groups: Vec<Group>,
        decides: bool,
        done: &mut Pass,
    ) -> Result<(), ApplyError> {
        let mut parts = vec![groups];
        while let Some(mut part) = parts.pop() {
            let Err((reason, doubtful)) = self.insist(policy, &part, decides, done).await? else {
                continue;
            };
            if part.len() > 1 {
                let second = part.split_off(part.len() / 2);
                parts.push(second);
                parts.push(part);
                continue;
            }
            for group in part {
                let found = match group.as_slice() {
                    [only] => Some(only),
                    _ => self.probe(policy, &group, &reason).await?,
                };
                match found {
                    Some(taken) if doubtful && self.doubts(taken) => {}
                    Some(taken) => done.due.extend(self.refuse(taken, &reason).await?),
                    None => self.leave(&group, &reason).await?,
                }
            }
        }
        Ok(())
    }

    /// Whether it is too early to refuse a document for an error that may be the world's.
    fn doubts(&mut self, taken: &Taken) -> bool {
        let now = self.round;
        self.doubted.retain(|_, (_, last)| *last + DOUBT_KEPT > now);
        let (rounds, last) = self.doubted.entry(taken.row().clone()).or_insert((0, 0));
        // Each scope of a round may have tried it.
        *rounds += u32::from(*last != now);
        *last = now;
        let early = *rounds < DOUBT_ROUNDS;
        if !early {
            self.doubted.remove(taken.row());
        }
        early
    }

    /// Tries documents, again where the target changes under them; the inner error says why one of them is
    /// refused, and whether the world may be at fault.
    async fn insist(
        &mut self,
        policy: &OrphanPolicy,
        part: &[Group],
        decides: bool,
        done: &mut Pass,
    ) -> Result<Result<(), (Box<Reason>, bool)>, ApplyError> {
        let rows: Vec<RowId> = part
            .iter()
            .flatten()
            .map(|taken| taken.row().clone())
            .collect();
        let again_max = if rows.len() > 1 {
            AGAIN_TOGETHER
        } else {
            AGAIN_MAX
        };
        let mut again = 0;
        loop {
            let scope = Scope::Only(&rows, decides);
            let error = match self.pass(policy, scope, &mut Vec::new()).await {
                Ok(pass) => {
                    done.placed += pass.placed;
                    done.rows.extend(pass.rows);
                    done.due.extend(pass.due);
                    return Ok(Ok(()));
                }
                Err(error) => error,
            };
            let may_pass = may_pass(&error);
            match Refusal::of(error) {
                Refusal::World(error) => return Err(error),
                Refusal::Document(_) | Refusal::Doubt(_) if may_pass && again < again_max => {
                    again += 1;
                }
                Refusal::Document(reason) => return Ok(Err((reason, false))),
                Refusal::Doubt(reason) => return Ok(Err((reason, true))),
            }
        }
    }

    /// The document of a cycle that is refused for this reason by itself.
    async fn probe<'g>(
        &mut self,
        policy: &OrphanPolicy,
        group: &'g [Taken],
        reason: &Reason,
    ) -> Result<Option<&'g Taken>, ApplyError> {
        for taken in group {
            let scope = Scope::Probe(taken.row());
            let Err(error) = self.pass(policy, scope, &mut Vec::new()).await else {
                continue;
            };
            match Refusal::of(error) {
                Refusal::World(error) => return Err(error),
                Refusal::Document(own) | Refusal::Doubt(own) if is_same(&own, reason) => {
                    return Ok(Some(taken));
                }
                Refusal::Document(_) | Refusal::Doubt(_) => {}
            }
        }
        Ok(None)
    }

    /// Lists the dead letter of a document that PostgreSQL refuses, if the same record waits still; gives it
    /// if it is to be sent.
    async fn refuse(
        &mut self,
        taken: &Taken,
        reason: &Reason,
    ) -> Result<Option<decide::DueDeadLetter>, ApplyError> {
        let steps = async |t: &mut Attempt<'_>| {
            t.look_at_state().await?;
            let found = super::lock_these(t, std::slice::from_ref(taken.row())).await?;
            let found = Parked::all(t.model, found);
            match found.first().filter(|parked| taken.is(parked)) {
                Some(parked) => decide::refuse(t, parked, reason.clone()).await,
                None => Ok(None),
            }
        };
        self.connection
            .transact(&[], &mut Rows::default(), Ending::Commit, steps)
            .await
    }

    /// A cycle of which nobody knows who is at fault waits on; others have their turn.
    async fn leave(&mut self, group: &[Taken], reason: &Reason) -> Result<(), ApplyError> {
        tracing::warn!(
            documents = group.len(),
            table = reason.table,
            reason = reason.message,
            "documents that refer to each other in a cycle cannot be written together"
        );
        let model = Arc::clone(self.connection.model());
        let names = group
            .iter()
            .map(|taken| model.table(taken.row().table).state_name.as_str());
        let keys = group.iter().map(|taken| taken.row().key.as_slice());
        let (tables, keys): (Vec<&str>, Vec<&[u8]>) = names.zip(keys).unzip();
        let session = self.connection.session().await?;
        Ok(parked::touch(session, &tables, &keys).await?)
    }
}

/// Whether two refusals are for the same fault, as far as PostgreSQL tells.
fn is_same(one: &Reason, other: &Reason) -> bool {
    (&one.sqlstate, &one.table, &one.column) == (&other.sqlstate, &other.table, &other.column)
}
