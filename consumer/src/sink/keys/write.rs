//! The documents of one such table: the guard, what they give up, who gets which row, the rows.
//!
//! Rounds: in each, every wanted row goes to the best claim there is, stored ones included. What is
//! to be written is written; a document that has to wait drops out, and its row is dealt anew. A
//! round decides at least one row or drops at least one document, so they end.

use super::{
    contest::{self, Claim, Claimant},
    images,
    ledger::{self, Line},
    numbers, vacate,
};
use crate::{
    decode::Record,
    sink::{
        ApplyError,
        deletes::Gone,
        session::Session,
        transaction::Transaction,
        upserts,
        work::{Candidate, Fate, From, Obstacle, Outcome, Wish},
    },
    transform::TableId,
};
use leafcutter_schemas::mapping::SameKey;
use std::collections::{BTreeMap, BTreeSet};

/// Brings the documents of one root table to what they wish, but for rows that are to be deleted,
/// which [`vacate`] does at the end.
///
/// # Errors
/// As [`crate::sink::apply`] has it.
pub async fn write_documents(
    t: &mut Transaction<'_>,
    root: TableId,
    records: &[Record],
) -> Result<(), ApplyError> {
    let documents = t.open(root, |_| true);
    if documents.is_empty() {
        return Ok(());
    }
    let alive = guard(t, root, &documents).await?;
    numbers::give(t, root, &alive).await?;
    let mut given_up = give_up(t, root, &alive).await?;
    let mut open: Vec<usize> = alive.into_iter().map(|(document, _)| document).collect();
    open.retain(|&document| !t.work.candidates[document].wish.is_delete());
    while !(open.is_empty() && given_up.is_empty()) {
        deal(t, root, &mut open, &mut given_up, records).await?;
    }
    Ok(())
}

/// A document that passed the guard, and its line.
pub(super) type Alive = (usize, Option<Line>);

/// Decides what is older than what is stored for its document.
async fn guard(
    t: &mut Transaction<'_>,
    root: TableId,
    documents: &[usize],
) -> Result<Vec<Alive>, ApplyError> {
    let entry = t.model.table(root);
    let name = &entry.state_name;
    let keys = documents.iter().map(|&d| &*t.work.candidates[d].key);
    let keys: Vec<&[u8]> = keys.collect();
    let mut lines = ledger::of_documents(t.session, name, &keys).await?;
    let tombstones = ledger::tombstones(t.session, name, &keys).await?;
    let mut alive = Vec::new();
    for &document in documents {
        let candidate = &mut t.work.candidates[document];
        let version = candidate.stamp.version.as_i64();
        let line = lines.remove(&candidate.key);
        let tombstone = tombstones.get(&candidate.key).copied();
        if line.as_ref().map(|line| line.version).max(tombstone) > Some(version) {
            candidate.fate = Fate::Done(Outcome::Stale);
            continue;
        }
        if let Wish::Delete { filtered } = candidate.wish {
            let again =
                line.as_ref().is_none_or(numbers::is_memory(entry)) && tombstone == Some(version);
            candidate.fate = Fate::Done(match (again, filtered) {
                (true, _) => Outcome::Unchanged,
                (false, true) => Outcome::Filtered,
                (false, false) => Outcome::Deleted,
            });
            if again {
                continue;
            }
        }
        alive.push((document, line));
    }
    Ok(alive)
}

/// The rows that documents give up: those that were deleted, and those with another key now. Gives
/// the rows that showed them, by key. Deletes leave tombstones.
async fn give_up(
    t: &mut Transaction<'_>,
    root: TableId,
    alive: &[Alive],
) -> Result<BTreeMap<Vec<u8>, usize>, ApplyError> {
    let entry = t.model.table(root);
    let name = &entry.state_name;
    let mut rows = BTreeMap::new();
    let mut gone: Vec<&[u8]> = Vec::new();
    let mut remembered: Vec<&[u8]> = Vec::new();
    let mut deleted: Vec<(&[u8], i64)> = Vec::new();
    for (document, line) in alive {
        let candidate = &t.work.candidates[*document];
        let wanted = candidate.row_key(t.rows);
        if wanted.is_none() {
            deleted.push((&candidate.key, candidate.stamp.version.as_i64()));
        }
        if let Some(line) = line
            .as_ref()
            .filter(|l| wanted != Some(l.row_key.as_slice()))
        {
            // The number of a deleted document stays its own.
            if wanted.is_none() && entry.table.generated_key().is_some() {
                remembered.push(&candidate.key);
            } else {
                gone.push(&candidate.key);
            }
            if line.owner {
                rows.insert(line.row_key.clone(), *document);
            }
        }
    }
    ledger::forget(t.session, name, &gone).await?;
    displace(t.session, name, &remembered).await?;
    ledger::bury(t.session, name, &deleted).await?;
    if t.flags.dead_letters {
        ledger::supersede(t.session, name, &deleted).await?;
    }
    t.tombstones_written |= !deleted.is_empty();
    Ok(rows)
}

/// One round.
async fn deal(
    t: &mut Transaction<'_>,
    root: TableId,
    open: &mut Vec<usize>,
    given_up: &mut BTreeMap<Vec<u8>, usize>,
    records: &[Record],
) -> Result<(), ApplyError> {
    let rule = t.model.table(root).table.same_key;
    let claims = claims(t, root, open, given_up).await?;
    let mut writes = Vec::new();
    let mut follow = Vec::new();
    let mut vacant = Vec::new();
    for (key, claims) in &claims {
        match contest::winner(rule, claims) {
            None => vacant.push(key.clone()),
            Some(claim) => match &claim.of {
                Claimant::Candidate(document) => writes.push(*document),
                Claimant::Stored(_) if claim.owner => {}
                Claimant::Stored(source) => follow.push(source.as_slice()),
            },
        }
    }
    let (taken_up, gone) = images::take_up(t, root, &follow).await?;
    let gone: Vec<&[u8]> = gone.iter().map(Vec::as_slice).collect();
    ledger::forget(t.session, &t.model.table(root).state_name, &gone).await?;
    // Of another mapping, their image may want another row: they have their turn in the next round.
    for document in taken_up {
        let key = t.work.candidates[document]
            .row_key(t.rows)
            .map(<[u8]>::to_vec);
        match key {
            Some(key) if claims.contains_key(&key) => writes.push(document),
            _ => open.push(document),
        }
    }
    clear(t, root, vacant, given_up).await?;
    upserts::write_rounds(t, root, writes.clone()).await?;
    open.retain(|document| !writes.contains(document));
    settle(t, root, &claims, &writes, (open, given_up), records).await
}

/// What wants each of the rows in question.
async fn claims(
    t: &mut Transaction<'_>,
    root: TableId,
    open: &[usize],
    given_up: &BTreeMap<Vec<u8>, usize>,
) -> Result<BTreeMap<Vec<u8>, Vec<Claim>>, ApplyError> {
    let entry = t.model.table(root);
    let name = &entry.state_name;
    let others = matches!(entry.table.same_key, SameKey::NewestWins { .. });
    let mut claims: BTreeMap<Vec<u8>, Vec<Claim>> = given_up
        .keys()
        .map(|key| (key.clone(), Vec::new()))
        .collect();
    let sources: Vec<&[u8]> = open.iter().map(|&d| &*t.work.candidates[d].key).collect();
    let own = ledger::of_documents(t.session, name, &sources).await?;
    let apart: BTreeSet<Vec<u8>> = sources.iter().map(|source| source.to_vec()).collect();
    for &document in open {
        let candidate = &t.work.candidates[document];
        let Some(key) = candidate.row_key(t.rows) else {
            continue;
        };
        let line = own.get(&candidate.key);
        claims.entry(key.to_vec()).or_default().push(Claim {
            rank: rank(t, root, document),
            owner: line.is_some_and(|line| line.owner && line.row_key == key),
            of: Claimant::Candidate(document),
        });
    }
    let keys: Vec<&[u8]> = claims.keys().map(Vec::as_slice).collect();
    let stored = ledger::of_rows(t.session, name, &keys, &apart, others).await?;
    for line in stored {
        claims.entry(line.row_key).or_default().push(Claim {
            rank: line.rank,
            owner: line.owner,
            of: Claimant::Stored(line.source),
        });
    }
    Ok(claims)
}

fn rank(t: &Transaction<'_>, root: TableId, document: usize) -> Vec<u8> {
    let candidate = &t.work.candidates[document];
    let order = match (t.model.table(root).table.same_key, &candidate.wish) {
        (SameKey::NewestWins { by: Some(column) }, Wish::Upsert(rows)) => {
            Some(t.rows.field(rows.start, column))
        }
        _ => None,
    };
    contest::rank(order, candidate.stamp.version.as_i64(), &candidate.key)
}

/// Deletes the rows that nobody wants of those whose documents have other keys now; those of deleted
/// documents go at the end.
async fn clear(
    t: &mut Transaction<'_>,
    root: TableId,
    vacant: Vec<Vec<u8>>,
    given_up: &mut BTreeMap<Vec<u8>, usize>,
) -> Result<(), ApplyError> {
    let mut now: Vec<Gone> = Vec::new();
    for key in vacant {
        let Some(document) = given_up.remove(&key) else {
            continue;
        };
        let candidate = &t.work.candidates[document];
        let row = (document, key, candidate.stamp.version.as_i64());
        if candidate.wish.is_delete() {
            t.vacant.entry(root).or_default().push(row);
        } else {
            now.push(row);
        }
    }
    vacate::delete(t, root, &now).await?;
    Ok(())
}

/// Notes who has which row now, and decides those that have lost. A row whose winner waits stays in
/// question.
async fn settle(
    t: &mut Transaction<'_>,
    root: TableId,
    claims: &BTreeMap<Vec<u8>, Vec<Claim>>,
    writes: &[usize],
    (open, given_up): (&mut Vec<usize>, &mut BTreeMap<Vec<u8>, usize>),
    records: &[Record],
) -> Result<(), ApplyError> {
    let rule = t.model.table(root).table.same_key;
    let newest = matches!(rule, SameKey::NewestWins { .. });
    let mut lines: Vec<Line> = Vec::new();
    let mut present: Vec<usize> = Vec::new();
    let mut decided: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut waiting: Vec<usize> = Vec::new();
    for &document in writes {
        if matches!(t.work.candidates[document].fate, Fate::Done(_)) {
            lines.extend(line(t, root, document, true));
            present.push(document);
        } else {
            waiting.push(document);
        }
    }
    leave(t, root, &waiting).await?;
    decided.extend(lines.iter().map(|line| line.row_key.clone()));
    for (key, claims) in claims {
        let winner = contest::winner(rule, claims);
        let stays = winner.is_some_and(|w| w.owner && matches!(w.of, Claimant::Stored(_)));
        if stays {
            decided.insert(key.clone());
        }
        let displaced = claims.iter().filter_map(|claim| match &claim.of {
            Claimant::Stored(source) if claim.owner && !stays && decided.contains(key) => {
                Some(source.as_slice())
            }
            Claimant::Stored(_) | Claimant::Candidate(_) => None,
        });
        let displaced: Vec<&[u8]> = displaced.collect();
        displace(t.session, &t.model.table(root).state_name, &displaced).await?;
    }
    for document in std::mem::take(open) {
        let key = t.work.candidates[document].row_key(t.rows);
        if !key.is_some_and(|key| decided.contains(key)) {
            open.push(document);
        } else if newest {
            t.work.candidates[document].fate = Fate::Done(Outcome::Stale);
            lines.extend(line(t, root, document, false));
            present.push(document);
        } else {
            t.work.candidates[document].fate = Fate::Waits(Obstacle::Key);
        }
    }
    given_up.retain(|key, _| !decided.contains(key));
    note(t, root, &lines, &present).await?;
    if newest {
        images::keep(t, root, &present, records).await?;
    }
    Ok(())
}

/// A document that was taken up and has to wait leaves the contest: it is parked from now on. Where a
/// newer image of it is parked by this very transaction, there is nothing left of the older one.
async fn leave(
    t: &mut Transaction<'_>,
    root: TableId,
    waiting: &[usize],
) -> Result<(), ApplyError> {
    let mut gone = Vec::new();
    for &document in waiting {
        let candidate = &mut t.work.candidates[document];
        if matches!(candidate.from, From::Kept(_)) {
            gone.push(candidate.key.clone());
            if t.work.by_row.contains_key(&(root, candidate.key.clone())) {
                candidate.fate = Fate::Done(Outcome::Stale);
            }
        }
    }
    let gone: Vec<&[u8]> = gone.iter().map(Vec::as_slice).collect();
    ledger::forget(t.session, &t.model.table(root).state_name, &gone).await
}

fn line(t: &Transaction<'_>, root: TableId, document: usize, owner: bool) -> Option<Line> {
    let candidate = &t.work.candidates[document];
    Some(Line {
        source: candidate.key.clone(),
        row_key: candidate.row_key(t.rows)?.to_vec(),
        version: candidate.stamp.version.as_i64(),
        rank: rank(t, root, document),
        owner,
    })
}

/// Stored documents that their rows do not show any more.
async fn displace(session: &mut Session, table: &str, sources: &[&[u8]]) -> Result<(), ApplyError> {
    const DISPLACE: &str = "\
        update leafcutter.keys set owner = false where table_name = $1 and source_key = any($2)";
    if sources.is_empty() {
        return Ok(());
    }
    let statement = session.prepared(DISPLACE).await?;
    session
        .client()
        .execute(&statement, &[&table, &sources])
        .await?;
    Ok(())
}

/// Writes the lines of documents that are there, and takes away what says that they are not.
async fn note(
    t: &mut Transaction<'_>,
    root: TableId,
    lines: &[Line],
    present: &[usize],
) -> Result<(), ApplyError> {
    if lines.is_empty() {
        return Ok(());
    }
    let name = &t.model.table(root).state_name;
    ledger::write(t.session, name, lines).await?;
    let sources: Vec<&[u8]> = lines.iter().map(|line| line.source.as_slice()).collect();
    ledger::unbury(t.session, name, &sources).await?;
    let owners = lines.iter().filter(|line| line.owner);
    let rows: Vec<&[u8]> = owners.map(|line| line.row_key.as_slice()).collect();
    ledger::unbury(t.session, &vacate::of_rows(name), &rows).await?;
    if t.flags.dead_letters {
        let fresh = present.iter().map(|&document| &t.work.candidates[document]);
        // What was there already and still lacks rows has its letter for that.
        let lacks = |c: &Candidate| c.fate == Fate::Done(Outcome::Unchanged) && c.lacks.is_some();
        let fresh = fresh.filter(|c| !(matches!(c.from, From::Kept(_)) || lacks(c)));
        let list = fresh.map(|c| (c.key.as_slice(), c.stamp.version.as_i64()));
        let list: Vec<(&[u8], i64)> = list.collect();
        ledger::supersede(t.session, name, &list).await?;
    }
    Ok(())
}
