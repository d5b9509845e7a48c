//! A collection's documents, read from MongoDB as the snapshot reads them, each in a record as the producer
//! would send it.

use super::{look::Look, placing::Placing, settings::DryRunSettings};
use crate::verify::{
    source::{Range, Source},
    work::Work,
};
use bson::RawDocument;
use indicatif::ProgressBar;
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::{
    codec::avro,
    envelope::{self, Envelope},
    id,
    key::DocumentKey,
    operation::Operation,
    version::Version,
};

/// As long as a real run's name.
const RUN: &str = "00000000-0000-0000-0000-000000000000";

/// Records as the producer makes them of documents of its snapshot.
struct Records<'w> {
    work: &'w Work,
    version: Version,
    buffer: Vec<u8>,
}

impl Records<'_> {
    /// The length of the record's key, and its value.
    fn of(&mut self, document: &RawDocument) -> (usize, &[u8]) {
        let id = id::key_document(document).unwrap_or_default();
        let key = DocumentKey::of_document(document).unwrap_or_else(DocumentKey::missing);
        let envelope = Envelope {
            operation: Operation::Read,
            key: id.as_bytes(),
            document: Some(document.as_bytes()),
            version: self.version,
            as_of: self.version,
            source: envelope::Source {
                database: &self.work.database,
                collection: &self.work.name,
                cluster_time: self.version,
                wall_time: None,
                snapshot: true,
                transaction: None,
            },
            run: RUN,
        };
        self.buffer.clear();
        avro::encode(&envelope, &mut self.buffer);
        (key.as_str().len(), &self.buffer)
    }
}

/// Reads documents; gives whether these were all.
///
/// # Errors
/// When MongoDB cannot be read.
pub(super) async fn mongodb(
    source: &Source,
    work: &Work,
    settings: &DryRunSettings,
    bar: &ProgressBar,
    (look, placing): (&mut Look, &mut Placing),
) -> Result<bool, Failure> {
    let version = source.now().await?;
    let mut records = Records {
        work,
        version,
        buffer: Vec::new(),
    };
    let mut cursor = match settings.sample {
        Some(size) if u64::from(size) < look.all => source.sample(work, size).await?,
        _ => source.read(work, &Range::default()).await?,
    };
    let sampled = settings
        .sample
        .is_some_and(|size| u64::from(size) < look.all);
    let more = async |cursor: &mut mongodb::Cursor<_>| {
        let more = cursor.advance().await;
        more.map_err(|error| source.failed(&error))
    };
    while more(&mut cursor).await? {
        if settings.limit.is_some_and(|limit| look.read >= limit) {
            return Ok(false);
        }
        let (key, value) = records.of(cursor.current());
        look.read += 1;
        look.take(key, Some(value), placing);
        bar.inc(1);
    }
    Ok(!sampled)
}
