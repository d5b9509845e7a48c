//! Envelopes to bytes and back.

pub mod avro;

/// Why bytes are not an envelope. All of them are definite: the same bytes never become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes do not begin with the mark of Avro's single-object encoding.
    #[error("not in Avro's single-object encoding (begins with {found:02x?}, not c3 01)")]
    Mark {
        /// The first bytes, at most two.
        found: Vec<u8>,
    },
    /// Written with a schema this program does not know.
    #[error(
        "written with schema {fingerprint:016x}, which this version does not know: upgrade the consumers first"
    )]
    UnknownSchema {
        /// The fingerprint in the bytes.
        fingerprint: u64,
    },
    /// The bytes end too early, or a field holds what its type forbids.
    #[error("field `{field}` of the envelope is cut short or malformed")]
    Malformed {
        /// The field that could not be read.
        field: &'static str,
    },
    /// Bytes are left after the last field.
    #[error("{count} bytes follow the envelope")]
    Trailing {
        /// How many.
        count: usize,
    },
}
