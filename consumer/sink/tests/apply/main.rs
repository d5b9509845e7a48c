//! The sink on a real PostgreSQL: every rule of `docs/protocol.md` that one session can show,
//! with hand-made records and without Kafka.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "../database/mod.rs"]
mod database;
mod world;
mod letters;
mod long_keys;
mod refused;
mod rules;
mod exchanges;
mod documented;
mod fidelity;
mod filters;
mod follows;
mod held_values;
mod orders;
mod natural;
mod owners;
mod newest;
mod starts;
mod trees;
mod upgrades;
mod stories;
mod generated;
mod cascades;
mod child_unique;
mod elements;
mod isolated;
mod kept;
mod arrived;
mod budget;
mod suppressed;
mod reach;
mod equality;
mod existing;
mod existing_types;
mod links;
mod loading;
mod looked_up;
mod several;
mod shared;
mod soft;
mod swept;
mod special;
