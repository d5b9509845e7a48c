//! Several documents want one row: which of them it shows.
//!
//! Pure. A document's rank is bytes that compare as documents do: first by the column that says how
//! new it is, where there is one (none or null is the oldest), then by its version, then by its own
//! key, since the documents of a snapshot share one version. No two documents have the same rank.

use crate::ids::DocumentId;
use leafcutter_schemas::{mapping::SameKey, version::Version};

/// A document that wants a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyClaim {
    /// Its rank among those that want the same row.
    pub(crate) rank: Vec<u8>,
    /// The row shows it now, in this or an older image.
    pub(crate) owner: bool,
    /// Whose claim it is.
    pub(crate) of: Claimant,
}

/// Whose claim it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimant {
    /// A candidate of this transaction.
    Candidate(DocumentId),
    /// A document that is there already, by its own key.
    Stored(Vec<u8>),
}

/// The claim that gets the row.
///
/// Where the first one stays, that is the document that has the row; without one, the document that
/// was changed first.
pub(crate) fn winner(rule: SameKey, claims: &[KeyClaim]) -> Option<&KeyClaim> {
    match rule {
        SameKey::FirstStays => claims
            .iter()
            .find(|claim| claim.owner)
            .or_else(|| claims.iter().min_by_key(|claim| &claim.rank)),
        SameKey::NewestWins { .. } => claims.iter().max_by_key(|claim| &claim.rank),
    }
}

/// The rank of a document. `order` is the value, in PostgreSQL's binary form, of the column that says
/// how new it is, where there is such a column.
pub(crate) fn rank(order: Option<Option<&[u8]>>, version: Version, source: &[u8]) -> Vec<u8> {
    let mut rank = Vec::with_capacity(17 + source.len());
    match order {
        None => {}
        Some(None) => rank.push(0),
        // Whole numbers and times are big-endian, with a sign.
        Some(Some(value)) => {
            rank.push(1);
            rank.extend_from_slice(value);
            if let Some(sign) = rank.get_mut(1) {
                *sign ^= 0x80;
            }
        }
    }
    rank.extend_from_slice(&version.as_i64().to_be_bytes());
    rank.extend_from_slice(source);
    rank
}

#[cfg(test)]
mod tests {
    use super::{Claimant, KeyClaim, rank, winner};
    use crate::ids::DocumentId;
    use leafcutter_schemas::{mapping::SameKey, version::Version};

    fn claim(number: usize, rank: &[u8], owner: bool) -> KeyClaim {
        KeyClaim {
            rank: rank.to_vec(),
            owner,
            of: Claimant::Candidate(DocumentId::new(number)),
        }
    }

    #[test]
    fn the_first_stays_or_the_newest_wins() {
        let newest = SameKey::NewestWins { by: None };
        let claims = [claim(0, b"b", false), claim(1, b"a", false)];
        assert_eq!(winner(SameKey::FirstStays, &claims), Some(&claims[1]));
        assert_eq!(winner(newest, &claims), Some(&claims[0]));
        let claims = [
            claim(0, b"a", false),
            claim(1, b"b", true),
            claim(2, b"c", false),
        ];
        assert_eq!(winner(SameKey::FirstStays, &claims), Some(&claims[1]));
        assert_eq!(winner(newest, &claims), Some(&claims[2]));
        assert_eq!(winner(newest, &[]), None);
    }

    #[test]
    fn ranks_compare_as_documents_do() {
        let number = |n: i64| n.to_be_bytes();
        let at = |n: i64| Version::from_i64(n).unwrap();
        let with =
            |n: i64, version, source: &[u8]| rank(Some(Some(&number(n))), at(version), source);
        let in_order = [
            rank(Some(None), at(9), b"z"),
            with(i64::MIN, 1, b"a"),
            with(-1, 1, b"a"),
            with(0, 1, b"a"),
            with(7, 1, b"a"),
            with(7, 2, b"a"),
            with(7, 2, b"b"),
            with(i64::MAX, 0, b"a"),
        ];
        assert!(in_order.is_sorted());
        assert!(rank(None, at(2), b"a") > rank(None, at(1), b"b"));
        assert!(rank(None, at(1), b"b") > rank(None, at(1), b"a"));
    }
}
