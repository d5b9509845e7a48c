//! Tables whose key does not follow from `_id`: which row is a document's, and which document a
//! row's. The contract:
//!
//! - **The guard is kept by the document.** What is stored for a document is its entry in
//!   `leafcutter.key_map`, its tombstone and what is parked for it, all under its own key; nothing at
//!   or below the highest of their versions changes anything. A row shows its owner's image and
//!   version, so a row's version may fall: when its owner goes and an older document follows.
//! - **A delete carries only `_id`**; the entry says which row it means.
//! - **A changed key** is the old row gone and the new one there, children too, in one transaction.
//!   The old row goes as soon as an image that passed the guard has another key, even where that
//!   image has to wait: no document of the source has that key any more. So two documents that
//!   exchange their keys never wait for each other.
//! - **Several documents, one key** ([`key_conflict`]): the first one stays and the others are parked as
//!   for any unique value; or the newest is the row, and the others' records are retained. The newest is a
//!   function of the documents as they are now, so in whatever order records arrive, and however
//!   often, the same document ends up as the row.
//!
//! - **A generated key** ([`generated_keys`]): a document that has a value keeps it; one without gets a number
//!   once, which its entry keeps, also while the document is deleted, since its row may be held.
//!
//! - **References by `_id`** ([`super::look_up`]) find the number of a document by its entry.
//!
//! Why this holds with several consumers: all that reads or writes these entries, or the rows of such
//! a table, first takes the table's lock ([`super::table_lock`]) and keeps it until its transaction ends.
//! Under READ COMMITTED every later statement sees what the last holder committed. Two documents with one key
//! are in different partitions, and no lock on either's entry would keep the other's away while the
//! row is not there yet; the price is that such a table is written by one consumer at a time.
//! Other tables know nothing of this.

mod claims;
mod documents;
mod generated_keys;
mod key_conflict;
mod retained;
mod stored;
mod unowned_rows;

pub(crate) use documents::write_documents;
pub(crate) use stored::stored;
pub(crate) use unowned_rows::delete_unowned;
