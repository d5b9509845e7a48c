//! Records of Kafka and events of MongoDB.

use crate::mappings::pool;
use bson::RawDocument;
use leafcutter_producer::{checkpoint::Stored, source::event};
use leafcutter_schemas::{
    codec::avro, control::Control, dead_letter::DeadLetter, key::DocumentKey,
};
use leafcutter_sink::{change::Prepared, decode, ids::CollectionId, transform::Rows};
use std::collections::HashMap;

/// The mark and the fingerprint of the envelope's schema (Avro specification, single-object encoding): without
/// them nearly no bytes would get further.
const FRAME: &[u8] = include_bytes!("../../../schemas/golden/envelope-1.avro");

/// The value of a data topic's record: it is an envelope or an error, and rows or a reason.
pub fn envelope(bytes: &[u8]) {
    let mut framed = FRAME[..10].to_vec();
    framed.extend_from_slice(bytes);
    for value in [bytes, &framed] {
        if let Ok(envelope) = avro::decode(value) {
            let mut again = Vec::new();
            avro::encode(&envelope, &mut again);
            let read = avro::decode(&again).unwrap();
            assert_eq!(read, envelope, "written and read again");
        }
        let mapped = &pool()[0];
        let mut rows = Rows::default();
        let made = decode::prepare(&mapped.model, CollectionId(0), Some(value), &mut rows);
        let refused = matches!(made, Prepared::Refused(_));
        assert!(!refused || rows.is_empty(), "half a document");
    }
}

/// An event of a change stream.
pub fn event(bytes: &[u8]) {
    let positions = HashMap::from([("d.c".to_owned(), 0)]);
    let Ok(event) = RawDocument::from_bytes(bytes) else {
        return;
    };
    event::parse(event, &positions).err();
    DocumentKey::of_document(event);
}

/// A key and a value, divided by the first byte.
fn divided(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((&length, rest)) = bytes.split_first() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(length).min(rest.len()))
}

/// A record of the control topic, and the headers of a dead letter.
pub fn control(bytes: &[u8]) {
    let (key, value) = divided(bytes);
    for prefix in ["", "heartbeat/", "snapshot-complete/"] {
        let key = [prefix.as_bytes(), key].concat();
        if let Ok(control) = Control::read(&key, value) {
            let written = control.value().unwrap();
            assert_eq!(
                Control::read(control.key().as_bytes(), &written).unwrap(),
                control
            );
        }
    }
    let name = String::from_utf8_lossy(key);
    DeadLetter::read_headers([(&*name, value)]);
}

/// A record of the checkpoints' topic.
pub fn checkpoint(bytes: &[u8]) {
    let (key, value) = divided(bytes);
    let mut stored = Stored::default();
    for prefix in ["", "stream/p", "stream/p/", "snapshot/p/"] {
        let key = [prefix.as_bytes(), key].concat();
        stored.take("p", &key, Some(value)).err();
    }
    stored.stream();
    stored.last_event();
}
