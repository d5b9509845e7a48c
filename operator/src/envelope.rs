//! An envelope as a person reads it.

use crate::figures;
use bson::{Bson, RawDocument};
use leafcutter_schemas::{codec::avro, envelope::Envelope, key::DocumentKey, version::Version};
use serde::Serialize;

/// What an envelope says; the document only where it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// What happened.
    pub operation: &'static str,
    /// The document key in its canonical form.
    pub key: String,
    /// The source version, `seconds.increment`.
    pub version: String,
    /// The same as one number, as in `lc_version`.
    pub version_number: i64,
    /// Its second.
    pub version_time: String,
    /// The latest cluster time at which the document was read.
    pub as_of: String,
    /// By how many seconds that is later.
    pub as_of_seconds_later: i64,
    /// Read by a snapshot.
    pub snapshot: bool,
    /// The transaction it belongs to.
    pub transaction: Option<String>,
    /// `database.collection`.
    pub source: String,
    /// The producer's run that wrote it.
    pub run: String,
    /// The document's bytes.
    pub document_bytes: Option<usize>,
    /// The document, as relaxed Extended JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<serde_json::Value>,
}

impl Shown {
    /// Reads an envelope.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn read(value: &[u8], with_document: bool) -> Result<Self, String> {
        let envelope = avro::decode(value).map_err(|error| error.to_string())?;
        Ok(Self::of(&envelope, with_document))
    }

    fn of(envelope: &Envelope<'_>, with_document: bool) -> Self {
        let key = RawDocument::from_bytes(envelope.key)
            .ok()
            .and_then(DocumentKey::of_document)
            .map_or_else(|| "(not readable)".to_owned(), |key| key.to_string());
        let source = &envelope.source;
        Self {
            operation: envelope.operation.as_str(),
            key,
            version: envelope.version.to_string(),
            version_number: envelope.version.as_i64(),
            version_time: figures::version_utc(envelope.version),
            as_of: envelope.as_of.to_string(),
            as_of_seconds_later: envelope.as_of.seconds() - envelope.version.seconds(),
            snapshot: source.snapshot,
            transaction: source.transaction.map(str::to_owned),
            source: format!("{}.{}", source.database, source.collection),
            run: envelope.run.to_owned(),
            document_bytes: envelope.document.map(<[u8]>::len),
            document: envelope
                .document
                .filter(|_| with_document)
                .map(extended_json),
        }
    }

    /// The second line about a record: what is not in every record only where it is so.
    #[must_use]
    pub fn particulars(&self) -> String {
        let mut parts = vec![format!("version {} ({})", self.version, self.version_time)];
        if self.as_of != self.version {
            parts.push(match self.as_of_seconds_later {
                0 => "read within its second".to_owned(),
                later => format!("read {} later", figures::span(later)),
            });
        }
        if self.snapshot {
            parts.push("snapshot".to_owned());
        }
        if let Some(transaction) = &self.transaction {
            parts.push(format!("transaction {transaction}"));
        }
        if let Some(bytes) = self.document_bytes {
            parts.push(format!("document {}", figures::bytes(bytes)));
        }
        parts.join(", ")
    }
}

/// A document as relaxed Extended JSON, or the reason why it is none.
fn extended_json(bytes: &[u8]) -> serde_json::Value {
    let document = RawDocument::from_bytes(bytes)
        .map_err(|error| error.to_string())
        .and_then(|raw| bson::Document::try_from(raw).map_err(|error| error.to_string()));
    match document {
        Ok(document) => Bson::Document(document).into_relaxed_extjson(),
        Err(error) => serde_json::json!({ "not readable as BSON": error }),
    }
}

/// A version that stands in a header or table as a number.
#[must_use]
pub fn version_words(number: i64) -> String {
    match Version::from_i64(number) {
        Some(version) => format!("{version} ({})", figures::version_utc(version)),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};
    use leafcutter_schemas::{envelope::Source, operation::Operation};

    #[test]
    fn documents_are_shown_only_when_asked_for() {
        let document = RawDocumentBuf::try_from(&doc! { "_id": 7, "secret": "hunter2" }).unwrap();
        let key = RawDocumentBuf::try_from(&doc! { "_id": 7 }).unwrap();
        let version = Version::from_i64(100 << 31 | 3).unwrap();
        let envelope = Envelope {
            operation: Operation::Update,
            key: key.as_bytes(),
            document: Some(document.as_bytes()),
            version,
            as_of: Version::from_i64(161 << 31).unwrap(),
            source: Source {
                database: "shop",
                collection: "orders",
                cluster_time: version,
                wall_time: None,
                snapshot: false,
                transaction: Some("abc:1"),
            },
            run: "r",
        };
        let mut bytes = Vec::new();
        avro::encode(&envelope, &mut bytes);
        let shown = Shown::read(&bytes, false).unwrap();
        assert!(!serde_json::to_string(&shown).unwrap().contains("hunter2"));
        assert_eq!(shown.key, "number:7");
        assert_eq!(
            shown.particulars(),
            format!(
                "version 100.3 (1970-01-01 00:01:40 UTC), read 1 min 1 s later, transaction abc:1, document {} B",
                document.as_bytes().len()
            )
        );
        let shown = Shown::read(&bytes, true).unwrap();
        assert_eq!(
            shown.document,
            Some(serde_json::json!({ "_id": 7, "secret": "hunter2" }))
        );
        assert!(Shown::read(b"{}", true).is_err());
    }
}
