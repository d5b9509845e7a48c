//! Who wants which row: the documents of this transaction and those that are stored.

use super::key_conflict::{self, Claimant, KeyClaim};
use crate::{
    error::ApplyError,
    ids::{DocumentId, TableId},
    state::key_map::{self, KeyEntry},
    write::attempt::Attempt,
};
use leafcutter_schemas::mapping::SameKey;
use std::collections::{BTreeMap, BTreeSet};

/// A document that passed the guard, and its entry in the key map.
pub(crate) type Alive = (DocumentId, Option<KeyEntry>);

/// What wants each row, by the row's key.
pub(crate) type Claims = BTreeMap<Vec<u8>, Vec<KeyClaim>>;

/// What wants each of the rows in question: those that these documents want, and those that documents
/// have given up.
pub(crate) async fn of_rows(
    t: &mut Attempt<'_>,
    root: TableId,
    open: &[DocumentId],
    given_up: &BTreeMap<Vec<u8>, DocumentId>,
) -> Result<Claims, ApplyError> {
    let entry = t.model.table(root);
    let name = &entry.state_name;
    let others = matches!(entry.table.same_key, SameKey::NewestWins { .. });
    let mut claims: Claims = given_up
        .keys()
        .map(|key| (key.clone(), Vec::new()))
        .collect();
    let sources: Vec<&[u8]> = open.iter().map(|&d| t.candidates.get(d).key()).collect();
    let own = key_map::of_documents(t.session, name, &sources).await?;
    let apart: BTreeSet<Vec<u8>> = sources.iter().map(|source| source.to_vec()).collect();
    for &document in open {
        let candidate = t.candidates.get(document);
        let Some(key) = candidate.row_key(t.rows) else {
            continue;
        };
        let entry = own.get(candidate.key());
        claims.entry(key.to_vec()).or_default().push(KeyClaim {
            rank: rank(t, root, document),
            owner: entry.is_some_and(|entry| entry.owner && entry.row_key == key),
            of: Claimant::Candidate(document),
        });
    }
    let keys: Vec<&[u8]> = claims.keys().map(Vec::as_slice).collect();
    let stored = key_map::of_rows(t.session, name, &keys, &apart, others).await?;
    for entry in stored {
        claims.entry(entry.row_key).or_default().push(KeyClaim {
            rank: entry.rank,
            owner: entry.owner,
            of: Claimant::Stored(entry.source),
        });
    }
    Ok(claims)
}

fn rank(t: &Attempt<'_>, root: TableId, document: DocumentId) -> Vec<u8> {
    let candidate = t.candidates.get(document);
    let order = match (t.model.table(root).table.same_key, candidate.rows()) {
        (SameKey::NewestWins { by: Some(column) }, Some(rows)) => {
            Some(t.rows.field(rows.root(), column))
        }
        _ => None,
    };
    key_conflict::rank(order, candidate.version().version, candidate.key())
}

/// The entry of a document as it is now.
pub(crate) fn entry_of(
    t: &Attempt<'_>,
    root: TableId,
    document: DocumentId,
    owner: bool,
) -> Option<KeyEntry> {
    let candidate = t.candidates.get(document);
    Some(KeyEntry {
        source: candidate.key().to_vec(),
        row_key: candidate.row_key(t.rows)?.to_vec(),
        version: candidate.version().version,
        rank: rank(t, root, document),
        owner,
    })
}
