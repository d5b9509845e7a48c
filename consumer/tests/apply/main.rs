//! The sink on a real PostgreSQL: every rule of `PROTOCOL.md` §3 and §4 that one session can show,
//! with hand-made records and without Kafka.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod world;
mod letters;
mod rules;
mod shell;
mod documented;
mod fidelity;
mod filters;
mod natural;
mod newest;
mod starts;
mod trees;
mod stories;
mod generated;
mod cascades;
mod elements;
mod existing;
mod links;
mod looked_up;
mod several;
mod shared;
mod soft;
