//! The sink on a real PostgreSQL: every rule of `PROTOCOL.md` §3 and §4 that one session can show,
//! with hand-made records and without Kafka.

mod world;
mod rules;
