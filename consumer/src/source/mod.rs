//! From Kafka: bytes with their coordinates.
//!
//! One thread owns the Kafka client ([`poll`]). What the group takes and gives is noted in a callback of that
//! thread ([`rebalance`]); from where a partition is read the assembler says, which has asked PostgreSQL
//! ([`position`]); while the assembler has no room the group is served still ([`deliver`]). All that it tells
//! goes through one channel, in order ([`event`]): `Ready` follows the seek, so whatever was read from a wrong
//! place comes before it and is dropped by the assembler.

pub mod event;
pub mod poll;
mod rebalance;
mod position;
mod deliver;

#[cfg(test)]
mod tests;
