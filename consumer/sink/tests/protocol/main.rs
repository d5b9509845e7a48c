//! The protocol on a real PostgreSQL, through the code that runs in production.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and says how much it has tried"
)]

#[path = "../database/mod.rs"]
mod database;
mod world;
mod script;
mod oracle;
mod filled;
mod interleavings;
mod twins;
mod rules;
mod waiting;
mod pause;
mod statements;
mod races;
mod keys;
mod mapping;
mod proxy;
mod pooler;
mod fence;
mod session;
