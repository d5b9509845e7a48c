//! `leafcutter dead-letters`: records that could not be applied. `list` asks the index in
//! PostgreSQL; `show` and `retry` read the letters themselves, which hold the original records byte
//! for byte, in the dead-letter topics.

pub mod list;
pub mod show;
pub mod retry;

use crate::{
    catalog::{Catalog, usage},
    connect::State,
    kafka::{Next, Read, Topics},
    settings::LetterState,
};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::{
    dead_letter::{DeadLetter, Origin},
    name::dead_letter_topic,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// A row of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The root table of its collection.
    pub table: String,
    /// The document key.
    pub document_key: Option<String>,
    /// Its version.
    pub version: Option<i64>,
    /// Where it was refused.
    pub stage: String,
    /// Why, in a word.
    pub reason: String,
    /// The column concerned.
    pub column: Option<String>,
    /// The path concerned.
    pub path: Option<String>,
    /// What PostgreSQL answered.
    pub sqlstate: Option<String>,
    /// Why, in a sentence.
    pub message: String,
    /// `open`, `superseded` or `retried`.
    pub state: String,
    /// The mapping under which it was refused.
    pub mapping: String,
    /// Seconds since then.
    pub age_seconds: i64,
}

/// Which letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this topic.
    pub topic: Option<String>,
    /// Those with this reason.
    pub reason: Option<String>,
    /// Those in this state.
    pub state: Option<&'static str>,
    /// These only.
    pub ids: Option<Vec<Origin>>,
}

impl Letter {
    /// How a person calls it.
    #[must_use]
    pub fn id(&self, catalog: &Catalog) -> String {
        format!(
            "{}/{}/{}",
            catalog.short(&self.topic),
            self.partition,
            self.offset
        )
    }
}

impl LetterState {
    /// The state's name in the index; `None` for all.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::Open => Some("open"),
            Self::Superseded => Some("superseded"),
            Self::Retried => Some("retried"),
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
    state: &State,
    filter: &Filter,
    limit: u32,
) -> Result<Vec<Letter>, Failure> {
    const FIND: &str = "\
        select topic, partition, \"offset\", table_name, source_key, version, stage, reason, \
        column_name, path, sqlstate, message, state, mapping, \
        extract(epoch from now() - created_at)::bigint from leafcutter.dead_letters d \
        where ($1::text is null or topic = $1) and ($2::text is null or reason = $2) \
        and ($3::text is null or state = $3) and ($4::text[] is null or exists \
        (select 1 from unnest($4, $5::int[], $6::bigint[]) as k(t, p, o) \
        where k.t = d.topic and k.p = d.partition and k.o = d.\"offset\")) \
        order by created_at desc, topic, partition, \"offset\" limit $7";
    let limit = (limit > 0).then_some(i64::from(limit));
    let ids = filter.ids.as_deref();
    let topics: Option<Vec<&str>> = ids.map(|ids| ids.iter().map(|id| id.topic.as_str()).collect());
    let partitions: Option<Vec<i32>> = ids.map(|ids| ids.iter().map(|id| id.partition).collect());
    let offsets: Option<Vec<i64>> = ids.map(|ids| ids.iter().map(|id| id.offset).collect());
    let rows = state
        .client
        .query(
            FIND,
            &[
                &filter.topic,
                &filter.reason,
                &filter.state,
                &topics,
                &partitions,
                &offsets,
                &limit,
            ],
        )
        .await
        .map_err(|error| state.lost(&error))?;
    let letter = |row: &tokio_postgres::Row| Letter {
        topic: row.get(0),
        partition: row.get(1),
        offset: row.get(2),
        table: row.get(3),
        document_key: row.get(4),
        version: row.get(5),
        stage: row.get(6),
        reason: row.get(7),
        column: row.get(8),
        path: row.get(9),
        sqlstate: row.get(10),
        message: row.get(11),
        state: row.get(12),
        mapping: row.get(13),
        age_seconds: row.get::<_, i64>(14).max(0),
    };
    Ok(rows.iter().map(letter).collect())
}

/// Our headers of a letter, by their name without the prefix.
pub(crate) fn headers(read: &Read) -> BTreeMap<String, String> {
    DeadLetter::read_headers(
        read.headers
            .iter()
            .map(|(name, value)| (name.as_str(), &value[..])),
    )
}

/// The offset of the original that a letter is about.
pub(crate) fn original_offset(read: &Read) -> Option<i64> {
    headers(read).get("offset")?.parse().ok()
}

/// The letter of a record: the last one, if it was written more than once. A letter stands in the
/// partition of its original; nothing tells where in it, so all of it is read.
pub(crate) fn read_letter(topics: &Topics, origin: &Origin) -> Result<Option<Read>, Failure> {
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
    fn a_letter_is_called_by_topic_or_collection() {
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
