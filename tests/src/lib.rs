//! Leafcutter on real servers: what the end-to-end suites and the demo are made of.
//!
//! It takes servers that run ([`stack`], [`servers`], [`mongod`]), fills a live MongoDB with a whole
//! application's data and goes on writing to it ([`finlit`]), runs the real programs beside it
//! ([`program`], [`world`], [`fleet`]), waits on conditions only ([`probe`], [`watch`]), kills parts
//! of it ([`fault`]), and proves that every document is the row it should be, or where it should be
//! instead ([`finlit::compare`]). [`run`] is all this for a suite; [`demo`] shows it to a person,
//! [`bench`] measures it; [`systems`] are other applications.

pub mod failure;
pub mod probe;
pub mod stack;
pub mod servers;
pub mod mongod;
pub mod program;
pub mod world;
mod topic;
pub mod fleet;
pub mod watch;
pub mod finlit;
pub mod fault;
pub mod run;
pub mod systems;
pub mod demo;
pub mod bench;
