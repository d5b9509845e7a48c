//! `leafcutter replay`: topics once more from their start, while the consumers run.
//!
//! The group's positions in these topics are set to 0 under a new epoch, in one transaction with
//! their counters. Whoever owns the partitions is fenced by that, takes them over again as after any
//! loss, and reads from where PostgreSQL says: the start (`PROTOCOL.md` F3, F4). Records are applied
//! by the live rule, so what is the same is not written. A replay always runs to the present end of
//! the topic; waiting for it is a courtesy, the consumers go on without this program.

use crate::{
    catalog::{Catalog, usage},
    connect::State,
    figures::{count, counted, percent},
    kafka::{Topics, ask},
    settings::ReplaySettings,
    show::{Show, cut, left, right, wrap},
    status::{facts::OUTCOMES, report::outcome_words},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);
/// After how long without a new owner the person is told.
const UNNOTICED: Duration = Duration::from_secs(10);

/// One topic that is to be replayed.
#[derive(Debug, Clone, Serialize)]
struct Part {
    collection: String,
    topic: String,
    /// Records applied before.
    applied: i64,
    /// The end of each partition of the group: how far the replay runs.
    #[serde(skip)]
    ends: BTreeMap<i32, i64>,
    /// Records to apply.
    records: i64,
}

/// How a replay ended.
#[derive(Debug, Serialize)]
struct Told<'a> {
    parts: &'a [Part],
    dry_run: bool,
    done: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    outcomes: BTreeMap<&'static str, i64>,
}

/// Replays.
///
/// # Errors
/// When a server cannot be asked, a collection is unknown, the first records are gone, or nobody
/// can confirm.
pub async fn run(settings: ReplaySettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let mut state = State::open(&settings.postgres).await?;
    let catalog = Catalog::of(&settings.installation, &state).await?;
    let group = settings.installation.group.clone();
    let indices = meant(&settings, &catalog)?;
    let positions = positions(&state, &group).await?;
    let parts = parts(&settings, &catalog, &indices, positions).await?;
    if parts.is_empty() {
        let why = format!("group `{group}` has not applied anything of these collections yet");
        let next = "There is nothing to replay; check --group and --prefix.";
        return Err(usage("could not replay", "PostgreSQL", why, next));
    }
    let consumers = consumers(&state, &group).await?;
    if !show.json {
        show.text(&plan(&parts, &group, consumers));
    }
    if settings.dry_run {
        tell(
            show,
            &Told {
                parts: &parts,
                dry_run: true,
                done: false,
                outcomes: BTreeMap::new(),
            },
        );
        return Ok(Exit::Done);
    }
    if !settings.yes && !confirmed(show).await? {
        show.line("nothing was changed");
        return Ok(Exit::Done);
    }
    let epochs = set_back(&mut state, &group, &parts).await?;
    let done = if settings.no_wait {
        false
    } else {
        Wait {
            state: &state,
            group: &group,
            parts: &parts,
            epochs,
        }
        .until_done(show)
        .await?
    };
    let outcomes = if done {
        outcomes(&state, &group, &parts).await?
    } else {
        BTreeMap::new()
    };
    tell(
        show,
        &Told {
            parts: &parts,
            dry_run: false,
            done,
            outcomes,
        },
    );
    Ok(Exit::Done)
}

fn meant(settings: &ReplaySettings, catalog: &Catalog) -> Result<Vec<usize>, Failure> {
    if settings.all {
        // A topic outside the mapping is nobody's to read.
        let known = |index: &usize| {
            let topic = &catalog.collections[*index].topic;
            catalog
                .model
                .as_ref()
                .is_none_or(|model| model.collection_of_topic(topic).is_some())
        };
        return Ok((0..catalog.collections.len()).filter(known).collect());
    }
    let mut indices = Vec::new();
    for called in &settings.collections {
        let index = catalog.find(called)?;
        if !indices.contains(&index) {
            indices.push(index);
        }
    }
    Ok(indices)
}

/// The group's positions, by topic and partition.
async fn positions(
    state: &State,
    group: &str,
) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, Failure> {
    const POSITIONS: &str =
        "select topic, partition, next_offset from leafcutter.offsets where consumer_group = $1";
    let rows = state.client.query(POSITIONS, &[&group]).await;
    let mut positions: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
    for row in rows.map_err(|error| state.lost(&error))? {
        positions
            .entry(row.get(0))
            .or_default()
            .insert(row.get(1), row.get(2));
    }
    Ok(positions)
}

async fn consumers(state: &State, group: &str) -> Result<i64, Failure> {
    const ALIVE: &str = "\
        select count(*) from leafcutter.consumers \
        where consumer_group = $1 and seen_at > now() - interval '15 s'";
    let row = state.client.query_one(ALIVE, &[&group]).await;
    Ok(row.map_err(|error| state.lost(&error))?.get(0))
}

/// Asks Kafka how far each topic reaches, and whether its start is still there.
async fn parts(
    settings: &ReplaySettings,
    catalog: &Catalog,
    indices: &[usize],
    mut positions: BTreeMap<String, BTreeMap<i32, i64>>,
) -> Result<Vec<Part>, Failure> {
    let wanted: Vec<(String, String, BTreeMap<i32, i64>)> = indices
        .iter()
        .map(|&index| &catalog.collections[index])
        .filter_map(|c| Some((c.name.clone(), c.topic.clone(), positions.remove(&c.topic)?)))
        .collect();
    let kafka = settings.kafka.clone();
    ask(move || {
        let topics = Topics::open(&kafka)?;
        let mut parts = Vec::new();
        let mut cut_off = Vec::new();
        for (collection, topic, positions) in wanted {
            let mut ends = BTreeMap::new();
            for &partition in positions.keys() {
                let (first, end) = topics.bounds(&topic, partition)?;
                if first > 0 {
                    cut_off.push(format!("{topic}/{partition} begins at {first}"));
                }
                ends.insert(partition, end);
            }
            let (applied, records) = (positions.values().sum(), ends.values().sum());
            parts.push(Part {
                collection,
                topic,
                applied,
                ends,
                records,
            });
        }
        if cut_off.is_empty() {
            return Ok(parts);
        }
        Err(Failure::one(
            Exit::HistoryLost,
            Fault::new(
                "could not replay from the start",
                format!("brokers `{}`", kafka.brokers),
                format!(
                    "the first records are gone (retention): {}",
                    cut_off.join(", ")
                ),
                "Take a new snapshot of these collections; nothing was changed.",
            ),
        ))
    })
    .await
}

fn plan(parts: &[Part], group: &str, consumers: i64) -> String {
    let mut out = format!("Replay by group {group}:\n\n");
    let heading = [
        left("collection", 30),
        right("partitions", 10),
        right("applied", 15),
    ];
    writeln!(out, "{} {}", heading.join(" "), right("to apply again", 17)).unwrap_or_default();
    for part in parts {
        let line = [
            left(&cut(&part.collection, 30), 30),
            right(&part.ends.len().to_string(), 10),
            right(&count(part.applied), 15),
            right(&count(part.records), 17),
        ];
        writeln!(out, "{}", line.join(" ")).unwrap_or_default();
    }
    let consumers = match consumers {
        0 => "No consumer is running: it begins when one starts.".to_owned(),
        n => format!("{} will do it.", counted(n, "running consumer")),
    };
    out.push('\n');
    let text = "What is the same as what is there is not written again. Changes that arrive \
                meanwhile wait behind the replay.";
    out.push_str(&wrap("", &format!("{text} {consumers}")));
    out
}

async fn confirmed(show: &mut Show<'_>) -> Result<bool, Failure> {
    if show.json || !show.terminal || !std::io::stdin().is_terminal() {
        let why = "nobody is there to confirm";
        return Err(usage(
            "could not replay",
            "this terminal",
            why,
            "Say --yes, or --dry-run.",
        ));
    }
    show.text("\nReplay? [y/N] ");
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin()
            .read_line(&mut line)
            .map(|_| line)
            .unwrap_or_default()
    });
    let answer = answer.await.unwrap_or_default();
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Sets the positions back; gives the epochs under which nobody works yet.
async fn set_back(
    state: &mut State,
    group: &str,
    parts: &[Part],
) -> Result<BTreeMap<(String, i32), i64>, Failure> {
    let topics: Vec<&str> = parts.iter().map(|part| part.topic.as_str()).collect();
    match set_back_all(state, group, &topics).await {
        Ok(epochs) => Ok(epochs),
        Err(error) => Err(state.lost(&error)),
    }
}

async fn set_back_all(
    state: &mut State,
    group: &str,
    topics: &[&str],
) -> Result<BTreeMap<(String, i32), i64>, tokio_postgres::Error> {
    // In the order in which batches lock them.
    const LOCK: &str = "\
        select 1 from leafcutter.offsets where consumer_group = $1 and topic = any($2) \
        order by topic, partition for update";
    const SET_BACK: &str = "\
        update leafcutter.offsets set next_offset = 0, epoch = epoch + 1, owner = null, \
        source_time = 0, applied = 0, unchanged = 0, stale = 0, deleted = 0, held = 0, \
        filtered = 0, parked = 0, ignored = 0, dead_lettered = 0, updated_at = now() \
        where consumer_group = $1 and topic = any($2) returning topic, partition, epoch";
    const FORGET: &str =
        "delete from leafcutter.settled where consumer_group = $1 and topic = any($2)";
    // What is parked now will be parked again and then count as overtaken: counted off beforehand,
    // so that parked less settled is what waits, now and then. What only lacks child rows is there,
    // and was never counted.
    const COUNT_OFF: &str = "\
        insert into leafcutter.settled \
        (consumer_group, topic, partition, consumer, stale, dead_lettered) \
        select $1, topic, partition, 'replay', -count(distinct \"offset\"), \
        count(distinct \"offset\") filter (where state = 'orphan') \
        from leafcutter.parked where consumer_group = $1 and topic = any($2) and not incomplete \
        group by 2, 3";
    let transaction = state.client.transaction().await?;
    transaction.query(LOCK, &[&group, &topics]).await?;
    let rows = transaction.query(SET_BACK, &[&group, &topics]).await?;
    transaction.execute(FORGET, &[&group, &topics]).await?;
    transaction.execute(COUNT_OFF, &[&group, &topics]).await?;
    transaction.commit().await?;
    Ok(rows
        .iter()
        .map(|row| ((row.get(0), row.get(1)), row.get(2)))
        .collect())
}

struct Wait<'a> {
    state: &'a State,
    group: &'a str,
    parts: &'a [Part],
    epochs: BTreeMap<(String, i32), i64>,
}

impl Wait<'_> {
    /// Waits until the ends are applied; false when the person does not want to wait any more.
    async fn until_done(&self, show: &mut Show<'_>) -> Result<bool, Failure> {
        let whole: i64 = self.parts.iter().map(|part| part.records).sum();
        let bar = bar(whole, show);
        let begun = Instant::now();
        let (mut told, mut noticed) = (Instant::now(), false);
        loop {
            let (applied, unnoticed) = self.look().await?;
            bar.set_position(u64::try_from(applied).unwrap_or(0));
            if applied >= whole {
                bar.finish_and_clear();
                return Ok(true);
            }
            if !noticed && unnoticed > 0 && begun.elapsed() > UNNOTICED {
                noticed = true;
                let text = format!(
                    "{} not taken over again yet: an owner notices with its next record. If \
                     this stays so, restart the consumers.",
                    counted(i64::try_from(unnoticed).unwrap_or(i64::MAX), "partition")
                );
                bar.suspend(|| say(show, &wrap("", &text)));
            }
            if bar.is_hidden() && told.elapsed() > TELL {
                told = Instant::now();
                let part = percent(applied, whole);
                say(
                    show,
                    &format!("{part} %, {} of {}\n", count(applied), count(whole)),
                );
            }
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {
                    bar.finish_and_clear();
                    return Ok(false);
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Records applied again, and partitions that nobody has taken over since.
    async fn look(&self) -> Result<(i64, usize), Failure> {
        const LOOK: &str = "\
            select topic, partition, next_offset, epoch from leafcutter.offsets \
            where consumer_group = $1";
        let rows = self.state.client.query(LOOK, &[&self.group]).await;
        let mut applied = 0;
        let mut unnoticed = 0;
        for row in rows.map_err(|error| self.state.lost(&error))? {
            let (topic, partition): (String, i32) = (row.get(0), row.get(1));
            let part = self.parts.iter().find(|part| part.topic == topic);
            let Some(end) = part.and_then(|part| part.ends.get(&partition)) else {
                continue;
            };
            applied += row.get::<_, i64>(2).min(*end);
            let same = self.epochs.get(&(topic, partition)) == Some(&row.get(3));
            unnoticed += usize::from(same && *end > 0);
        }
        Ok((applied, unnoticed))
    }
}

fn say(show: &mut Show<'_>, text: &str) {
    if !show.json {
        show.text(text);
    }
}

fn bar(whole: i64, show: &Show<'_>) -> ProgressBar {
    if !show.terminal || show.json {
        return ProgressBar::hidden();
    }
    let whole = u64::try_from(whole).unwrap_or(0);
    let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::stderr());
    let template = "{bar:30} {percent} %  {human_pos} of {human_len}  {per_sec}  {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What became of the records that were applied again.
async fn outcomes(
    state: &State,
    group: &str,
    parts: &[Part],
) -> Result<BTreeMap<&'static str, i64>, Failure> {
    const SUMS: &str = "\
        select coalesce(sum(applied), 0)::bigint, coalesce(sum(unchanged), 0)::bigint, \
        coalesce(sum(stale), 0)::bigint, coalesce(sum(deleted), 0)::bigint, \
        coalesce(sum(held), 0)::bigint, coalesce(sum(filtered), 0)::bigint, \
        coalesce(sum(parked), 0)::bigint, coalesce(sum(ignored), 0)::bigint, \
        coalesce(sum(dead_lettered), 0)::bigint \
        from leafcutter.offsets where consumer_group = $1 and topic = any($2)";
    let topics: Vec<&str> = parts.iter().map(|part| part.topic.as_str()).collect();
    let row = state.client.query_one(SUMS, &[&group, &topics]).await;
    let row = row.map_err(|error| state.lost(&error))?;
    Ok(OUTCOMES
        .iter()
        .enumerate()
        .map(|(index, name)| (*name, row.get(index)))
        .collect())
}

fn tell(show: &mut Show<'_>, told: &Told<'_>) {
    if show.json {
        show.json(told);
        return;
    }
    let text = if told.dry_run {
        "a dry run: nothing was changed".to_owned()
    } else if told.done {
        let each = OUTCOMES
            .iter()
            .map(|name| (*name, told.outcomes.get(name).copied()));
        let each = each.filter_map(|(name, number)| Some((name, number.filter(|&n| n > 0)?)));
        let each: Vec<String> = each
            .map(|(name, number)| outcome_words(name, number))
            .collect();
        format!(
            "done: {}",
            if each.is_empty() {
                "no records".to_owned()
            } else {
                each.join(", ")
            }
        )
    } else {
        "it goes on in the consumers: leafcutter status --watch".to_owned()
    };
    show.text(&format!("\n{}", wrap("", &text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_will_happen_within_the_columns() {
        let part = Part {
            collection: "x".repeat(50),
            topic: "t".to_owned(),
            applied: 1_203_441,
            ends: BTreeMap::from([(0, 7), (1, 8)]),
            records: 1_203_500,
        };
        let text = plan(&[part], "g", 0);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains("1,203,500") && text.contains("No consumer is running"),
            "{text}"
        );
    }
}
