//! Why the assembler stops.

use leafcutter_sink::{
    ids::Generation,
    state::{breakers::BreakerRow, schema::LAYOUT},
};

/// Why the assembler stops.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Kafka no longer has what is to be read next.
    #[error("Kafka has no longer what is to be read next: {0}")]
    Lost(String),
    /// Too many records in a row could not be applied, by this consumer or by another of its group.
    #[error("too many records in a row cannot be applied")]
    Breaker(Vec<BreakerRow>),
    /// A newer Leafcutter has migrated the database meanwhile.
    #[error(
        "a newer Leafcutter has migrated it to layout {0}; this program knows layouts up to {LAYOUT}"
    )]
    Layout(usize),
    /// The last record that was applied is not there any more, and another one in its place.
    #[error(
        "topic `{topic}` partition {partition}: the record at offset {offset} is not the one that was applied"
    )]
    Another {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset of the record.
        offset: i64,
    },
    /// Another mapping was put in force meanwhile.
    #[error("mapping generation {in_force} was put in force meanwhile; this is generation {ours}")]
    Mapping {
        /// That of this program.
        ours: Generation,
        /// The one in force.
        in_force: Generation,
    },
    /// An offset is missing between two records.
    #[error(
        "topic `{topic}` partition {partition}: offset {expected} is missing, the next record is {found}"
    )]
    Gap {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset that should have come.
        expected: i64,
        /// The offset that came.
        found: i64,
    },
}
