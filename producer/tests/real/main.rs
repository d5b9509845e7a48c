//! The producer against real servers. The environment names them (`LEAFCUTTER_MONGODB_URI`,
//! `LEAFCUTTER_KAFKA_BROKERS`); without it every test fails, because a test that skips itself
//! proves nothing. Each test has a database and a topic prefix of its own and removes both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod world;
mod records;
mod pages;
mod snapshot;
mod stream;
mod restart;
mod preflight;
mod limits;
mod faults;
mod broker;
mod away;
mod poll;
mod unreadable;
