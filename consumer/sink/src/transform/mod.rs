//! A document becomes rows: one pass over the raw BSON, with a plan compiled from the mapping.
//!
//! It takes a document and gives rows already encoded as PostgreSQL's binary COPY wants them, root
//! first, then child rows; or the [`Reason`](leafcutter_schemas::dead_letter::Reason) why the document cannot be rows. It is pure: no I/O,
//! no clock, so the same document always gives the same rows, whichever consumer applies it and whenever.
//!
//! A document is all or nothing: a value that its column cannot hold, under the policy `reject`,
//! refuses the whole document, so that no reader ever sees half of one.

pub mod plan;
mod target;
mod values;
mod value;
mod array;
mod parse;
mod numbers;
mod text;
mod time;
mod filter;
pub mod extjson;
pub mod expression;
pub mod numeric;
mod field;
mod bson_type;
mod bad;
mod unreadable;
mod loss;
pub mod left;
pub mod rows;

pub use bad::Bad;
pub use loss::{Loss, Watch};
pub use plan::{Made, Plan, TablePlan, Unmapped, UnmappedFields};
pub use rows::{Row, Rows};

#[cfg(test)]
mod tests;
