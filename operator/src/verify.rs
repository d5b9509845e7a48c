//! `leafcutter verify`: the source against the rows, through the mapping.
//!
//! Documents are read by ranges of `_id`, turned into the rows that they must be by code of its own
//! ([`expected`]), and compared with the rows that are there ([`compare`]). What differs is in doubt
//! ([`suspects`]) until it stands still behind everything that was applied ([`covered`]). Rows that no
//! document has are found by the keys of those that one has ([`seen`]). Nothing of this is written to
//! the tables that it reads, and memory does not grow with them. Why it is made so:
//! `docs/decisions/what-verify-compares.md`.

pub mod expected;
pub mod found;
pub mod column_type;
pub mod difference;
pub mod select;
pub mod work;
pub mod target;
pub mod look_up;
pub mod case;
pub mod explain;
pub mod compare;
pub mod settings;
pub mod source;
pub mod covered;
pub mod board;
pub mod suspects;
pub mod pace;
pub mod resume;
pub mod job;
pub mod seen;
pub mod read;
pub mod mend;
pub mod again;
pub mod integrity;
pub mod repair;
pub mod counted;
pub mod report;
mod progress;
mod run;

pub use run::{compare as compare_once, run};
