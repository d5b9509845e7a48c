//! What suites on real servers stand on, whatever they move.
//!
//! It takes servers that run ([`stack`]), or starts some that may be killed ([`servers`],
//! [`mongod`], [`replica_set`], [`brokers`], [`standby`]), also with certificates of an [`authority`]. On them each
//! test has a [`world`] of its own: a [`target`] and a source, topics, a folder. It runs the real
//! programs there ([`program`], [`fleet`]), or makes their records by hand ([`record`]), of documents as
//! people write them ([`shell`]), waits on conditions only ([`probe`], [`watch`]), makes and reads topics
//! ([`topic`]), looks at the [`rows`] of a table, writes as applications do ([`source`]), and kills parts
//! of it ([`fault`]) or comes between a program and a server ([`proxy`]), by [`dice`] that can be thrown
//! again. What a program says of [`itself`] needs none of it. All that fails is a [`failure`].
//!
//! Nothing here knows an application, or the inside of a program: the suites of every crate can
//! stand on it.

pub mod failure;
pub mod dice;
pub mod probe;
pub mod stack;
pub mod target;
pub mod record;
pub mod shell;
pub mod rows;
pub mod servers;
pub mod authority;
pub mod mongod;
pub mod replica_set;
pub mod brokers;
pub mod standby;
pub mod proxy;
pub mod itself;
pub mod program;
pub mod world;
pub mod source;
pub mod topic;
pub mod fleet;
pub mod watch;
pub mod fault;
