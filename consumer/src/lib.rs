//! Kafka to PostgreSQL.
pub mod transform;
