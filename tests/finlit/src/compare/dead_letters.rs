//! The dead-letter topics, held against their index and against the records themselves.
//!
//! Each row of the index has to have its record in the topic `<topic>.dead-letter`, in the same
//! partition, with the same key, value and headers as the record it was, byte for byte, and with
//! headers that say the same as the index; only a dead letter that its document overtook may be missing.
//! Of an orphan that lacked two parents, the headers may name the one that has come since (protocol, O6).
//! What is in the topic is in the index, without exception.

use super::{
    report::{Finding, Wrong},
    state::DeadLetterEntry,
};
use crate::{
    Collection,
    expected::tables::{Kind, table},
};
use leafcutter_harness::{
    failure::{Failure, Result},
    topic::{At, read},
    world::Place,
};
use leafcutter_schemas::{
    dead_letter::{DeadLetter, is_added_header},
    name::dead_letter_topic,
};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A record as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// A record of a dead-letter topic.
struct Sent {
    bytes: Bytes,
    /// Our own headers.
    says: BTreeMap<String, String>,
    is_connect: bool,
}

/// Checks the dead letters of the index, as [`super::compare`] gave them.
///
/// # Errors
/// When Kafka fails.
pub fn check(place: &Place, index: &[(Collection, DeadLetterEntry)]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for collection in Collection::ALL {
        let listed: Vec<_> = index
            .iter()
            .filter(|(of, _)| *of == collection)
            .map(|(_, dead_letter)| dead_letter)
            .collect();
        let topic = place.topic(collection.name())?;
        let sent = dead_letters(place, &topic)?;
        let mut originals = HashMap::new();
        let wanted: HashSet<At> = listed
            .iter()
            .map(|dead_letter| dead_letter.origin)
            .chain(sent.keys().copied())
            .collect();
        read(
            &place.stack.kafka(),
            &topic,
            Some(&wanted),
            |message, at| {
                originals.insert(at, bytes(message, |_| true));
            },
        )?;
        let mut add = |at: At, detail: String| {
            let id = format!("partition {} offset {}", at.0, at.1);
            findings.push(Finding {
                wrong: Wrong::DeadLetter,
                collection,
                id,
                detail,
            });
        };
        for dead_letter in &listed {
            match sent.get(&dead_letter.origin) {
                None if is_withdrawn(dead_letter) => {}
                None => add(
                    dead_letter.origin,
                    "in the index, and not in the topic".to_owned(),
                ),
                Some(sent) => {
                    if let Some(detail) = differs(
                        collection,
                        dead_letter,
                        sent,
                        &topic,
                        originals.get(&dead_letter.origin),
                    ) {
                        add(dead_letter.origin, detail);
                    }
                }
            }
        }
        for at in sent
            .keys()
            .filter(|at| !listed.iter().any(|dead_letter| dead_letter.origin == **at))
        {
            add(*at, "in the topic, and not in the index".to_owned());
        }
    }
    Ok(findings)
}

/// Whether a dead letter may never have been sent. That a document waited in vain is listed first: it may
/// have been placed before its dead letter was sent, or sent again after a kill.
fn is_withdrawn(dead_letter: &DeadLetterEntry) -> bool {
    !dead_letter.open && matches!(dead_letter.reason.as_str(), "orphan" | "unique")
}

/// Whether a column of a collection's tables refers to a parent.
fn is_reference(collection: Collection, column: &str) -> bool {
    let table = table(collection);
    let children = table.children.iter().flat_map(|child| child.columns);
    let mut all = table.columns.iter().chain(children);
    all.any(|c| c.name == column && matches!(c.kind, Kind::Reference(_)))
}

/// The tables of a collection that have such a column; all where none is named.
fn tables_of(collection: Collection, column: &str) -> Vec<&'static str> {
    let table = table(collection);
    let children = table
        .children
        .iter()
        .map(|child| (child.name, child.columns));
    let all = std::iter::once((table.name, table.columns)).chain(children);
    // A unique key of several columns names them all.
    let names: Vec<_> = column.split(", ").filter(|name| !name.is_empty()).collect();
    all.filter(|(_, columns)| {
        names
            .iter()
            .all(|name| columns.iter().any(|c| c.name == *name))
    })
    .map(|(name, _)| name)
    .collect()
}

/// What is wrong with a dead letter in the topic, if something is.
fn differs(
    collection: Collection,
    dead_letter: &DeadLetterEntry,
    sent: &Sent,
    topic: &str,
    original: Option<&Bytes>,
) -> Option<String> {
    let says = |name: &str| sent.says.get(name).map_or("", String::as_str);
    let other_parent = dead_letter.reason == "orphan" && is_reference(collection, says("column"));
    let column = if other_parent {
        says("column")
    } else {
        &dead_letter.column
    };
    let expected = [
        ("reason", dead_letter.reason.as_str()),
        ("column", column),
        ("topic", topic),
        ("class", "definite"),
    ];
    for (name, want) in expected {
        if says(name) != want {
            return Some(format!("header {name} says `{}`, not `{want}`", says(name)));
        }
    }
    let tables = tables_of(collection, column);
    if !tables.contains(&says("table")) {
        return Some(format!(
            "header table says `{}`, not `{}`",
            says("table"),
            tables.join("` or `")
        ));
    }
    for name in [
        "stage", "message", "mapping", "program", "version", "attempts",
    ] {
        if says(name).is_empty() {
            return Some(format!("header {name} is missing"));
        }
    }
    if dead_letter.reason == "refused" && says("sqlstate").is_empty() {
        return Some("header sqlstate is missing".to_owned());
    }
    if !sent.is_connect {
        return Some("the headers of Kafka Connect are missing".to_owned());
    }
    match original {
        None => Some("the record itself is not in its topic".to_owned()),
        Some(original) if original.key != sent.bytes.key => {
            Some("another key than the record".to_owned())
        }
        Some(original) if original.value != sent.bytes.value => {
            Some("another value than the record".to_owned())
        }
        Some(original) if original.headers != sent.bytes.headers => {
            Some("other headers than the record".to_owned())
        }
        Some(_) => None,
    }
}

/// All records of the dead-letter topic, by what they are about. None where there is no topic.
fn dead_letters(place: &Place, topic: &str) -> Result<HashMap<At, Sent>> {
    let mut sent = HashMap::new();
    let mut broken = None;
    read(
        &place.stack.kafka(),
        &dead_letter_topic(topic),
        None,
        |message, at| {
            let own = bytes(message, is_added_header);
            let own = own
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()));
            let is_connect = own
                .clone()
                .any(|(name, _)| name == "__connect.errors.topic");
            let says = DeadLetter::read_headers(own);
            let origin = |name: &str| says.get(name).and_then(|text| text.parse::<i64>().ok());
            match (origin("partition"), origin("offset")) {
                (Some(partition), Some(offset)) if partition == i64::from(at.0) => {
                    let bytes = bytes(message, |name| !is_added_header(name));
                    sent.insert(
                        (at.0, offset),
                        Sent {
                            bytes,
                            says,
                            is_connect,
                        },
                    );
                }
                _ => broken = Some(at),
            }
        },
    )?;
    match broken {
        None => Ok(sent),
        Some((partition, offset)) => Err(Failure::new(format!(
            "the dead letter at partition {partition} offset {offset} of `{topic}` does not say which record of \
             its partition it is"
        ))),
    }
}

fn bytes(message: &BorrowedMessage<'_>, keep: impl Fn(&str) -> bool) -> Bytes {
    let headers = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    Bytes {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .filter(|header| keep(header.key))
            .map(|header| {
                (
                    header.key.to_owned(),
                    header.value.unwrap_or_default().to_vec(),
                )
            })
            .collect(),
    }
}
