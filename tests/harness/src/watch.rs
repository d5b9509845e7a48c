//! How far a migration is, as anybody can see it from outside: the control topic and
//! `leafcutter.offsets`.
//!
//! A [`Watch`] reads the control topic on a thread of its own and asks PostgreSQL when it is
//! looked at. While one of them is away it goes on with what it saw last. It knows when everything
//! is applied: a heartbeat at or after the last write, every partition past its offsets, nobody
//! waiting for a parent, and nothing left to be settled, which is asked of PostgreSQL in the words of
//! whoever knows the tables.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
    stack::Stack,
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
    time::{Duration, Instant, SystemTime},
};
use tokio_postgres::{Client, error::SqlState};

/// How long one look into the control topic waits for a record.
const POLL: Duration = Duration::from_millis(100);
/// After so long without a heartbeat the topic is read anew.
const SILENT: Duration = Duration::from_secs(60);

/// What the control topic says so far.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The newest heartbeat of each producer.
    pub heartbeats: BTreeMap<String, Heartbeat>,
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
    /// PostgreSQL does not answer: what is seen of it is old.
    pub is_stale: bool,
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
            .heartbeats
            .values()
            .find_map(|h| h.offsets.get(topic));
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

    /// Whether everything up to the newest heartbeats is applied.
    pub fn has_caught_up(&self) -> bool {
        let heartbeats = &self.said.heartbeats;
        let mut offsets = heartbeats.values().flat_map(|h| &h.offsets);
        !heartbeats.is_empty() && offsets.all(|(topic, offsets)| self.is_past(topic, offsets))
    }

    /// What is not applied yet of everything up to a cluster time; nothing when all is.
    pub fn missing(&self, until: Version) -> Option<String> {
        if self.is_stale {
            return Some("PostgreSQL to answer".to_owned());
        }
        if self.said.heartbeats.is_empty() {
            return Some("the producer's first heartbeat".to_owned());
        }
        for (producer, heartbeat) in &self.said.heartbeats {
            if heartbeat.time < until {
                let behind = until.seconds() - heartbeat.time.seconds();
                return Some(format!(
                    "a heartbeat of {producer} after the last write ({behind} s to go)"
                ));
            }
        }
        for (topic, offsets) in self.said.heartbeats.values().flat_map(|h| &h.offsets) {
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
    stack: Stack,
    eye: tokio::sync::Mutex<Eye>,
    group: String,
}

/// The session of a watch, and what it saw last.
#[derive(Default)]
struct Eye {
    client: Option<Client>,
    last: Seen,
}

impl Eye {
    fn stale(&self) -> Seen {
        Seen {
            is_stale: true,
            ..self.last.clone()
        }
    }

    fn lost(&mut self) -> Seen {
        self.client = None;
        self.stale()
    }
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
        let client = Some(place.stack.postgres().await?);
        Ok(Self {
            said,
            end,
            stack: place.stack.clone(),
            eye: tokio::sync::Mutex::new(Eye {
                client,
                last: Seen::default(),
            }),
            group: group.to_owned(),
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When PostgreSQL refuses to tell; not when it is away.
    pub async fn look(&self) -> Result<Seen> {
        let mut eye = self.eye.lock().await;
        let seen = match self.client(&mut eye).await {
            None => eye.stale(),
            Some(client) => match self.ask(client).await {
                Ok(seen) => seen,
                Err(error) if is_away(&error) => eye.lost(),
                Err(error) => return Err(error).attempt("look into PostgreSQL"),
            },
        };
        eye.last = seen.clone();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Seen {
            said: said.clone(),
            ..seen
        })
    }

    /// The session, or a new one; none while PostgreSQL is away.
    async fn client<'a>(&self, eye: &'a mut Eye) -> Option<&'a Client> {
        if eye.client.as_ref().is_none_or(Client::is_closed) {
            eye.client = self.stack.postgres().await.ok();
        }
        eye.client.as_ref()
    }

    /// What PostgreSQL says.
    async fn ask(&self, client: &Client) -> Result<Seen, tokio_postgres::Error> {
        let mut seen = Seen::default();
        let there = "select to_regclass('leafcutter.consumers') is not null";
        if !client.query_one(there, &[]).await?.get::<_, bool>(0) {
            return Ok(seen);
        }
        let offsets = "select topic, partition, next_offset from leafcutter.offsets where consumer_group = $1";
        for row in client.query(offsets, &[&self.group]).await? {
            seen.next
                .entry(row.get(0))
                .or_default()
                .insert(row.get(1), row.get(2));
        }
        let counts = "select (select count(*) from leafcutter.parked where state = 'waiting' and consumer_group = $1), \
                      (select count(*) from leafcutter.dead_letters where state = 'open' and consumer_group = $1)";
        let counts = client.query_one(counts, &[&self.group]).await?;
        (seen.waiting, seen.dead_letters) = (counts.get(0), counts.get(1));
        Ok(seen)
    }

    /// What the settling task will still change, counted by a query whose `$1` is since when
    /// everything is applied. Nothing while PostgreSQL is away.
    ///
    /// # Errors
    /// When PostgreSQL refuses to tell.
    async fn unsettled(&self, query: &str, applied: SystemTime) -> Result<Option<i64>> {
        let mut eye = self.eye.lock().await;
        let Some(client) = self.client(&mut eye).await else {
            return Ok(None);
        };
        match client.query_one(query, &[&applied]).await {
            Ok(row) => Ok(Some(row.get(0))),
            Err(error) if is_away(&error) => {
                eye.lost();
                Ok(None)
            }
            Err(error) => Err(error).attempt("look for what is to be settled"),
        }
    }

    /// Waits until everything written up to `last_write` is applied, but for what the settling task
    /// will still change. `show` sees every look.
    ///
    /// # Errors
    /// When the deadline passes: the text says what is still missing.
    pub async fn until_applied(
        &self,
        last_write: Timestamp,
        deadline: Duration,
        show: impl FnMut(&Seen) -> Result<()>,
    ) -> Result<()> {
        self.until(last_write, deadline, None, show).await
    }

    /// The same, and until nothing is left to be settled: `unsettled` is the query that counts it
    /// from `$1` on, the time since when everything is applied.
    ///
    /// # Errors
    /// As [`Self::until_applied`].
    pub async fn until_settled(
        &self,
        last_write: Timestamp,
        deadline: Duration,
        unsettled: &str,
        show: impl FnMut(&Seen) -> Result<()>,
    ) -> Result<()> {
        let unsettled = Some(unsettled);
        self.until(last_write, deadline, unsettled, show).await
    }

    async fn until(
        &self,
        last_write: Timestamp,
        deadline: Duration,
        unsettled: Option<&str>,
        mut show: impl FnMut(&Seen) -> Result<()>,
    ) -> Result<()> {
        let until = Version::from_cluster_time(last_write);
        let mut missing = String::new();
        let mut applied = None;
        let waited = probe::until(deadline, "everything to be applied", async || {
            let seen = self.look().await?;
            show(&seen)?;
            if let Some(what) = seen.missing(until) {
                missing = what;
                return Ok(None);
            }
            let Some(query) = unsettled else {
                return Ok(Some(()));
            };
            let applied = *applied.get_or_insert_with(SystemTime::now);
            let left = self.unsettled(query, applied).await?;
            missing = left.map_or_else(
                || "PostgreSQL to answer".to_owned(),
                |rows| format!("{rows} rows to be settled"),
            );
            Ok((left == Some(0)).then_some(()))
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

/// Whether an error says that the server went away, not that it refuses.
fn is_away(error: &tokio_postgres::Error) -> bool {
    let going = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ];
    let cut = |error: &tokio_postgres::Error| {
        std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
    };
    error.is_closed() || cut(error) || error.code().is_some_and(|code| going.contains(code))
}

fn listen(kafka: &KafkaSettings, topic: &str, said: &Mutex<Said>, end: &AtomicBool) {
    let mut reader = None;
    let mut heard = Instant::now();
    while !end.load(Ordering::Relaxed) {
        let Some(open) = &mut reader else {
            reader = CompactedReader::open(kafka, topic).ok();
            std::thread::sleep(POLL);
            continue;
        };
        let Some((key, Some(value))) = open.poll(POLL) else {
            // The client may have lost its brokers for good (librdkafka issue 5301).
            if heard.elapsed() > SILENT {
                reader = None;
                heard = Instant::now();
            }
            continue;
        };
        heard = Instant::now();
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        match Control::read(&key, &value) {
            Ok(Control::Heartbeat(heartbeat)) => {
                said.heartbeats
                    .insert(heartbeat.producer.clone(), heartbeat);
            }
            Ok(Control::SnapshotComplete(complete)) => {
                said.complete.insert(complete.topic.clone(), complete);
            }
            // Of no concern here: the comparison finds what a broken record leads to.
            Err(_) => {}
        }
    }
}
