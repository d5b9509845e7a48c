//! `leafcutter dead-letters`: records that could not be applied. `list` and `discard` know only the index
//! in PostgreSQL; `show` and `retry` read the dead letters themselves, which hold the original records byte
//! for byte, in the dead-letter topics.

pub mod settings;
mod select;
pub mod list;
pub mod show;
pub mod retry;
pub mod discard;

use crate::{
    catalog::{Catalog, usage},
    connect::State,
    kafka::{Next, Read, Topics},
};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::{
    dead_letter::{DeadLetter, Origin},
    name::dead_letter_topic,
};
use leafcutter_sink::state::dead_letters::{self, DeadLetterRow, Filter};
use settings::LetterState;
use std::collections::BTreeMap;

/// How a person calls a dead letter.
#[must_use]
pub fn id(letter: &DeadLetterRow, catalog: &Catalog) -> String {
    format!(
        "{}/{}/{}",
        catalog.short(&letter.topic),
        letter.partition,
        letter.offset
    )
}

impl LetterState {
    /// The state's name in the index; `None` for all.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("open"),
            Self::Superseded => Some("superseded"),
            Self::Retried => Some("retried"),
            Self::Discarded => Some("discarded"),
            Self::All => None,
        }
    }
}

/// Reads `TOPIC/PARTITION/OFFSET`; the topic may be given by its collection's name.
pub(crate) fn parse_id(catalog: &Catalog, text: &str) -> Result<Origin, Failure> {
    let wrong = || {
        let next = "Give it as `dead-letters list` shows it: TOPIC/PARTITION/OFFSET.";
        usage(
            "could not read the dead letter's name",
            &format!("`{text}`"),
            "it has another form",
            next,
        )
    };
    let mut parts = text.rsplitn(3, '/');
    let offset = parts
        .next()
        .and_then(|part| part.parse().ok())
        .ok_or_else(wrong)?;
    let partition = parts
        .next()
        .and_then(|part| part.parse().ok())
        .ok_or_else(wrong)?;
    let called = parts.next().ok_or_else(wrong)?;
    let topic = catalog.collections[catalog.find(called)?].topic.clone();
    Ok(Origin {
        topic,
        partition,
        offset,
        timestamp: None,
    })
}

/// Asks the index; the newest first. A limit of 0 is none.
pub(crate) async fn find(
    state: &mut State,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<DeadLetterRow>, Failure> {
    let limit = (limit > 0).then_some(limit);
    let found = dead_letters::find(&mut state.session, filter, limit).await;
    found.map_err(|error| state.lost(&error))
}

/// Our headers of a dead letter, by their name without the prefix.
pub(crate) fn headers(read: &Read) -> BTreeMap<String, String> {
    DeadLetter::read_headers(
        read.headers
            .iter()
            .map(|(name, value)| (name.as_str(), &value[..])),
    )
}

/// The offset of the original that a dead letter is about.
pub(crate) fn original_offset(read: &Read) -> Option<i64> {
    headers(read).get("offset")?.parse().ok()
}

/// The dead letter of a record: the last one, if it was written more than once. A dead letter stands in the
/// partition of its original; nothing tells where in it, so all of it is read.
pub(crate) fn read_dead_letter(topics: &Topics, origin: &Origin) -> Result<Option<Read>, Failure> {
    let topic = dead_letter_topic(&origin.topic);
    if topics
        .partitions(&topic)?
        .is_none_or(|partitions| origin.partition >= partitions)
    {
        return Ok(None);
    }
    let (first, end) = topics.bounds(&topic, origin.partition)?;
    let mut found = None;
    topics.read(&topic, origin.partition, first, end, &mut |read| {
        if original_offset(&read) == Some(origin.offset) {
            found = Some(read);
        }
        Next::On
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_is_called_by_topic_or_collection() {
        let mut catalog = Catalog::load("lc", None).unwrap();
        catalog.add_topics(["lc.shop.a/b", "lc.shop.orders"]);
        for text in ["orders/3/17", "shop.orders/3/17", "lc.shop.orders/3/17"] {
            let origin = parse_id(&catalog, text).unwrap();
            assert_eq!(
                (origin.topic.as_str(), origin.partition, origin.offset),
                ("lc.shop.orders", 3, 17)
            );
        }
        assert_eq!(parse_id(&catalog, "a/b/0/1").unwrap().topic, "lc.shop.a/b");
        for text in [
            "orders",
            "orders/3",
            "orders/x/1",
            "orders/1/x",
            "nothing/0/1",
        ] {
            assert!(parse_id(&catalog, text).is_err(), "{text}");
        }
    }
}
