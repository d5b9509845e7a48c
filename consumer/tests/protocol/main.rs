//! The protocol on a real PostgreSQL, through the code that runs in production.

mod world;
mod script;
mod oracle;
mod interleavings;
mod waiting;
mod pause;
mod statements;
mod races;
mod proxy;
mod fence;
