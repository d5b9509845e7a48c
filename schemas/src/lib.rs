//! The contract between the producer and the consumers: what crosses Kafka, what a row's version
//! means, and how a mapping file turns a document into rows.
//!
//! Everything here is pure: no I/O, no async, no clock. What may change is the inside of a module;
//! what may not is the meaning of bytes already written: `golden/` holds envelopes of every
//! released version, and each of them must decode for ever.
//!
//! The modules stand in the order a document meets them: its names, what happened to it, when,
//! under which key; the envelope it travels in; the control records that travel beside it; what
//! becomes of it when it cannot be applied; and the mapping that turns it into rows.

pub mod name;
pub mod operation;
pub mod version;
pub mod number;
pub mod id;
pub mod key;
pub mod envelope;
pub mod codec;
pub mod control;
pub mod class;
pub mod dead_letter;
pub mod expression;
pub mod mapping;
