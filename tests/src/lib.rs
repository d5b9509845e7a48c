//! Leafcutter on real servers: what the end-to-end suites and the demo are made of.
//!
//! It takes servers that run ([`stack`]), fills a live MongoDB with a whole application's data and
//! goes on writing to it ([`finlit`]), runs the real programs beside it ([`program`], [`world`]),
//! waits on conditions only ([`probe`], [`watch`]), and proves that every document is the row it
//! should be, or where it should be instead ([`finlit::compare`]). [`demo`] shows all this to a
//! person; [`bench`] measures it.

pub mod failure;
pub mod probe;
pub mod stack;
pub mod program;
pub mod world;
pub mod watch;
pub mod finlit;
pub mod demo;
pub mod bench;
