//! The application's tables: the DDL that the mapping needs, what the catalogue says of the tables that
//! are there, and whether both agree.

pub mod types;
pub mod special;
pub mod catalogue;
pub(crate) mod numbers;
pub mod ddl;
pub mod suppressing;
pub mod compare;
pub mod sequences;
pub mod unproven;
pub mod own_columns;
mod migrate;

pub use migrate::{Start, migrate};
