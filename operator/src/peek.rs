//! `leafcutter peek`: records of a topic as a person reads them.
//!
//! Data topics hold envelopes, the control and checkpoint topics JSON, dead-letter topics the
//! original records with the reason in their headers. Documents are shown only when asked for.

use crate::{
    catalog::{Catalog, usage},
    dead_letters::headers,
    envelope::Shown,
    figures::{bytes, utc},
    kafka::{Next, Read, Topics, ask},
    settings::PeekSettings,
    show::{Paint, Show, cut, layout, wrap},
};
use leafcutter_runtime::{exit::Exit, report::Failure};
use leafcutter_schemas::name::{DEAD_LETTER_SUFFIX, checkpoints_topic, control_topic};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// A record as it is shown.
#[derive(Debug, Serialize)]
struct Peeked {
    topic: String,
    partition: i32,
    offset: i64,
    written: Option<String>,
    key: String,
    bytes: usize,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dead_letter: BTreeMap<String, String>,
    #[serde(flatten)]
    content: Content,
}

/// What is in a record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Envelope(Box<Shown>),
    Json(serde_json::Value),
    Tombstone(bool),
    Unreadable(String),
}

/// Shows records.
///
/// # Errors
/// When there is no such topic, or Kafka cannot be read.
pub async fn run(settings: PeekSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let installation = &settings.installation;
    let catalog = Catalog::load(&installation.prefix, installation.mapping.as_deref())?;
    let topic = resolve(&catalog, &settings.topic);
    let documents = settings.documents;
    let (topic, records) = ask(move || {
        let topics = Topics::open(&settings.kafka)?;
        let (topic, partitions) = find(&topics, &catalog, &settings.topic, topic)?;
        let wanted = wanted(&settings, &topic, partitions)?;
        let mut records = Vec::new();
        for partition in wanted {
            let rest = settings.limit.saturating_sub(records.len());
            match settings.offset {
                Some(offset) if rest > 0 => {
                    records.extend(from(&topics, &topic, partition, offset, rest)?);
                }
                Some(_) => {}
                None => records.extend(newest(&topics, &topic, partition, settings.limit)?),
            }
        }
        if settings.offset.is_none() {
            records.sort_by_key(|read| (read.timestamp, read.partition, read.offset));
            records.drain(..records.len().saturating_sub(settings.limit));
        }
        Ok((topic, records))
    })
    .await?;
    for read in &records {
        let peeked = peeked(&topic, read, documents);
        if show.json {
            show.json_line(&peeked);
        } else {
            show.text(&render(&peeked, show.paint));
        }
        if show.is_gone() {
            break;
        }
    }
    if records.is_empty() && !show.json {
        show.line(&format!("no records there in `{topic}`"));
    }
    Ok(Exit::Done)
}

/// The topic that a person calls so, as far as it can be told without asking Kafka.
fn resolve(catalog: &Catalog, called: &str) -> String {
    match called {
        "control" => control_topic(&catalog.prefix),
        "checkpoints" => checkpoints_topic(&catalog.prefix),
        _ => catalog.find(called).map_or_else(
            |_| called.to_owned(),
            |index| catalog.collections[index].topic.clone(),
        ),
    }
}

/// The topic and its partitions; a name that is no topic may be a collection's.
fn find(
    topics: &Topics,
    catalog: &Catalog,
    called: &str,
    topic: String,
) -> Result<(String, i32), Failure> {
    if let Some(partitions) = topics.partitions(&topic)? {
        return Ok((topic, partitions));
    }
    let names = topics.names(&format!("{}.", catalog.prefix))?;
    let mut there = Catalog::load(&catalog.prefix, None)?;
    there.add_topics(names.iter().map(String::as_str));
    if let Ok(index) = there.find(called)
        && let Some(partitions) = topics.partitions(&there.collections[index].topic)?
    {
        return Ok((there.collections[index].topic.clone(), partitions));
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    let next = format!("Topics of this prefix are: {known}.");
    Err(usage(
        "could not find the topic",
        &format!("`{called}`"),
        "there is none of that name",
        next,
    ))
}

fn wanted(settings: &PeekSettings, topic: &str, partitions: i32) -> Result<Vec<i32>, Failure> {
    match settings.partition {
        None => Ok((0..partitions).collect()),
        Some(partition) if (0..partitions).contains(&partition) => Ok(vec![partition]),
        Some(partition) => Err(usage(
            "could not find the partition",
            &format!("--partition {partition}"),
            format!("topic `{topic}` has {partitions}, counted from 0"),
            "Leave --partition away to see all of them.",
        )),
    }
}

fn from(
    topics: &Topics,
    topic: &str,
    partition: i32,
    offset: i64,
    limit: usize,
) -> Result<Vec<Read>, Failure> {
    let (first, end) = topics.bounds(topic, partition)?;
    let mut records = Vec::new();
    topics.read(topic, partition, offset.max(first), end, &mut |read| {
        records.push(read);
        if records.len() >= limit {
            Next::Enough
        } else {
            Next::On
        }
    })?;
    Ok(records)
}

/// The last records of a partition. Where offsets have holes (compaction), it looks further back.
fn newest(
    topics: &Topics,
    topic: &str,
    partition: i32,
    limit: usize,
) -> Result<Vec<Read>, Failure> {
    let (first, end) = topics.bounds(topic, partition)?;
    let mut back = i64::try_from(limit).unwrap_or(i64::MAX);
    loop {
        let start = end.saturating_sub(back).max(first);
        let mut records = std::collections::VecDeque::new();
        topics.read(topic, partition, start, end, &mut |read| {
            records.push_back(read);
            if records.len() > limit {
                records.pop_front();
            }
            Next::On
        })?;
        if records.len() >= limit || start == first {
            return Ok(records.into());
        }
        back = back.saturating_mul(16);
    }
}

fn peeked(topic: &str, read: &Read, documents: bool) -> Peeked {
    let dead = topic.ends_with(DEAD_LETTER_SUFFIX);
    let content = match &read.value {
        None => Content::Tombstone(true),
        Some(value) => match Shown::read(value, documents) {
            Ok(shown) => Content::Envelope(Box::new(shown)),
            // Data of others may be JSON too; it is content, and shown only when asked for.
            Err(why) => match serde_json::from_slice(value) {
                Ok(json) if documents || topic.contains(".leafcutter.") => Content::Json(json),
                Ok(_) => Content::Unreadable("JSON, shown with --documents".to_owned()),
                Err(_) => Content::Unreadable(format!("not an envelope: {why}")),
            },
        },
    };
    Peeked {
        topic: topic.to_owned(),
        partition: read.partition,
        offset: read.offset,
        written: read.timestamp.map(utc),
        key: String::from_utf8_lossy(&read.key).into_owned(),
        bytes: read.bytes(),
        dead_letter: if dead { headers(read) } else { BTreeMap::new() },
        content,
    }
}

fn render(peeked: &Peeked, paint: Paint) -> String {
    let mut out = String::new();
    let place = format!("{}/{}", peeked.partition, peeked.offset);
    let what = match &peeked.content {
        Content::Envelope(shown) => shown.operation,
        Content::Json(_) => "json",
        Content::Tombstone(_) => "tombstone",
        Content::Unreadable(_) => "unreadable",
    };
    let size = bytes(peeked.bytes);
    let room = 80usize.saturating_sub(14 + 11 + 2 + size.len());
    writeln!(
        out,
        "{} {what:<10} {}  {}",
        paint.bold(&format!("{place:<13}")),
        cut(&peeked.key, room),
        paint.dim(&size)
    )
    .unwrap_or_default();
    const INDENT: &str = "              ";
    if let (Some(reason), Some(message)) = (
        peeked.dead_letter.get("reason"),
        peeked.dead_letter.get("message"),
    ) {
        let of = |name: &str| peeked.dead_letter.get(name).map_or("?", String::as_str);
        out.push_str(&paint.attention(&wrap(INDENT, &format!("{reason}: {message}"))));
        let origin = format!("from {}/{}/{}", of("topic"), of("partition"), of("offset"));
        out.push_str(&wrap(INDENT, &origin));
    }
    match &peeked.content {
        Content::Envelope(shown) => {
            out.push_str(&paint.dim(&wrap(INDENT, &shown.particulars())));
            if let Some(document) = &shown.document {
                out.push_str(&indented(document));
            }
        }
        Content::Json(json) => out.push_str(&indented(json)),
        Content::Tombstone(_) => {}
        Content::Unreadable(why) => out.push_str(&wrap(INDENT, why)),
    }
    out
}

fn indented(json: &serde_json::Value) -> String {
    format!("  {}\n", layout(json, 2))
}
