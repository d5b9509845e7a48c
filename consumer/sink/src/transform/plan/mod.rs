//! The plan: a mapping compiled so that one walk over a document fills every column of a table.
//!
//! A document's row comes first, then for each array or map below the rows of its elements, each with
//! the same walk over the element. A row's columns are encoded in their order, from what the walk found
//! or from the row above.

mod compile;
mod compiled;
mod place;
mod reasons;
mod rest;
mod told;
mod transform;
mod trie;
mod unmapped;

pub use compiled::{Plan, TablePlan};
pub use transform::Made;
pub use unmapped::{Unmapped, UnmappedFields};
