//! The verbs on real servers: what they say, what they change, and the code they end with. Needs
//! `LEAFCUTTER_POSTGRES_URI` and `LEAFCUTTER_KAFKA_BROKERS`; fails without them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

mod again;
mod drift;
mod exchange;
mod finish;
mod gate;
mod interrupted;
mod letters;
mod list;
mod live;
mod lost;
mod outages;
mod pause;
mod plan;
mod replay;
mod retry;
mod rollback;
mod status;
mod stops;
mod tables;
mod world;
