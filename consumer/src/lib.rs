//! The consumer: Kafka to PostgreSQL. As many run as there are partitions; they share the work as
//! one consumer group and keep their positions in PostgreSQL, beside the rows.
//!
//! ```text
//! Kafka ─► source/poll ─► assemble ─► write ─► leafcutter_sink::batch ─► PostgreSQL
//!                            │ gate     │
//!                            │          └ definite ─► dead_letter
//!                            └ positions, epochs      settle ─► leafcutter_sink::settle
//! ```
//!
//! The modules stand in the order a record meets them. What becomes of a record's document in PostgreSQL
//! is the matter of the sink; here is what has to do with Kafka.

pub mod settings;
pub mod mapping;
pub mod beginning;
pub mod preflight;
pub mod pipeline;
pub mod source;
pub mod assemble;
pub mod handover;
pub mod control;
pub mod topics;
pub mod retention;
pub mod gate;
pub mod pause;
pub mod write;
pub mod breaker;
pub mod dead_letter;
pub mod settle;
pub mod presence;
pub mod drift;
pub mod constraints;
pub mod metrics;
