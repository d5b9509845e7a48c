//! Tables whose key does not follow from `_id`: which row is a document's, and which document a
//! row's. The contract:
//!
//! - **The guard is kept by the document.** What is stored for a document is its line in
//!   `leafcutter.keys`, its tombstone and what is parked for it, all under its own key; nothing at
//!   or below the highest of their versions changes anything. A row shows its owner's image and
//!   version, so a row's version may fall: when its owner goes and an older document follows.
//! - **A delete carries only `_id`**; the line says which row it means.
//! - **A changed key** is the old row gone and the new one there, children too, in one transaction.
//!   The old row goes as soon as an image that passed the guard has another key, even where that
//!   image has to wait: no document of the source has that key any more. So two documents that
//!   exchange their keys never wait for each other.
//! - **Several documents, one key** ([`contest`]): the first one stays and the others are parked as
//!   for any unique value; or the newest is the row, and the others' images are kept. The newest is a
//!   function of the documents as they are now, so in whatever order records arrive, and however
//!   often, the same document ends up as the row.
//!
//! - **A generated key** ([`numbers`]): a document that has a value keeps it; one without gets a number
//!   once, which its line keeps, also while the document is deleted, since its row may be held.
//!
//! - **References by `_id`** ([`lookup`]) find the number of a document by its line.
//!
//! Why this holds with several consumers: all that reads or writes these lines, or the rows of such
//! a table, first takes the table's [`turns`], and keeps it until its transaction ends. Under READ
//! COMMITTED every later statement sees what the turn before committed. Two documents with one key
//! are in different partitions, and no lock on either's line would keep the other's away while the
//! row is not there yet; the price is that such a table is written by one consumer at a time.
//! Other tables know nothing of this.

pub mod contest;
pub mod ledger;
pub mod lookup;
pub mod turns;
mod images;
mod numbers;
mod vacate;
mod write;

pub use vacate::{delete_vacant, of_rows as tombstones_of_rows};
pub use write::write_documents;

use super::{ApplyError, transaction::Transaction, work::Candidate};

/// A document's image whose row was another's, taken up again: its record.
#[derive(Debug)]
pub struct Kept {
    /// The record's key.
    pub record_key: Vec<u8>,
    /// The record's value.
    pub record_value: Vec<u8>,
}

/// The highest version stored for the document of each candidate, all of one such table; -1 where
/// there is none. The turn must have been taken.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn stored(
    t: &mut Transaction<'_>,
    candidates: &[&Candidate],
) -> Result<Vec<i64>, ApplyError> {
    let Some(first) = candidates.first() else {
        return Ok(Vec::new());
    };
    let name = &t.model.table(first.root).state_name;
    let sources: Vec<&[u8]> = candidates.iter().map(|c| c.key.as_slice()).collect();
    let lines = ledger::of_documents(t.session, name, &sources).await?;
    let tombstones = ledger::tombstones(t.session, name, &sources).await?;
    let stored = candidates.iter().map(|candidate| {
        let line = lines.get(&candidate.key).map(|line| line.version);
        let tombstone = tombstones.get(&candidate.key).copied();
        line.max(tombstone).unwrap_or(-1)
    });
    Ok(stored.collect())
}
