//! The documents of one such table: the guard, what they give up, which document gets which row, the
//! rows.
//!
//! Rounds: in each, every wanted row goes to the best claim there is, stored ones included. What is
//! to be written is written; a document that has to wait drops out, and its row is assigned anew. A
//! round decides at least one row or drops at least one document, so they end.

use super::{
    claims::{self, Alive, Claims, entry_of},
    generated_keys,
    key_conflict::{self, Claimant},
    retained, unowned_rows,
};
use crate::{
    change::{Mutation, Outcome},
    error::ApplyError,
    guard,
    ids::{DocumentId, TableId},
    state::{KeyVersion, dead_letters, key_map, retained_records, tombstones},
    write::{
        attempt::Attempt,
        candidate::{Blocker, CandidateSource},
        row_to_delete::RowToDelete,
        upserts,
    },
};
use leafcutter_schemas::mapping::SameKey;
use std::collections::{BTreeMap, BTreeSet};

/// Rows whose documents have another key now, or were deleted: the document, by the row's key.
type GivenUp = BTreeMap<Vec<u8>, DocumentId>;

/// Brings the documents of one root table to what they want, but for rows that are to be deleted,
/// which [`unowned_rows`] does at the end.
pub(crate) async fn write_documents(t: &mut Attempt<'_>, root: TableId) -> Result<(), ApplyError> {
    let documents = t.candidates.open(root, |_| true);
    if documents.is_empty() {
        return Ok(());
    }
    let alive = admit(t, root, &documents).await?;
    generated_keys::give(t, root, &alive).await?;
    let mut given_up = give_up(t, root, &alive).await?;
    let mut open: Vec<DocumentId> = alive.into_iter().map(|(document, _)| document).collect();
    open.retain(|&document| !t.candidates.get(document).mutation().is_delete());
    while !(open.is_empty() && given_up.is_empty()) {
        assign_rows(t, root, &mut open, &mut given_up).await?;
    }
    Ok(())
}

/// Decides what is older than what is stored for its document.
async fn admit(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: &[DocumentId],
) -> Result<Vec<Alive>, ApplyError> {
    let table = t.model.table(root);
    let name = &table.state_name;
    let keys: Vec<&[u8]> = documents
        .iter()
        .map(|&d| t.candidates.get(d).key())
        .collect();
    let mut entries = key_map::of_documents(t.session, name, &keys).await?;
    let deleted = tombstones::of_keys(t.session, name, &keys).await?;
    let mut alive = Vec::new();
    for &document in documents {
        let candidate = t.candidates.get_mut(document);
        let version = candidate.version().version;
        let entry = entries.remove(candidate.key());
        let tombstone = deleted.get(candidate.key()).copied();
        let stored = guard::highest(entry.as_ref().map(|entry| entry.version), tombstone);
        if !guard::admits(stored, version) {
            candidate.decide(Outcome::Stale);
            continue;
        }
        if let Mutation::Delete { filtered } = candidate.mutation() {
            let again = entry.as_ref().is_none_or(generated_keys::is_memory(table))
                && guard::is_same(tombstone, version);
            candidate.decide(match (again, filtered) {
                (true, _) => Outcome::Unchanged,
                (false, true) => Outcome::Filtered,
                (false, false) => Outcome::Deleted,
            });
            if again {
                continue;
            }
        }
        alive.push((document, entry));
    }
    Ok(alive)
}

/// The rows that documents give up: those that were deleted, and those with another key now. Gives
/// the rows that showed them, by key. Deletes leave tombstones.
async fn give_up(
    t: &mut Attempt<'_>,
    root: TableId,
    alive: &[Alive],
) -> Result<GivenUp, ApplyError> {
    let table = t.model.table(root);
    let name = &table.state_name;
    let mut rows = BTreeMap::new();
    let mut gone: Vec<&[u8]> = Vec::new();
    let mut remembered: Vec<&[u8]> = Vec::new();
    let mut deleted: Vec<KeyVersion<'_>> = Vec::new();
    for (document, entry) in alive {
        let candidate = t.candidates.get(*document);
        let wanted = candidate.row_key(t.rows);
        if wanted.is_none() {
            deleted.push((candidate.key(), candidate.version().version));
        }
        let other = |row_key: &[u8]| wanted != Some(row_key);
        if let Some(entry) = entry.as_ref().filter(|entry| other(&entry.row_key)) {
            // The number of a deleted document stays its own.
            if wanted.is_none() && table.table.generated_key().is_some() {
                remembered.push(candidate.key());
            } else {
                gone.push(candidate.key());
            }
            if entry.owner {
                rows.insert(entry.row_key.clone(), *document);
            }
        }
    }
    key_map::remove(t.session, name, &gone).await?;
    retained_records::remove(t.session, name, &gone).await?;
    key_map::unset_owner(t.session, name, &remembered).await?;
    tombstones::write(t.session, name, &deleted).await?;
    if t.flags.dead_letters {
        dead_letters::supersede(t.session, name, &deleted).await?;
    }
    Ok(rows)
}

/// One round.
async fn assign_rows(
    t: &mut Attempt<'_>,
    root: TableId,
    open: &mut Vec<DocumentId>,
    given_up: &mut GivenUp,
) -> Result<(), ApplyError> {
    let rule = t.model.table(root).table.same_key;
    let claims = claims::of_rows(t, root, open, given_up).await?;
    let mut writes = Vec::new();
    let mut follow = Vec::new();
    let mut unowned = Vec::new();
    for (key, claims) in &claims {
        match key_conflict::winner(rule, claims) {
            None => unowned.push(key.clone()),
            Some(claim) => match &claim.of {
                Claimant::Candidate(document) => writes.push(*document),
                Claimant::Stored(_) if claim.owner => {}
                Claimant::Stored(source) => follow.push(source.as_slice()),
            },
        }
    }
    let (taken_up, gone) = retained::take_up(t, root, &follow).await?;
    forget(t, root, &gone).await?;
    // Of another mapping, their image may want another row: they have their turn in the next round.
    for document in taken_up {
        let key = t.candidates.get(document).row_key(t.rows);
        match key {
            Some(key) if claims.contains_key(key) => writes.push(document),
            _ => open.push(document),
        }
    }
    clear(t, root, unowned, given_up).await?;
    write_claims(t, root, writes.clone()).await?;
    open.retain(|document| !writes.contains(document));
    let round = Round {
        root,
        claims,
        writes,
    };
    round.settle(t, open, given_up).await
}

/// Writes the documents that have won a row. Who follows on a row that came free is of no record of the
/// batch, nor of what the settling task tries: it may be at fault, and nothing else is judged by it (S5a). So
/// it is written apart, behind the others. Where PostgreSQL refuses it, or the target swallows rows of it, it
/// waits for the settling task.
async fn write_claims(
    t: &mut Attempt<'_>,
    root: TableId,
    documents: Vec<DocumentId>,
) -> Result<(), ApplyError> {
    let (apart, together): (Vec<DocumentId>, Vec<DocumentId>) = documents
        .into_iter()
        .partition(|&document| t.follows_apart && is_retained(t, document));
    upserts::write_rounds(t, root, together.clone()).await?;
    for &document in &apart {
        t.session.batch("savepoint follows").await?;
        match write_apart(t, root, document).await {
            Ok(()) => t.session.batch("release savepoint follows").await?,
            Err(error) if error.is_of_rows() => {
                t.session.roll_back_to("follows").await?;
                t.candidates.get_mut(document).block(Blocker::OtherDocument);
            }
            Err(error) => return Err(error),
        }
    }
    for document in together.into_iter().chain(apart) {
        if is_retained(t, document) {
            wait_if_suppressed(t, document);
        }
    }
    Ok(())
}

/// Its record is counted already, so that what the target swallowed has to become its dead letter.
fn wait_if_suppressed(t: &mut Attempt<'_>, document: DocumentId) {
    let candidate = t.candidates.get_mut(document);
    if candidate.done() == Some(Outcome::Suppressed) {
        candidate.block(Blocker::OtherDocument);
    } else if candidate.suppressed_in().is_some() {
        candidate.lack_row(Blocker::OtherDocument);
    }
}

/// Whatever is checked at the commit is checked now.
async fn write_apart(
    t: &mut Attempt<'_>,
    root: TableId,
    document: DocumentId,
) -> Result<(), ApplyError> {
    upserts::write_rounds(t, root, vec![document]).await?;
    Ok(t.session.batch("set constraints all immediate").await?)
}

fn is_retained(t: &Attempt<'_>, document: DocumentId) -> bool {
    let source = t.candidates.get(document).source();
    matches!(source, CandidateSource::Retained(_))
}

/// Nothing is stored of these documents any more.
async fn forget(t: &mut Attempt<'_>, root: TableId, sources: &[Vec<u8>]) -> Result<(), ApplyError> {
    let name = &t.model.table(root).state_name;
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    key_map::remove(t.session, name, &sources).await?;
    retained_records::remove(t.session, name, &sources).await?;
    Ok(())
}

/// Deletes the rows that nothing wants of those whose documents have other keys now; those of deleted
/// documents go at the end.
async fn clear(
    t: &mut Attempt<'_>,
    root: TableId,
    unowned: Vec<Vec<u8>>,
    given_up: &mut GivenUp,
) -> Result<(), ApplyError> {
    let mut now: Vec<RowToDelete> = Vec::new();
    for key in unowned {
        let Some(document) = given_up.remove(&key) else {
            continue;
        };
        let candidate = t.candidates.get(document);
        let row = RowToDelete {
            document,
            key,
            owner: None,
            version: candidate.version().version,
        };
        if candidate.mutation().is_delete() {
            t.unowned.entry(root).or_default().push(row);
        } else {
            now.push(row);
        }
    }
    unowned_rows::delete(t, root, &now).await?;
    Ok(())
}

/// A round after its rows were written.
struct Round {
    root: TableId,
    claims: Claims,
    writes: Vec<DocumentId>,
}

impl Round {
    /// Notes who has which row now, and decides those that have lost. A row whose winner waits stays in
    /// question.
    async fn settle(
        self,
        t: &mut Attempt<'_>,
        open: &mut Vec<DocumentId>,
        given_up: &mut GivenUp,
    ) -> Result<(), ApplyError> {
        let rule = t.model.table(self.root).table.same_key;
        let newest = matches!(rule, SameKey::NewestWins { .. });
        let is_there = |done: Option<Outcome>| done.is_some_and(|o| o != Outcome::Suppressed);
        let is_done = |d: &DocumentId| is_there(t.candidates.get(*d).done());
        let (mut present, waiting): (Vec<DocumentId>, Vec<DocumentId>) =
            self.writes.iter().partition(|document| is_done(document));
        let owner = |&document: &DocumentId| entry_of(t, self.root, document, true);
        let mut entries: Vec<_> = present.iter().filter_map(owner).collect();
        self.withdraw(t, &waiting).await?;
        let mut decided: BTreeSet<Vec<u8>> = entries.iter().map(|e| e.row_key.clone()).collect();
        self.unset_owners(t, &mut decided).await?;
        for document in std::mem::take(open) {
            let key = t.candidates.get(document).row_key(t.rows);
            if !key.is_some_and(|key| decided.contains(key)) {
                open.push(document);
            } else if newest {
                t.candidates.get_mut(document).decide(Outcome::Stale);
                entries.extend(entry_of(t, self.root, document, false));
                present.push(document);
            } else {
                t.candidates.get_mut(document).block(Blocker::OtherDocument);
            }
        }
        given_up.retain(|key, _| !decided.contains(key));
        if entries.is_empty() {
            return Ok(());
        }
        let name = &t.model.table(self.root).state_name;
        key_map::write(t.session, name, &entries).await?;
        self.are_there(t, &entries, &present).await?;
        if newest {
            retained::retain(t, self.root, &present).await?;
        }
        Ok(())
    }

    /// Stored documents whose rows show others now. Rows whose stored owner stays are decided.
    async fn unset_owners(
        &self,
        t: &mut Attempt<'_>,
        decided: &mut BTreeSet<Vec<u8>>,
    ) -> Result<(), ApplyError> {
        let table = t.model.table(self.root);
        let mut former: Vec<&[u8]> = Vec::new();
        for (key, claims) in &self.claims {
            let winner = key_conflict::winner(table.table.same_key, claims);
            if winner.is_some_and(|w| w.owner && matches!(w.of, Claimant::Stored(_))) {
                decided.insert(key.clone());
            } else if decided.contains(key) {
                former.extend(claims.iter().filter_map(|claim| match &claim.of {
                    Claimant::Stored(source) if claim.owner => Some(source.as_slice()),
                    Claimant::Stored(_) | Claimant::Candidate(_) => None,
                }));
            }
        }
        Ok(key_map::unset_owner(t.session, &table.state_name, &former).await?)
    }

    /// A document that was taken up and has to wait is no claimant any more: it is parked from now on.
    /// Where a newer image of it is parked by this very transaction, there is nothing left of the older
    /// one.
    async fn withdraw(
        &self,
        t: &mut Attempt<'_>,
        waiting: &[DocumentId],
    ) -> Result<(), ApplyError> {
        let mut gone = Vec::new();
        for &document in waiting {
            let candidate = t.candidates.get(document);
            if is_retained(t, document) {
                gone.push(candidate.key().to_vec());
                if t.candidates.of_row(candidate.row()).is_some() {
                    t.candidates.get_mut(document).decide(Outcome::Stale);
                }
            }
        }
        forget(t, self.root, &gone).await
    }

    /// Takes away what says that these documents, and the rows that they own, are not there.
    async fn are_there(
        &self,
        t: &mut Attempt<'_>,
        entries: &[key_map::KeyEntry],
        present: &[DocumentId],
    ) -> Result<(), ApplyError> {
        let name = &t.model.table(self.root).state_name;
        let sources: Vec<&[u8]> = entries.iter().map(|entry| &*entry.source).collect();
        tombstones::remove(t.session, name, &sources).await?;
        let owners = entries.iter().filter(|entry| entry.owner);
        let rows: Vec<&[u8]> = owners.map(|entry| &*entry.row_key).collect();
        let of_rows = tombstones::of_rows(name);
        tombstones::remove(t.session, &of_rows, &rows).await?;
        if t.flags.dead_letters {
            let closed = present.iter().filter(|&&document| {
                let candidate = t.candidates.get(document);
                let retained = is_retained(t, document);
                // What was there already and still lacks rows has its dead letter for that.
                let still_lacks =
                    candidate.done() == Some(Outcome::Unchanged) && candidate.lacks_rows();
                !(retained || still_lacks)
            });
            let placed = t.candidates.keys_and_done(closed);
            dead_letters::supersede(t.session, name, &placed).await?;
        }
        Ok(())
    }
}
