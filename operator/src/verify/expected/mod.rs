//! What a document must be in PostgreSQL, by the mapping alone.
//!
//! This room knows the mapping's words and the reference in `docs/mapping.md`, and nothing of the
//! consumer: it uses no file of the sink's transform, nor the schemas' own numbers and keys, so that a
//! fault there shows as a difference. Tests hold both to the documented tables.

pub mod decimal;
pub mod moment;
pub mod key;
pub mod json;
pub mod cell;
pub mod number;
pub mod time;
pub mod text;
pub mod value;
pub mod find;
pub mod rest;
pub mod cel;
pub mod plan;
pub mod rows;
