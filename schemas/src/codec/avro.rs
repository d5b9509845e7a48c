//! The envelope in Avro's single-object encoding (Avro 1.12 specification, "Single-object
//! encoding"): two marker bytes, the schema's CRC-64-AVRO fingerprint in little-endian order, then
//! the fields in the schema's order.
//!
//! It is written by hand because the general crate allocates per field and per record; the tests
//! prove every byte of it against that crate and against `golden/`.

use super::CodecError;
use crate::{
    envelope::{Envelope, Source},
    operation::Operation,
    version::Version,
};

/// The schema, as users and other tools read it.
pub const SCHEMA: &str = include_str!("../../avro/envelope.avsc");

/// The schema's parsing canonical form (Avro specification, "Parsing Canonical Form"), of which
/// the fingerprint is taken; a test proves that it is [`SCHEMA`]'s.
const CANONICAL: &str = concat!(
    r#"{"name":"leafcutter.Envelope","type":"record","fields":["#,
    r#"{"name":"operation","type":{"name":"leafcutter.Operation","type":"enum","#,
    r#""symbols":["read","insert","update","replace","delete"]}},"#,
    r#"{"name":"key","type":"bytes"},{"name":"document","type":["null","bytes"]},"#,
    r#"{"name":"version","type":"long"},{"name":"as_of","type":"long"},"#,
    r#"{"name":"source","type":{"name":"leafcutter.Source","type":"record","fields":["#,
    r#"{"name":"database","type":"string"},{"name":"collection","type":"string"},"#,
    r#"{"name":"cluster_time","type":"long"},{"name":"wall_time","type":["null","long"]},"#,
    r#"{"name":"snapshot","type":"boolean"},{"name":"transaction","type":["null","string"]}]}},"#,
    r#"{"name":"run","type":"string"}]}"#,
);

const MARK: [u8; 2] = [0xc3, 0x01];

/// The fingerprint of [`SCHEMA`], which every record of ours begins with.
pub const FINGERPRINT: u64 = crc64_avro(CANONICAL.as_bytes());

/// CRC-64-AVRO (Rabin) of a schema's canonical form (Avro specification, "Schema Fingerprints").
const fn crc64_avro(bytes: &[u8]) -> u64 {
    const EMPTY: u64 = 0xc15d_213a_a4d7_a795;
    let mut crc = EMPTY;
    let mut index = 0;
    while index < bytes.len() {
        crc ^= bytes[index] as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (EMPTY & (crc & 1).wrapping_neg());
            bit += 1;
        }
        index += 1;
    }
    crc
}

/// Appends the envelope to `out`.
pub fn encode(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let document = envelope.document.unwrap_or_default();
    out.reserve(document.len() + envelope.key.len() + 160);
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&FINGERPRINT.to_le_bytes());
    long(out, i64::from(envelope.operation.index()));
    bytes(out, envelope.key);
    match envelope.document {
        None => long(out, 0),
        Some(document) => {
            long(out, 1);
            bytes(out, document);
        }
    }
    long(out, envelope.version.as_i64());
    long(out, envelope.as_of.as_i64());
    let source = &envelope.source;
    bytes(out, source.database.as_bytes());
    bytes(out, source.collection.as_bytes());
    long(out, source.cluster_time.as_i64());
    match source.wall_time {
        None => long(out, 0),
        Some(millis) => {
            long(out, 1);
            long(out, millis);
        }
    }
    out.push(u8::from(source.snapshot));
    match source.transaction {
        None => long(out, 0),
        Some(transaction) => {
            long(out, 1);
            bytes(out, transaction.as_bytes());
        }
    }
    bytes(out, envelope.run.as_bytes());
}

/// Zig-zag, then seven bits a byte, the lowest first.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push((rest & 0x7f) as u8);
}

fn bytes(out: &mut Vec<u8>, value: &[u8]) {
    // A slice is never longer than `i64::MAX` bytes.
    long(out, i64::try_from(value.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(value);
}

/// Reads one envelope that fills all of `input`; what it holds borrows from there.
///
/// # Errors
/// When the bytes are anything else; see [`CodecError`].
pub fn decode(input: &[u8]) -> Result<Envelope<'_>, CodecError> {
    let Some(rest) = input.strip_prefix(&MARK) else {
        return Err(CodecError::Mark {
            found: input.iter().take(2).copied().collect(),
        });
    };
    let Some((fingerprint, rest)) = rest.split_first_chunk::<8>() else {
        return Err(CodecError::Malformed {
            field: "schema fingerprint",
        });
    };
    let fingerprint = u64::from_le_bytes(*fingerprint);
    if fingerprint != FINGERPRINT {
        return Err(CodecError::UnknownSchema { fingerprint });
    }
    let mut reader = Reader { rest };
    let envelope = Envelope {
        operation: Operation::from_index(reader.long("operation")?)
            .ok_or(CodecError::Malformed { field: "operation" })?,
        key: reader.bytes("key")?,
        document: match reader.union("document")? {
            false => None,
            true => Some(reader.bytes("document")?),
        },
        version: reader.version("version")?,
        as_of: reader.version("as_of")?,
        source: Source {
            database: reader.string("source.database")?,
            collection: reader.string("source.collection")?,
            cluster_time: reader.version("source.cluster_time")?,
            wall_time: match reader.union("source.wall_time")? {
                false => None,
                true => Some(reader.long("source.wall_time")?),
            },
            snapshot: reader.boolean("source.snapshot")?,
            transaction: match reader.union("source.transaction")? {
                false => None,
                true => Some(reader.string("source.transaction")?),
            },
        },
        run: reader.string("run")?,
    };
    if reader.rest.is_empty() {
        Ok(envelope)
    } else {
        Err(CodecError::Trailing {
            count: reader.rest.len(),
        })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn byte(&mut self, field: &'static str) -> Result<u8, CodecError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(CodecError::Malformed { field })?;
        self.rest = rest;
        Ok(*first)
    }

    fn long(&mut self, field: &'static str) -> Result<i64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte(field)?;
            // The tenth byte holds the last bit; more would be lost.
            if shift == 63 && byte > 1 {
                return Err(CodecError::Malformed { field });
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(CodecError::Malformed { field })
    }

    fn version(&mut self, field: &'static str) -> Result<Version, CodecError> {
        Version::from_i64(self.long(field)?).ok_or(CodecError::Malformed { field })
    }

    fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], CodecError> {
        let length =
            usize::try_from(self.long(field)?).map_err(|_| CodecError::Malformed { field })?;
        let (value, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(CodecError::Malformed { field })?;
        self.rest = rest;
        Ok(value)
    }

    fn string(&mut self, field: &'static str) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes(field)?).map_err(|_| CodecError::Malformed { field })
    }

    fn boolean(&mut self, field: &'static str) -> Result<bool, CodecError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Malformed { field }),
        }
    }

    /// The branch of a union of null and something: whether the something follows.
    fn union(&mut self, field: &'static str) -> Result<bool, CodecError> {
        match self.long(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Malformed { field }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::{Schema, rabin::Rabin, types::Value, writer::datum::GenericDatumWriter};
    use proptest::prelude::*;

    fn schema() -> Schema {
        Schema::parse_str(SCHEMA).unwrap()
    }

    fn sample() -> Envelope<'static> {
        Envelope {
            operation: Operation::Update,
            key: &[5, 0, 0, 0, 0],
            document: Some(&[5, 0, 0, 0, 0]),
            version: Version::from_i64(4_611_686_018_427_387_907).unwrap(),
            as_of: Version::from_i64(4_611_686_018_427_387_910).unwrap(),
            source: Source {
                database: "finlit",
                collection: "learners",
                cluster_time: Version::from_i64(1).unwrap(),
                wall_time: Some(-1),
                snapshot: false,
                transaction: Some("lsid:1"),
            },
            run: "run",
        }
    }

    #[test]
    fn fingerprint_and_canonical_form_are_those_of_the_schema_file() {
        assert_eq!(schema().canonical_form(), CANONICAL);
        assert_eq!(
            schema().fingerprint::<Rabin>().bytes,
            FINGERPRINT.to_le_bytes()
        );
    }

    fn as_value(envelope: &Envelope<'_>) -> Value {
        let union = |value: Option<Value>| match value {
            None => Value::Union(0, Box::new(Value::Null)),
            Some(value) => Value::Union(1, Box::new(value)),
        };
        let source = &envelope.source;
        let record = |fields: Vec<(&str, Value)>| {
            Value::Record(fields.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
        };
        record(vec![
            (
                "operation",
                Value::Enum(
                    envelope.operation.index().into(),
                    envelope.operation.to_string(),
                ),
            ),
            ("key", Value::Bytes(envelope.key.to_vec())),
            (
                "document",
                union(envelope.document.map(|d| Value::Bytes(d.to_vec()))),
            ),
            ("version", Value::Long(envelope.version.as_i64())),
            ("as_of", Value::Long(envelope.as_of.as_i64())),
            (
                "source",
                record(vec![
                    ("database", Value::String(source.database.to_owned())),
                    ("collection", Value::String(source.collection.to_owned())),
                    ("cluster_time", Value::Long(source.cluster_time.as_i64())),
                    ("wall_time", union(source.wall_time.map(Value::Long))),
                    ("snapshot", Value::Boolean(source.snapshot)),
                    (
                        "transaction",
                        union(source.transaction.map(|t| Value::String(t.to_owned()))),
                    ),
                ]),
            ),
            ("run", Value::String(envelope.run.to_owned())),
        ])
    }

    proptest! {
        #[test]
        fn bytes_are_those_of_the_avro_crate(
            operation in 0i64..5,
            key in proptest::collection::vec(any::<u8>(), 0..40),
            document in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)),
            version in 0..=i64::MAX,
            as_of in 0..=i64::MAX,
            wall_time in any::<Option<i64>>(),
            snapshot in any::<bool>(),
            transaction in any::<Option<String>>(),
            database in ".{0,20}",
        ) {
            let envelope = Envelope {
                operation: Operation::from_index(operation).unwrap(),
                key: &key,
                document: document.as_deref(),
                version: Version::from_i64(version).unwrap(),
                as_of: Version::from_i64(as_of).unwrap(),
                source: Source {
                    database: &database,
                    collection: "c",
                    cluster_time: Version::from_i64(version / 2).unwrap(),
                    wall_time,
                    snapshot,
                    transaction: transaction.as_deref(),
                },
                run: "r",
            };
            let mut ours = Vec::new();
            encode(&envelope, &mut ours);
            let schema = schema();
            let writer = GenericDatumWriter::builder(&schema).build().unwrap();
            let theirs = writer.write_value_to_vec(as_value(&envelope)).unwrap();
            prop_assert_eq!(&ours[10..], theirs.as_slice());
            prop_assert_eq!(decode(&ours).unwrap(), envelope);
        }

        #[test]
        fn any_bytes_are_an_envelope_or_an_error(mut input in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&input).err();
            let mut framed = MARK.to_vec();
            framed.extend(FINGERPRINT.to_le_bytes());
            framed.append(&mut input);
            decode(&framed).err();
        }
    }

    #[test]
    fn golden_bytes_of_version_1_decode() {
        let golden = include_bytes!("../../golden/envelope-1.avro");
        assert_eq!(decode(golden).unwrap(), sample());
        let mut again = Vec::new();
        encode(&sample(), &mut again);
        assert_eq!(
            again, golden,
            "the writer changed: add a golden file, never edit one"
        );
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_refused() {
        let mut whole = Vec::new();
        encode(&sample(), &mut whole);
        for end in 0..whole.len() {
            assert!(
                decode(&whole[..end]).is_err(),
                "accepted {end} of {} bytes",
                whole.len()
            );
        }
        whole.push(0);
        assert_eq!(decode(&whole), Err(CodecError::Trailing { count: 1 }));
        whole[5] ^= 1;
        assert!(matches!(
            decode(&whole),
            Err(CodecError::UnknownSchema { .. })
        ));
        assert!(matches!(decode(b"{}"), Err(CodecError::Mark { .. })));
    }
}
