//! The application's tables: the DDL that the mapping needs, what the catalogue says of the tables that
//! are there, whether both agree, and what is made there.

pub mod types;
pub mod special;
pub mod catalogue;
pub(crate) mod numbers;
pub mod ddl;
pub(crate) mod enforced;
pub mod suppressing;
pub mod compare;
pub mod sequences;
pub mod unproven;
pub mod own_columns;
pub mod keeping;
pub mod deferred;
pub mod exchange;
mod migrate;

pub use migrate::{Refused, Start, add_missing, migrate};
