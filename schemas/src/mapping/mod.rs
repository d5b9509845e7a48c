//! The mapping: how a document becomes rows.
//!
//! A mapping file is parsed into nodes that remember their lines ([`parse`]), judged as a whole
//! with every fault reported at once ([`check`]), and ordered by its references ([`tier`]). What
//! comes out is a [`Mapping`], in which every name, type and reference is known to be sound;
//! nothing after this module judges a mapping again. Two of them are compared by what they mean
//! ([`changes`]).

mod collection;
mod table;
mod table_name;
mod column;
mod reference;
pub mod pg_type;
pub mod path;
pub mod condition;
mod fault;
mod raw;
pub mod parse;
pub mod check;
pub mod tier;
mod change;
pub mod schema;

pub use change::{Change, Effect, changes};
pub use collection::{Collection, Mapping};
pub use column::{Column, ColumnSource, Conversion, Policies, Policy, Values};
pub use fault::{MappingFault, MappingFaults};
pub use path::Path;
pub use pg_type::{Element, PgType};
pub use reference::{OnDelete, OnMissing, Reference, ReferenceBy};
pub use table::{Elements, Identity, RowSource, SameKey, Table};
pub use table_name::TableName;

#[cfg(test)]
mod tests;
