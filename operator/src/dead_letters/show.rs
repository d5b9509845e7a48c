//! `leafcutter dead-letters show`: one dead letter with its whole origin.

use super::{find, headers, parse_id, read_dead_letter, settings::ShowSettings};
use crate::{
    catalog::Catalog,
    connect::State,
    envelope::{Shown, version_words},
    figures::{bytes, utc},
    kafka::{Read, Topics, ask},
    show::{Paint, Show, layout, left, wrap},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::{dead_letter::is_added_header, name::dead_letter_topic};
use leafcutter_sink::state::dead_letters::{DeadLetterRow, Filter};
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// Everything about a dead letter.
#[derive(Debug, Serialize)]
struct Whole {
    id: String,
    index: Option<DeadLetterRow>,
    headers: BTreeMap<String, String>,
    original_headers: Vec<String>,
    dead_letter_topic: String,
    dead_letter_offset: i64,
    key: String,
    value_bytes: Option<usize>,
    record: Option<Shown>,
    not_an_envelope: Option<String>,
}

/// Shows it.
///
/// # Errors
/// When it is neither in the index nor in its topic, or a server cannot be asked.
pub async fn run(settings: ShowSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &mut state).await?;
    let origin = parse_id(&catalog, &settings.id)?;
    let filter = Filter {
        ids: Some(vec![origin.clone()]),
        ..Filter::default()
    };
    let index = find(&mut state, &filter, 1).await?.pop();
    let id = format!(
        "{}/{}/{}",
        catalog.short(&origin.topic),
        origin.partition,
        origin.offset
    );
    let topic = dead_letter_topic(&origin.topic);
    let kafka = settings.kafka;
    let read = ask(move || read_dead_letter(&Topics::open(&kafka)?, &origin)).await?;
    let Some(read) = read else {
        let (why, next) = match index {
            Some(_) => (
                "it is in the index and not in this topic: somebody removed records from it",
                "The original may still be in the data topic: leafcutter peek.",
            ),
            None => (
                "there is no such dead letter",
                "leafcutter dead-letters list --state all",
            ),
        };
        let place = format!("topic `{topic}`");
        let fault = Fault::new(format!("could not find dead letter {id}"), place, why, next);
        return Err(Failure::one(Exit::Differences, fault));
    };
    let whole = whole(id, index, topic, &read, settings.document);
    if show.json {
        show.json(&whole);
    } else {
        show.text(&render(&whole, show.paint));
    }
    Ok(Exit::Done)
}

fn whole(
    id: String,
    index: Option<DeadLetterRow>,
    topic: String,
    read: &Read,
    document: bool,
) -> Whole {
    let record = read
        .value
        .as_deref()
        .map(|value| Shown::read(value, document));
    let (record, not_an_envelope) = match record {
        Some(Ok(shown)) => (Some(shown), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let own = read
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !is_added_header(name));
    Whole {
        id,
        index,
        headers: headers(read),
        original_headers: own.map(str::to_owned).collect(),
        dead_letter_topic: topic,
        dead_letter_offset: read.offset,
        key: String::from_utf8_lossy(&read.key).into_owned(),
        value_bytes: read.value.as_ref().map(Vec::len),
        record,
        not_an_envelope,
    }
}

fn render(whole: &Whole, paint: Paint) -> String {
    const NAMES: usize = 12;
    let mut out = String::new();
    let state = whole
        .index
        .as_ref()
        .map_or("not in the index", |letter| letter.state.as_str());
    writeln!(out, "{}  {state}\n", paint.bold(&whole.id)).unwrap_or_default();
    let mut row = |name: &str, text: &str| {
        let text = wrap(&" ".repeat(NAMES + 1), text);
        write!(
            out,
            "{} {}",
            paint.dim(&left(name, NAMES)),
            text.trim_start()
        )
        .unwrap_or_default();
    };
    // The index knows what happened last; the letter, what happened first.
    if let Some(letter) = &whole.index
        && whole.headers.get("message") != Some(&letter.message)
    {
        row("now", &format!("{}: {}", letter.reason, letter.message));
    }
    if let Some(letter) = &whole.index
        && let (Some(reason), Some(at)) = (&letter.discard_reason, letter.discarded_at)
    {
        row("discarded", &format!("{}: {reason}", utc(at * 1000)));
    }
    for (name, value) in &whole.headers {
        let number: Option<i64> = value.parse().ok();
        match (name.as_str(), number) {
            ("version", Some(number)) => row(name, &version_words(number)),
            ("timestamp", Some(millis)) => row(name, &utc(millis)),
            _ => row(name, value),
        }
    }
    row(
        "letter",
        &format!(
            "{} offset {}",
            whole.dead_letter_topic, whole.dead_letter_offset
        ),
    );
    row("key", &whole.key);
    if !whole.original_headers.is_empty() {
        row("headers", &whole.original_headers.join(", "));
    }
    match (&whole.record, &whole.not_an_envelope, whole.value_bytes) {
        (Some(shown), _, _) => {
            row(
                "record",
                &format!("{} of {} in {}", shown.operation, shown.key, shown.source),
            );
            row("", &shown.particulars());
        }
        (None, Some(why), length) => {
            row(
                "record",
                &format!("{}, not an envelope: {why}", bytes(length.unwrap_or(0))),
            );
        }
        (None, None, _) => row("record", "without a value"),
    }
    if let Some(document) = whole
        .record
        .as_ref()
        .and_then(|shown| shown.document.as_ref())
    {
        writeln!(out, "\n{}", layout(document, 0)).unwrap_or_default();
    }
    out
}
