//! From Kafka: bytes with their coordinates.

pub mod poll;
