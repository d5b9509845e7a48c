//! `leafcutter replay`: topics once more, from their start or from a time or an offset, while the consumers run.
//!
//! The group's positions in these topics are rewound under a new epoch, in one transaction with
//! their counters. Whoever owns the partitions is fenced by that, takes them over again as after any
//! loss, and reads from where PostgreSQL says (`docs/protocol.md`, F3, F4). Records are applied
//! by the live rule, so what is the same is not written. A replay always runs to the present end of
//! the topic, and never begins behind the group's position, since nothing is passed by; waiting for it is a
//! courtesy, the consumers go on without this program. To new tables: [`into`].

mod into;
mod part;
pub(crate) mod settings;

use crate::{
    catalog::{Catalog, usage},
    confirm::{Answer, SAY, agreed, somebody},
    connect::State,
    figures::{count, counted, percent},
    in_force::{self, Purpose},
    progress::{drawn, say},
    show::{Show, cut, left, right, wrap},
    status::report::outcome_words,
};
use leafcutter_runtime::{exit::Exit, report::Failure, shutdown::Shutdown};
use leafcutter_sink::{
    change::{Counts, Outcome},
    ids::Generation,
    session::Session,
    state::{consumers, mappings, offsets, older_rows},
};
use part::{Part, WHAT, parts};
use serde::Serialize;
use settings::ReplaySettings;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// The columns of the bar.
const BAR: &str = "{wide_bar} {percent} %  {human_pos} of {human_len}  {rate}  {eta} to go";
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);
/// After how long without a new owner the person is told.
const UNNOTICED: Duration = Duration::from_secs(10);

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
/// When a server cannot be asked, a collection is unknown, the first records are gone, another mapping is in
/// force, or nobody can confirm.
pub async fn run(settings: ReplaySettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    if let Some(schema) = settings.into.clone() {
        return Box::pin(into::run(settings, &schema, show)).await;
    }
    let mut state = State::open(&settings.postgres).await?;
    let mut catalog = Catalog::of(&settings.installation, &mut state).await?;
    let group = settings.installation.group.clone();
    let indices = meant(&settings, &catalog)?;
    let positions = positions(&mut state, &group).await?;
    let parts = parts(&settings, &catalog, &indices, positions).await?;
    if parts.is_empty() {
        let why = format!("group `{group}` has not applied anything of these collections yet");
        let next = "There is nothing to replay; check --group and --prefix.";
        return Err(usage(WHAT, "PostgreSQL", why, next));
    }
    if !settings.dry_run && catalog.model.is_some() {
        let purpose = Purpose {
            what: WHAT,
            group: &group,
            file: settings.installation.mapping.as_deref(),
        };
        let none = || usage(WHAT, "--mapping", "there is none", "Give it.");
        in_force::required(&mut state, &mut catalog, purpose, none).await?;
    }
    let consumers = consumers(&mut state, &group).await?;
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
    // Until here a signal ends the program at once, and nothing is changed.
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    if !settings.yes {
        somebody(show, WHAT, SAY)?;
        if agreed(show, "\nReplay? [y/N] ", &shutdown).await != Answer::Yes {
            show.line("nothing was changed");
            return Ok(Exit::Done);
        }
    }
    let (epochs, generation) = rewind(&mut state, &group, &parts).await?;
    for part in &parts {
        let Part { topic, records, .. } = part;
        tracing::info!(group, topic, records, "set back");
    }
    let done = if settings.no_wait {
        false
    } else {
        Wait {
            state: &mut state,
            group: &group,
            parts: &parts,
            epochs,
            shutdown: &shutdown,
        }
        .until_done(show)
        .await?
    };
    let outcomes = if done {
        written_again(&mut state, &group, (&parts, generation)).await?;
        outcomes(&mut state, &group, &parts).await?
    } else {
        BTreeMap::new()
    };
    tracing::info!(done, ?outcomes, "replayed");
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
    state: &mut State,
    group: &str,
) -> Result<BTreeMap<String, BTreeMap<i32, i64>>, Failure> {
    let positions = offsets::progress(&mut state.session, group).await;
    positions.map_err(|error| state.lost(&error))
}

async fn consumers(state: &mut State, group: &str) -> Result<i64, Failure> {
    let alive = consumers::alive(&mut state.session, group).await;
    let alive = alive.map_err(|error| state.lost(&error))?;
    Ok(i64::try_from(alive.len()).unwrap_or(i64::MAX))
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

/// The epochs under which nobody works yet, and the generation of the mapping that is in force.
type Rewound = (BTreeMap<(String, i32), i64>, Generation);

/// Rewinds the positions.
async fn rewind(state: &mut State, group: &str, parts: &[Part]) -> Result<Rewound, Failure> {
    let rewound = rewind_all(&mut state.session, group, parts).await;
    rewound.map_err(|error| state.lost(&error))
}

async fn rewind_all(
    session: &mut Session,
    group: &str,
    parts: &[Part],
) -> Result<Rewound, tokio_postgres::Error> {
    session.batch("begin").await?;
    let mut starts = BTreeMap::new();
    for part in parts {
        for (&partition, &start) in &part.starts {
            starts.insert((part.topic.as_str(), partition), start);
        }
    }
    let epochs = offsets::rewind(session, group, &starts).await?;
    for part in parts.iter().filter(|part| part.is_whole()) {
        older_rows::replay(session, group, &part.topic, &part.ends_by_partition()).await?;
    }
    let generation = mappings::generation(session, group).await?;
    session.batch("commit").await?;
    Ok((epochs, generation))
}

struct Wait<'a> {
    state: &'a mut State,
    group: &'a str,
    parts: &'a [Part],
    epochs: BTreeMap<(String, i32), i64>,
    shutdown: &'a Shutdown,
}

impl Wait<'_> {
    /// Waits until the ends are applied; false when the person does not want to wait any more.
    async fn until_done(&mut self, show: &mut Show<'_>) -> Result<bool, Failure> {
        let whole: i64 = self.parts.iter().map(|part| part.records).sum();
        let bar = drawn(Some(u64::try_from(whole).unwrap_or(0)), BAR, show);
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
            if !self.shutdown.sleep(LOOK).await {
                bar.finish_and_clear();
                return Ok(false);
            }
        }
    }

    /// Records applied again, and partitions that nobody has taken over since.
    async fn look(&mut self) -> Result<(i64, usize), Failure> {
        let positions = offsets::positions(&mut self.state.session, self.group).await;
        let positions = positions.map_err(|error| self.state.lost(&error))?;
        let mut applied = 0;
        let mut unnoticed = 0;
        for (partition, position) in positions {
            let part = self.parts.iter().find(|part| part.topic == partition.0);
            let place = part.and_then(|part| {
                Some((part.starts.get(&partition.1)?, part.ends.get(&partition.1)?))
            });
            let Some((start, end)) = place else {
                continue;
            };
            applied += position.next.min(*end) - start;
            let same = self.epochs.get(&partition) == Some(&position.epoch);
            unnoticed += usize::from(same && end > start);
        }
        Ok((applied, unnoticed))
    }
}

/// The rows are of the mapping that was in force when it began, where applying them again is enough.
async fn written_again(
    state: &mut State,
    group: &str,
    (parts, generation): (&[Part], Generation),
) -> Result<(), Failure> {
    let rows = older_rows::rows(&mut state.session, group).await;
    let rows = rows.map_err(|error| state.lost(&error))?;
    for row in rows.iter().filter(|row| row.replay) {
        if parts
            .iter()
            .any(|part| part.topic == row.topic && part.is_whole())
        {
            let cleared = older_rows::clear(&mut state.session, group, &row.topic, generation);
            cleared.await.map_err(|error| state.lost(&error))?;
        }
    }
    Ok(())
}

/// What became of the records that were applied again.
async fn outcomes(
    state: &mut State,
    group: &str,
    parts: &[Part],
) -> Result<BTreeMap<&'static str, i64>, Failure> {
    let rows = offsets::rows(&mut state.session, group).await;
    let rows = rows.map_err(|error| state.lost(&error))?;
    let mut counts = Counts::default();
    let mut passed_by = 0;
    for row in rows {
        let part = parts.iter().find(|part| part.topic == row.topic);
        if let Some(start) = part.and_then(|part| part.starts.get(&row.partition)) {
            counts.merge(&row.outcomes);
            passed_by += start;
        }
    }
    // What is before the start was counted as older than what is there.
    let all = Outcome::ALL.map(|outcome| {
        let before = if outcome == Outcome::Stale {
            passed_by
        } else {
            0
        };
        (outcome.column(), counts.of(outcome) - before)
    });
    Ok(BTreeMap::from(all))
}

fn tell(show: &mut Show<'_>, told: &Told<'_>) {
    if show.json {
        show.json(told);
        return;
    }
    let text = if told.dry_run {
        "a dry run: nothing was changed".to_owned()
    } else if told.done {
        let each = outcome_words(&told.outcomes);
        let none = each.is_empty();
        format!("done: {}", if none { "no records" } else { &each })
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
            starts: BTreeMap::from([(0, 0), (1, 0)]),
            ends: BTreeMap::from([(0, 7), (1, 8)]),
            is_of_all: true,
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
