//! The consumer: Kafka to PostgreSQL. As many run as there are partitions; they share the work as
//! one consumer group and keep their positions in PostgreSQL, beside the rows.
//!
//! ```text
//! Kafka ─► source/poll ─► assemble ─► decode ─► transform ─► write ─► sink/apply ─► PostgreSQL
//!                            │ gate                             │
//!                            └ positions, epochs                └ definite ─► dead_letter
//! ```
//!
//! The modules stand in the order a record meets them.

pub mod settings;
pub mod preflight;
pub mod pipeline;
pub mod source;
pub mod assemble;
pub mod control;
pub mod gate;
pub mod decode;
pub mod transform;
pub mod model;
pub mod write;
pub mod sink;
pub mod orphan;
pub mod dead_letter;
pub mod presence;
pub mod metrics;
