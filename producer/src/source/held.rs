//! The events of a transaction that is not known to be whole yet, in bounded memory.
//!
//! Nothing of a transaction goes on before all of it is there ([`super::hold`]), and a transaction may be
//! larger than the memory budget. So beyond a limit the events are kept without their documents: each
//! insert and replacement becomes an update, whose document is looked up when its turn comes. The
//! document found may be newer, as that of every update; its event follows then with a higher version.
//! What is left of an event is some 200 bytes. A transaction for which even that is too much is a
//! stop with a name, and not the end of the machine's memory.

use crate::error::Error;
use bson::{RawBsonRef, RawDocument, RawDocumentBuf, cstr};

/// How much is held.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Beyond so many bytes, documents are looked up later.
    pub documents: usize,
    /// Beyond so many bytes nothing can be held.
    pub bytes: usize,
}

impl Limits {
    /// Limits that are never reached.
    pub const NONE: Self = Self {
        documents: usize::MAX,
        bytes: usize::MAX,
    };
}

/// What each event in memory costs beside its bytes.
const EVENT_OVERHEAD_BYTES: usize = size_of::<RawDocumentBuf>() + 16;

/// Events that are held.
#[derive(Debug)]
pub(super) struct Held {
    events: Vec<RawDocumentBuf>,
    bytes: usize,
    bare: bool,
    limits: Limits,
}

impl Held {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            events: Vec::new(),
            bytes: 0,
            bare: false,
            limits,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes of the events held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives the events, and begins anew.
    pub(super) fn take(&mut self) -> Vec<RawDocumentBuf> {
        std::mem::replace(self, Self::new(self.limits)).events
    }

    /// Holds one more.
    ///
    /// # Errors
    /// When there is no room for it, even without documents.
    pub(super) fn push(&mut self, event: &RawDocument) -> Result<(), Error> {
        if !self.bare && self.bytes + cost(event) > self.limits.documents {
            self.bare = true;
            self.bytes = 0;
            for held in &mut self.events {
                *held = bare(held);
                self.bytes += cost(held);
            }
            tracing::info!(
                events = self.events.len(),
                "a large transaction: its documents are looked up when it is whole"
            );
        }
        let event = if self.bare {
            bare(event)
        } else {
            event.to_owned()
        };
        self.bytes += cost(&event);
        if self.bytes > self.limits.bytes {
            return Err(Error::TransactionTooLarge {
                events: self.events.len(),
                limit: self.limits.bytes,
            });
        }
        self.events.push(event);
        Ok(())
    }
}

fn cost(event: &RawDocument) -> usize {
    event.as_bytes().len() + EVENT_OVERHEAD_BYTES
}

/// The event with what is read of it ([`super::event`]), and without its document. Neither is its
/// token kept: a position lies never within a transaction.
fn bare(event: &RawDocument) -> RawDocumentBuf {
    let mut bare = RawDocumentBuf::new();
    // The names and the first level are the server's own; the documents below are not looked into.
    for (name, value) in event.into_iter().flatten() {
        match (name.as_str(), value) {
            ("operationType", RawBsonRef::String("insert" | "replace")) => {
                bare.append(name, "update");
            }
            ("lsid", RawBsonRef::Document(session)) => {
                let mut short = RawDocumentBuf::new();
                if let Ok(Some(id)) = session.get("id") {
                    short.append(cstr!("id"), id);
                }
                bare.append(name, short);
            }
            (
                "operationType" | "clusterTime" | "wallTime" | "ns" | "to" | "documentKey"
                | "txnNumber",
                value,
            ) => bare.append(name, value),
            _ => {}
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::event::{Parsed, Positions, parse};
    use bson::{Binary, Timestamp, rawdoc, spec::BinarySubtype};
    use leafcutter_schemas::operation::Operation;

    fn event(kind: &str, id: i32) -> RawDocumentBuf {
        let session = Binary {
            subtype: BinarySubtype::Uuid,
            bytes: vec![1; 16],
        };
        let mut event = rawdoc! {
            "_id": { "_data": "82" }, "operationType": kind,
            "clusterTime": Timestamp { time: 9, increment: 1 },
            "wallTime": bson::DateTime::from_millis(5), "ns": { "db": "d", "coll": "a" },
            "documentKey": { "_id": id }, "txnNumber": 3i64, "lsid": { "id": session, "uid": 1 },
        };
        if kind != "delete" {
            event.append(
                cstr!("fullDocument"),
                rawdoc! { "_id": id, "f": "x".repeat(1000) },
            );
        }
        event
    }

    #[test]
    fn beyond_the_limit_documents_are_looked_up_and_nothing_else_is_lost() {
        let positions = Positions::from([("a".to_owned(), 0)]);
        let mut held = Held::new(Limits {
            documents: 4_000,
            bytes: 100_000,
        });
        let kinds = ["insert", "replace", "update", "delete"];
        for number in 0..40 {
            held.push(&event(kinds[number % 4], i32::try_from(number).unwrap()))
                .unwrap();
        }
        assert!(held.bytes() < 40 * 400, "{}", held.bytes());
        let events = held.take();
        assert_eq!((events.len(), held.bytes(), held.is_empty()), (40, 0, true));
        for (number, (kept, kind)) in events.iter().zip(kinds.iter().cycle()).enumerate() {
            let original = event(kind, i32::try_from(number).unwrap());
            let read = |event| match parse(event, &positions).unwrap() {
                Parsed::Change(change) => change,
                other => panic!("{other:?}"),
            };
            let (kept, original) = (read(kept), read(&original));
            assert_eq!(kept.key, original.key);
            assert_eq!(kept.id, original.id);
            assert_eq!(kept.time, original.time);
            assert_eq!(kept.wall_time, original.wall_time);
            assert_eq!(kept.transaction, original.transaction);
            let deleted = original.operation == Operation::Delete;
            assert_eq!(kept.operation == Operation::Delete, deleted);
            assert_eq!(kept.needs_lookup(), !deleted);
        }
    }

    #[test]
    fn below_the_limit_events_stay_as_they_are() {
        let mut held = Held::new(Limits::NONE);
        held.push(&event("insert", 1)).unwrap();
        assert_eq!(held.take(), [event("insert", 1)]);
    }

    #[test]
    fn what_cannot_be_held_is_told() {
        let mut held = Held::new(Limits {
            documents: 0,
            bytes: 1_000,
        });
        let refused = (0..10).find_map(|id| held.push(&event("insert", id)).err());
        assert!(matches!(refused, Some(Error::TransactionTooLarge { .. })));
    }
}
