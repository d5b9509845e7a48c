//! How far a migration is, as anybody can see it from outside: the control topic and
//! `leafcutter.offsets`.
//!
//! A [`Watch`] reads the control topic on a thread of its own and asks PostgreSQL when it is
//! looked at. It knows when everything is applied: a heartbeat at or after the last write, every
//! partition past its offsets, nobody waiting for a parent, and no row held that nothing points to.

use crate::{
    failure::{Attempt, Failure, Result},
    finlit::{Collection, expected::tables::table},
    probe,
    world::Place,
};
use bson::Timestamp;
use leafcutter_runtime::kafka::{CompactedReader, KafkaSettings};
use leafcutter_schemas::{
    control::{Control, Heartbeat, SnapshotComplete},
    version::Version,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long one look into the control topic waits for a record.
const POLL: Duration = Duration::from_millis(100);

/// What the control topic says so far.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The newest heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// By topic.
    pub complete: BTreeMap<String, SnapshotComplete>,
}

/// What there is to see at one moment.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What the producer says.
    pub said: Said,
    /// The next offset of each partition of each topic.
    pub next: BTreeMap<String, HashMap<i32, i64>>,
    /// Documents that wait for a parent or for a unique value.
    pub waiting: i64,
    /// Open dead letters.
    pub dead_letters: i64,
}

impl Seen {
    /// Records of a topic that are applied.
    pub fn applied(&self, topic: &str) -> u64 {
        let next: i64 = self
            .next
            .get(topic)
            .into_iter()
            .flatten()
            .map(|(_, next)| *next)
            .sum();
        u64::try_from(next).unwrap_or(0)
    }

    /// Records of a topic that the producer has announced.
    pub fn announced(&self, topic: &str) -> u64 {
        let offsets = self
            .said
            .heartbeat
            .as_ref()
            .and_then(|h| h.offsets.get(topic));
        let sum: i64 = offsets.into_iter().flatten().sum();
        u64::try_from(sum).unwrap_or(0)
    }

    /// Whether a topic is applied up to these offsets.
    pub fn is_past(&self, topic: &str, offsets: &[i64]) -> bool {
        let next = self.next.get(topic);
        (0..).zip(offsets).all(|(partition, end)| {
            *end == 0
                || next
                    .and_then(|n| n.get(&partition))
                    .is_some_and(|next| next >= end)
        })
    }

    /// Whether the whole snapshot of a topic is applied.
    pub fn is_snapshot_applied(&self, topic: &str) -> bool {
        self.said
            .complete
            .get(topic)
            .is_some_and(|c| self.is_past(topic, &c.offsets))
    }

    /// Whether everything up to the newest heartbeat is applied.
    pub fn has_caught_up(&self) -> bool {
        self.said.heartbeat.as_ref().is_some_and(|heartbeat| {
            heartbeat
                .offsets
                .iter()
                .all(|(topic, offsets)| self.is_past(topic, offsets))
        })
    }

    /// What is not applied yet of everything up to a cluster time; nothing when all is.
    pub fn missing(&self, until: Version) -> Option<String> {
        let Some(heartbeat) = &self.said.heartbeat else {
            return Some("the producer's first heartbeat".to_owned());
        };
        if heartbeat.time < until {
            let behind = until.seconds() - heartbeat.time.seconds();
            return Some(format!(
                "a heartbeat after the last write ({behind} s to go)"
            ));
        }
        for (topic, offsets) in &heartbeat.offsets {
            if !self.is_past(topic, offsets) {
                let left = self.announced(topic).saturating_sub(self.applied(topic));
                return Some(format!("{left} records of `{topic}`"));
            }
        }
        (self.waiting > 0).then(|| format!("{} documents to find what they wait for", self.waiting))
    }
}

/// An observer of one migration.
pub struct Watch {
    said: Arc<Mutex<Said>>,
    end: Arc<AtomicBool>,
    postgres: tokio_postgres::Client,
    group: String,
}

impl Watch {
    /// Begins to watch. The topic and the tables need not be there yet.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached.
    pub async fn new(place: &Place, group: &str) -> Result<Self> {
        let said = Arc::new(Mutex::new(Said::default()));
        let end = Arc::new(AtomicBool::new(false));
        let (kafka, topic) = (place.stack.kafka(), place.control_topic());
        let (to, until) = (Arc::clone(&said), Arc::clone(&end));
        // Ends with the watch, within one poll.
        drop(std::thread::spawn(move || {
            listen(&kafka, &topic, &to, &until);
        }));
        let postgres = place.stack.postgres().await?;
        Ok(Self {
            said,
            end,
            postgres,
            group: group.to_owned(),
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn look(&self) -> Result<Seen> {
        let said = self
            .said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut seen = Seen {
            said,
            ..Seen::default()
        };
        let there = "select to_regclass('leafcutter.consumers') is not null";
        if !self
            .postgres
            .query_one(there, &[])
            .await
            .attempt("look into PostgreSQL")?
            .get::<_, bool>(0)
        {
            return Ok(seen);
        }
        let offsets = "select topic, partition, next_offset from leafcutter.offsets where consumer_group = $1";
        for row in self
            .postgres
            .query(offsets, &[&self.group])
            .await
            .attempt("read the offsets")?
        {
            seen.next
                .entry(row.get(0))
                .or_default()
                .insert(row.get(1), row.get(2));
        }
        let counts = "select (select count(*) from leafcutter.parked where state = 'waiting' and consumer_group = $1), \
                      (select count(*) from leafcutter.dead_letters where state = 'open' and consumer_group = $1)";
        let counts = self
            .postgres
            .query_one(counts, &[&self.group])
            .await
            .attempt("count what waits")?;
        (seen.waiting, seen.dead_letters) = (counts.get(0), counts.get(1));
        Ok(seen)
    }

    /// Rows that are held though nothing points to them: the next thing to go.
    ///
    /// # Errors
    /// When PostgreSQL fails.
    pub async fn held_for_nothing(&self) -> Result<i64> {
        let mut sum = Vec::new();
        for parent in Collection::ALL {
            let mut nobody = String::new();
            for child in Collection::ALL.map(table) {
                for (column, to) in child.references().filter(|(_, to)| to.collection == parent) {
                    debug_assert_eq!(to.collection, parent);
                    nobody += &format!(
                        " and not exists (select 1 from \"{}\" c where c.\"{}\" = h.key and c.\"{}\" <> h.key)",
                        child.name,
                        column.name,
                        child.key()
                    );
                }
            }
            sum.push(format!(
                "(select count(*) from (select encode(row_key, 'hex')::uuid as key from leafcutter.held \
                 where table_name = '{}') h where true{nobody})",
                table(parent).name
            ));
        }
        let sql = format!("select {}", sum.join(" + "));
        Ok(self
            .postgres
            .query_one(&sql, &[])
            .await
            .attempt("look for held rows")?
            .get(0))
    }

    /// Waits until everything written up to `last_write` is applied and settled. `show` sees every
    /// look.
    ///
    /// # Errors
    /// When the deadline passes: the text says what is still missing.
    pub async fn until_applied(
        &self,
        last_write: Timestamp,
        deadline: Duration,
        mut show: impl FnMut(&Seen) -> Result<()>,
    ) -> Result<()> {
        let until = Version::from_cluster_time(last_write);
        let mut missing = String::new();
        let waited = probe::until(deadline, "everything to be applied", async || {
            let seen = self.look().await?;
            show(&seen)?;
            if let Some(what) = seen.missing(until) {
                missing = what;
                return Ok(None);
            }
            let held = self.held_for_nothing().await?;
            missing = format!("{held} held rows to go");
            Ok((held == 0).then_some(()))
        })
        .await;
        waited.map_err(|late| Failure::new(format!("{late}: {missing}")))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

fn listen(kafka: &KafkaSettings, topic: &str, said: &Mutex<Said>, end: &AtomicBool) {
    let mut reader = None;
    while !end.load(Ordering::Relaxed) {
        let Some(open) = &mut reader else {
            reader = CompactedReader::open(kafka, topic).ok();
            std::thread::sleep(POLL);
            continue;
        };
        let Some((key, Some(value))) = open.poll(POLL) else {
            continue;
        };
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        match Control::read(&key, &value) {
            Ok(Control::Heartbeat(heartbeat)) => said.heartbeat = Some(heartbeat),
            Ok(Control::SnapshotComplete(complete)) => {
                said.complete.insert(complete.topic.clone(), complete);
            }
            // Of no concern here: the comparison finds what a broken record leads to.
            Err(_) => {}
        }
    }
}
