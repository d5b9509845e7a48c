//! What the demo shows while it runs: a bar per collection on a terminal, else a line every few
//! seconds.

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use leafcutter_finlit::{Collection, FinLit, expected::tables::table};
use leafcutter_harness::{failure::Result, fault::course::Struck, watch::Seen, world::Place};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The time over which the rate is taken.
const RATE_OVER: Duration = Duration::from_secs(2);

/// One line on standard output.
///
/// # Errors
/// When nobody listens any more.
pub fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

/// A number with commas: `12,345`.
pub fn number(n: u64) -> String {
    HumanCount(n).to_string()
}

/// Filling MongoDB.
pub struct Loading {
    bar: ProgressBar,
}

impl Loading {
    /// Begins.
    pub fn new(documents: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style = "   {bar:40.green} {human_pos} of {human_len} documents";
            ProgressBar::new(documents).with_style(style_of(style))
        } else {
            ProgressBar::hidden()
        };
        Self { bar }
    }

    /// So many are there.
    pub fn at(&self, documents: u64) {
        self.bar.set_position(documents);
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The migration as it goes.
pub struct Screen {
    bars: Option<Bars>,
    topics: BTreeMap<Collection, String>,
    start: Instant,
    last_line: Instant,
    /// When how many records were applied.
    history: VecDeque<(Instant, u64)>,
    /// When the producer said what is applied by now: milliseconds since 1970.
    as_of: i64,
    /// Kills that were told of.
    told: usize,
    /// Who is down.
    down: Option<String>,
}

struct Bars {
    all: MultiProgress,
    collections: BTreeMap<Collection, ProgressBar>,
    bottom: ProgressBar,
}

impl Screen {
    /// Begins. Seconds are counted from `start`.
    ///
    /// # Errors
    /// When a topic has no name.
    pub fn new(place: &Place, finlit: &FinLit, start: Instant) -> Result<Self> {
        let mut topics = BTreeMap::new();
        for collection in Collection::ALL {
            topics.insert(collection, place.topic(collection.name())?);
        }
        let bars = std::io::stderr().is_terminal().then(|| Bars::new(finlit));
        let now = Instant::now();
        let history = VecDeque::from([(now, 0)]);
        Ok(Self {
            bars,
            topics,
            start,
            last_line: now,
            history,
            as_of: 0,
            told: 0,
            down: None,
        })
    }

    /// Shows what there is to see.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn show(&mut self, seen: &Seen) -> Result<()> {
        let now = Instant::now();
        let applied: u64 = self.topics.values().map(|topic| seen.applied(topic)).sum();
        let announced: u64 = self
            .topics
            .values()
            .map(|topic| seen.announced(topic))
            .sum();
        self.history.push_back((now, applied));
        while self.history.len() > 2
            && self
                .history
                .front()
                .is_some_and(|(at, _)| now - *at > RATE_OVER)
        {
            self.history.pop_front();
        }
        let line = self.line(seen, now, applied, announced);
        match &self.bars {
            Some(bars) => {
                for (collection, topic) in &self.topics {
                    bars.show(*collection, topic, seen);
                }
                bars.bottom.set_message(line);
                bars.bottom.tick();
            }
            None if now - self.last_line >= LINE_EVERY => {
                self.last_line = now;
                say(&format!("   {line}"))?;
            }
            None => {}
        }
        Ok(())
    }

    /// Tells who was killed and is back, once each.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn show_kills(&mut self, struck: &[Struck]) -> Result<()> {
        self.down = struck
            .last()
            .filter(|last| last.down.is_none())
            .map(|last| last.victim.to_string());
        for one in struck.iter().skip(self.told) {
            if one.down.is_none() {
                break;
            }
            self.told += 1;
            let line = format!("   {one}");
            match &self.bars {
                Some(bars) => bars.all.println(line)?,
                None => say(&line)?,
            }
        }
        Ok(())
    }

    fn line(&mut self, seen: &Seen, now: Instant, applied: u64, announced: u64) -> String {
        let mut line = format!(
            "{:>3} s  {} records",
            (now - self.start).as_secs(),
            number(applied)
        );
        if let Some((at, before)) = self.history.front() {
            let millis = u64::try_from((now - *at).as_millis()).unwrap_or(0).max(1);
            line += &format!(
                ", {}/s",
                number((applied - before.min(&applied)) * 1000 / millis)
            );
        }
        if let Some(down) = &self.down {
            return format!("{line}, {down} is down");
        }
        if let Some(heartbeat) = seen
            .said
            .heartbeats
            .values()
            .next()
            .filter(|_| seen.has_caught_up())
        {
            self.as_of = heartbeat.sent_at;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_millis());
        let now = i64::try_from(now).unwrap_or(0);
        if self.as_of > 0 {
            line += &format!(", {} s behind", (now - self.as_of).max(0) / 1000);
        } else {
            line += &format!(", {} to go", number(announced.saturating_sub(applied)));
        }
        line += &format!(", {} waiting", seen.waiting);
        line + &format!(", {} dead letters", seen.dead_letters)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            // The screen may be gone already.
            drop(bars.all.clear());
        }
    }
}

fn style_of(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

impl Bars {
    fn new(finlit: &FinLit) -> Self {
        let all = MultiProgress::new();
        let style = style_of("   {prefix:<21}{bar:20.green} {human_pos:>7}/{human_len:<7} {msg}");
        let collections = Collection::ALL
            .into_iter()
            .map(|collection| {
                let bar = ProgressBar::new(finlit.count(collection).into());
                let bar = all.add(bar.with_style(style.clone()).with_prefix(collection.name()));
                (collection, bar)
            })
            .collect();
        let bottom = all.add(ProgressBar::new_spinner().with_style(style_of("   {msg}")));
        Self {
            all,
            collections,
            bottom,
        }
    }

    fn show(&self, collection: Collection, topic: &str, seen: &Seen) {
        let Some(bar) = self.collections.get(&collection) else {
            return;
        };
        let announced = seen.announced(topic).max(bar.length().unwrap_or(0));
        bar.set_length(announced);
        bar.set_position(seen.applied(topic).min(announced));
        let has_parents = table(collection)
            .references()
            .any(|(_, to)| to.collection != collection);
        bar.set_message(match seen.said.complete.get(topic) {
            _ if has_parents && announced > 0 && seen.applied(topic) == 0 => "waits for parents",
            Some(_) if seen.is_snapshot_applied(topic) => "follows",
            _ => "",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_commas() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(number(n), text);
        }
    }
}
