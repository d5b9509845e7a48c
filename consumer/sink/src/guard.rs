//! The one rule: the highest version wins (`docs/protocol.md`, Ties).
//!
//! What is stored for a document is the highest version of its row, its tombstone and what is parked
//! for it. A record that is older changes nothing. Here, and nowhere else, two versions are compared:
//! in Rust by the functions, in SQL by the conditions of [`sql`], which every statement that compares
//! versions is made with. Whoever changes a tie changes it here.

use leafcutter_schemas::version::Version;

/// The highest version stored for a document; none where nothing is.
pub type Stored = Option<Version>;

/// The higher of two.
pub fn highest(one: Stored, other: Stored) -> Stored {
    one.max(other)
}

/// A version as a table has it.
pub fn stored(number: i64) -> Stored {
    Version::from_i64(number)
}

/// Whether a live record, a snapshot's or a replayed one may be applied: at the same version, too. Two
/// records of one version are the same one twice, or a newer image of the document (P3).
pub fn admits(stored: Stored, incoming: Version) -> bool {
    stored <= Some(incoming)
}

/// Whether a dead letter that is tried again may be applied: only where it is newer than all that is
/// stored. At the same version its document was placed by a newer image.
pub fn admits_retry(stored: Stored, incoming: Version) -> bool {
    stored < Some(incoming)
}

/// Whether exactly this version is stored.
pub fn is_same(stored: Stored, incoming: Version) -> bool {
    stored == Some(incoming)
}

/// Of two records of one batch for one row: whether the later one takes the earlier one's place. Of
/// equal ones it does.
pub fn replaces(earlier: Version, later: Version) -> bool {
    earlier <= later
}

/// The same comparisons as SQL conditions, of columns or expressions.
pub mod sql {
    /// Live records: what is stored is newer, the incoming row is stale.
    pub fn is_stale(stored: &str, incoming: &str) -> String {
        format!("{stored} > {incoming}")
    }

    /// What is stored is older: the incoming row raises it.
    pub fn is_older(stored: &str, incoming: &str) -> String {
        format!("{stored} < {incoming}")
    }

    /// The same version.
    pub fn is_same(stored: &str, incoming: &str) -> String {
        format!("{stored} = {incoming}")
    }

    /// Another version, higher or lower: for rows whose guard is kept by the document.
    pub fn differs(stored: &str, incoming: &str) -> String {
        format!("{stored} <> {incoming}")
    }

    /// What was placed, or parked, at one version settles what waits, or is a dead letter, at or below
    /// it.
    pub fn is_settled(waiting: &str, placed: &str) -> String {
        format!("{waiting} <= {placed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: i64) -> Version {
        Version::from_i64(number).unwrap()
    }

    #[test]
    fn ties_are_for_live_records() {
        let at = version(5);
        for (stored, live, retry) in [
            (None, true, true),
            (Some(4), true, true),
            (Some(5), true, false),
            (Some(6), false, false),
        ] {
            let stored = stored.map(version);
            assert_eq!(admits(stored, at), live, "{stored:?}");
            assert_eq!(admits_retry(stored, at), retry, "{stored:?}");
        }
        assert!(replaces(at, at) && replaces(version(4), at) && !replaces(version(6), at));
    }
}
