//! The sink: records become rows of several PostgreSQL tables, each document once, in whatever order
//! its records come and whatever fails.
//!
//! The contract:
//!
//! - the same batch may arrive twice, and its answer may be lost after the commit;
//! - a row is overwritten only by a higher version, or an equal one with other content; the same
//!   again writes nothing ([`guard`]);
//! - a delete leaves its version behind (a tombstone), so that a late row cannot bring it back;
//! - what is parked is part of what is stored: the guard looks at it too;
//! - rows, position and counters commit together or not at all.
//!
//! `docs/protocol.md` has the reason for each rule. The sink knows nothing of Kafka but what a record
//! carries; the consumer and the operator stand on it.
//!
//! Floors, each using only those above it in this list:
//!
//! | floor | what it is |
//! |---|---|
//! | `ids` `change` `guard` `orphan` | values and rules, pure |
//! | `transform` | a document becomes encoded rows, pure |
//! | `error` `sqlstate` `session` `copy` `names` `metrics` | PostgreSQL's client, errors, quoting; what is counted |
//! | `state` | Leafcutter's own tables, one file each |
//! | `statement` `model` `decode` | the compiled mapping, SQL text for each table, records |
//! | `target` | the application's tables: DDL, catalogue, comparison |
//! | `write` | the steps of one transaction |
//! | `connection` | sessions and transactions |
//! | `batch` `settle` `retry` `sweep` | four drivers |
//! | `drift` | fields that no column takes, counted over many batches |
//! | `rollback` | what Leafcutter wrote, taken back |

pub mod ids;
pub mod change;
pub mod guard;
pub mod orphan;
pub mod transform;
pub mod error;
pub mod sqlstate;
pub mod tls;
pub mod session;
pub mod copy;
pub mod names;
mod metrics;
pub mod state;
pub mod statement;
pub mod model;
pub mod decode;
pub mod target;
mod write;
pub mod connection;
pub mod batch;
pub mod settle;
pub mod retry;
pub mod isolate;
pub mod sweep;
pub mod drift;
pub mod rollback;

pub use error::ApplyError;
