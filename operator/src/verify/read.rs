//! The first reading: the documents of a collection, range by range, several at once.

use super::{
    board::Counts,
    case::{self, RootKey},
    compare,
    difference::State,
    job::Job,
    resume::Progress,
    source::Range,
    suspects::{MOST, Matter, Suspect},
    target::Target,
};
use bson::RawDocumentBuf;
use futures_util::TryStreamExt as _;
use leafcutter_runtime::report::Failure;
use mongodb::Cursor;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Documents compared at once.
const BATCH: usize = 500;
/// Bytes of documents compared at once, at most.
const BATCH_BYTES: usize = 4 << 20;

/// Which documents are read.
#[derive(Debug, Clone)]
pub enum Which {
    /// All of them, in these ranges.
    All(Vec<Range>),
    /// So many at random.
    Sample(u32),
    /// Those with a date from this one on.
    Since(bson::DateTime),
}

/// Where keys go that were seen.
type Keys = Option<mpsc::Sender<Vec<RootKey>>>;

/// Reads and compares; gives back when all was read, or when asked to stop.
///
/// # Errors
/// When a server refuses or is lost.
pub async fn read(
    job: &Arc<Job>,
    work: usize,
    which: Which,
    jobs: u16,
    (keys, progress): (Keys, &Arc<Progress>),
) -> Result<(), Failure> {
    let ranges = match which {
        Which::All(ranges) => ranges,
        Which::Sample(size) => {
            let cursor = job.source.sample(&job.works[work], size).await?;
            return Box::pin(Reader::open(job, work, keys).await?.all(cursor, false))
                .await
                .map(drop);
        }
        Which::Since(date) => {
            let cursor = job.source.since(&job.works[work], date).await?;
            return Box::pin(Reader::open(job, work, keys).await?.all(cursor, false))
                .await
                .map(drop);
        }
    };
    let ranges = Arc::new(ranges);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..usize::from(jobs).min(ranges.len()) {
        let (job, ranges, next) = (Arc::clone(job), Arc::clone(&ranges), Arc::clone(&next));
        let (keys, progress) = (keys.clone(), Arc::clone(progress));
        tasks.spawn(async move {
            let mut reader = Reader::open(&job, work, keys).await?;
            while let Some(number) = next_range(&next, &ranges) {
                let name = job.works[work].full_name();
                let earlier = progress.counted(&name, number);
                let cursor = job.source.read(&job.works[work], &ranges[number]).await?;
                let known = earlier.is_some();
                let Some((counts, again)) = reader.all(cursor, known).await? else {
                    return Ok(());
                };
                match earlier {
                    Some(earlier) => job.board.count(work, |all| all.add(&earlier)),
                    None => progress.done(&name, number, counts, &again)?,
                }
            }
            Ok::<(), Failure>(())
        });
    }
    drop(keys);
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok(result) => result?,
            Err(error) => return Err(bug(&error)),
        }
    }
    Ok(())
}

fn next_range(next: &AtomicUsize, ranges: &[Range]) -> Option<usize> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    (number < ranges.len()).then_some(number)
}

/// A task ended in a way that no code of ours provides for.
pub fn bug(error: &tokio::task::JoinError) -> Failure {
    use leafcutter_runtime::{exit::Exit, report::Fault};
    let fault = Fault::new(
        "could not go on verifying",
        "this program",
        error.to_string(),
        "Please report this.",
    );
    Failure::one(Exit::Bug, fault)
}

/// What was counted, and which documents are in doubt.
type Counted = (Counts, Vec<RawDocumentBuf>);

/// Reads one range after the other.
struct Reader {
    job: Arc<Job>,
    work: usize,
    target: Target,
    keys: Keys,
}

impl Reader {
    async fn open(job: &Arc<Job>, work: usize, keys: Keys) -> Result<Self, Failure> {
        let target = Target::open(&job.config)
            .await
            .map_err(|error| job.unreachable(&error))?;
        Ok(Self {
            job: Arc::clone(job),
            work,
            target,
            keys,
        })
    }

    /// Reads a cursor to its end; with `known` its documents were compared before, and only the keys of
    /// their rows are wanted. Gives what was counted and which documents are in doubt; nothing where it
    /// was stopped before the end.
    async fn all(
        &mut self,
        mut cursor: Cursor<RawDocumentBuf>,
        known: bool,
    ) -> Result<Option<Counted>, Failure> {
        let mut counted = Counted::default();
        loop {
            let began = Instant::now();
            let mut documents = Vec::with_capacity(BATCH);
            let mut bytes = 0;
            while documents.len() < BATCH && bytes < BATCH_BYTES {
                let next = cursor.try_next().await;
                match next.map_err(|error| self.job.source.failed(&error))? {
                    Some(document) => {
                        bytes += document.as_bytes().len();
                        documents.push(document);
                    }
                    None => break,
                }
            }
            if documents.is_empty() {
                return Ok(Some(counted));
            }
            let took = began.elapsed();
            if known {
                self.keys_only(&documents).await?;
            } else {
                self.batch(&documents, &mut counted).await?;
            }
            self.job.pace.wait(documents.len(), took).await;
            while self.job.suspects.len() > MOST && !self.job.shutdown.is_triggered() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            if self.job.shutdown.is_triggered() {
                return Ok(None);
            }
        }
    }

    async fn batch(
        &mut self,
        documents: &[RawDocumentBuf],
        counted: &mut Counted,
    ) -> Result<(), Failure> {
        let job = Arc::clone(&self.job);
        let compared = compare::compare(&mut self.target, &job.works[self.work], documents).await;
        let compared =
            compared.map_err(|error| job.refused("could not compare documents", &error))?;
        let mut counts = Counts {
            documents: u64::try_from(documents.len()).unwrap_or(0),
            ..Counts::default()
        };
        let (mut keys, mut suspects) = (Vec::new(), Vec::new());
        for (document, found) in documents.iter().zip(compared) {
            keys.extend(found.seen);
            match (&found.state, case::id_of(document)) {
                (State::Differs(_), Some(id)) => {
                    counted.1.push(id.clone());
                    suspects.push(Suspect::new(self.work, Matter::Document(id)));
                }
                (state, _) => counts.take(state, (found.rows, found.children)),
            }
        }
        job.board.count(self.work, |all| all.add(&counts));
        counted.0.add(&counts);
        job.suspects.add(suspects);
        self.tell(keys).await;
        Ok(())
    }

    async fn keys_only(&mut self, documents: &[RawDocumentBuf]) -> Result<(), Failure> {
        if self.keys.is_some() {
            let job = Arc::clone(&self.job);
            let keys = compare::keys(&mut self.target, &job.works[self.work], documents).await;
            let keys = keys.map_err(|error| job.refused("could not note keys", &error))?;
            self.tell(keys).await;
        }
        Ok(())
    }

    async fn tell(&self, found: Vec<RootKey>) {
        if let Some(keys) = &self.keys {
            // Whoever takes them tells by itself why it does not any more.
            keys.send(found).await.unwrap_or_default();
        }
    }
}
