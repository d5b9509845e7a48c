//! The programs of one migration: a producer and its consumers, started, killed and started again.
//!
//! One that is started again keeps its name and goes on in its log. Who watches the migration and
//! who kills parts of it share the fleet, so nothing here needs it for oneself.

use crate::{
    failure::{Attempt, Failure, Result},
    probe,
    program::Program,
    world::Place,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a program may take to do its work again. A consumer waits until the group has given up
/// the one that was killed.
const WORKS_AGAIN: Duration = Duration::from_secs(60);

/// How many records consumers began to write, and of how many they know what became of them.
const BEGUN: &str = "leafcutter_records_begun_total";
const ENDED: &str = "leafcutter_records_ended_total";

/// The producer's name.
pub const PRODUCER: &str = "producer";

/// The programs of one migration.
#[derive(Debug)]
pub struct Fleet {
    place: Place,
    group: String,
    programs: Mutex<Programs>,
}

#[derive(Debug, Default)]
struct Programs {
    running: Vec<Program>,
    /// What producers are told beside where everything is.
    producer_is_told: Vec<String>,
    /// What one of them is told beside that, by its name.
    told: BTreeMap<String, Vec<String>>,
    /// The most memory of each name, in KiB.
    peaks: BTreeMap<String, u64>,
    /// Records that consumers had begun to write when they were seen last.
    begun: u64,
    /// Those of them that they had not ended.
    unfinished: u64,
    consumers: u32,
}

impl Fleet {
    /// No program yet.
    pub fn new(place: &Place, group: &str, producer_is_told: &[&str]) -> Self {
        let fleet = Self {
            place: place.clone(),
            group: group.to_owned(),
            programs: Mutex::default(),
        };
        fleet.tell_producers(producer_is_told);
        fleet
    }

    /// Further arguments for producers that are started from now on.
    pub fn tell_producers(&self, arguments: &[&str]) {
        self.programs().producer_is_told = arguments.iter().map(|&s| s.to_owned()).collect();
    }

    /// Further arguments for the program of this name, whenever it is started.
    pub fn tell(&self, name: &str, arguments: &[&str]) {
        let arguments = arguments.iter().map(|&s| s.to_owned()).collect();
        self.programs().told.insert(name.to_owned(), arguments);
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the first producer and waits until it has made the topics, without which no consumer
    /// starts.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn first_producer(&self) -> Result<()> {
        self.forget(PRODUCER)?;
        let mut producer = self.make(PRODUCER)?;
        self.place.until_topics(&mut producer).await?;
        self.programs().running.push(producer);
        Ok(())
    }

    /// Starts one more consumer, and gives its name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn consumer(&self) -> Result<String> {
        let number = {
            let mut programs = self.programs();
            programs.consumers += 1;
            programs.consumers
        };
        let name = consumer_name(number);
        self.forget(&name)?;
        self.start(&name)?;
        Ok(name)
    }

    /// Starts a program by its name, for the first time or again. A second one of the same name is
    /// another process beside the first.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str) -> Result<()> {
        let program = self.make(name)?;
        self.programs().running.push(program);
        Ok(())
    }

    /// A log that is there from another migration is none of ours.
    fn forget(&self, name: &str) -> Result<()> {
        let log = self.place.log(name);
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).attempt(&format!("remove {}", log.display()))
            }
            _ => Ok(()),
        }
    }

    fn make(&self, name: &str) -> Result<Program> {
        let own = self.programs().told.get(name).cloned().unwrap_or_default();
        let all = match name.starts_with(PRODUCER) {
            true => self.programs().producer_is_told.clone(),
            false => Vec::new(),
        };
        let told: Vec<_> = all.iter().chain(&own).map(String::as_str).collect();
        if name.starts_with(PRODUCER) {
            self.place.producer(name, &told)
        } else {
            self.place.consumer(name, &self.group, &told)
        }
    }

    fn take(&self, name: &str) -> Result<Program> {
        let mut programs = self.programs();
        let position = programs.running.iter().position(|p| p.name == name);
        let position = position.ok_or_else(|| Failure::new(format!("no program `{name}` runs")))?;
        let mut program = programs.running.remove(position);
        let peak = program.peak_kib();
        programs.note(name, peak);
        // Its counters go with it.
        if let Some((begun, ended)) = written(&program) {
            programs.begun += begun;
            programs.unfinished += begun.saturating_sub(ended);
        }
        Ok(program)
    }

    /// Kills a program, as the kernel would.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, name: &str) -> Result<()> {
        self.take(name)?.kill().map(|_| ())
    }

    /// Sends a signal to a program.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, name: &str, signal: &str) -> Result<()> {
        let programs = self.programs();
        let program = programs.running.iter().find(|p| p.name == name);
        let program = program.ok_or_else(|| Failure::new(format!("no program `{name}` runs")))?;
        program.signal(signal)
    }

    /// Asks a program to end (SIGTERM), and waits for it.
    ///
    /// # Errors
    /// When it takes too long or does not end with 0.
    pub async fn stop(&self, name: &str, deadline: Duration) -> Result<()> {
        self.take(name)?.stop(deadline).await
    }

    /// Asks a program to end (SIGTERM); gives its exit code.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn end(&self, name: &str, deadline: Duration) -> Result<Option<i32>> {
        self.take(name)?.end(deadline).await
    }

    /// Asks a program to end, and again while it drains; gives its exit code.
    ///
    /// # Errors
    /// When it ends before it is asked again, or takes too long.
    pub async fn force(&self, name: &str, deadline: Duration) -> Result<Option<i32>> {
        self.take(name)?.force(deadline).await
    }

    /// Asks all consumers to end, one after the other.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn stop_consumers(&self, deadline: Duration) -> Result<()> {
        for name in self
            .names()
            .into_iter()
            .filter(|n| !n.starts_with(PRODUCER))
        {
            self.stop(&name, deadline).await?;
        }
        Ok(())
    }

    /// Asks all programs to end.
    ///
    /// # Errors
    /// As [`Self::stop`].
    pub async fn stop_all(&self, deadline: Duration) -> Result<()> {
        for name in self.names() {
            self.stop(&name, deadline).await?;
        }
        Ok(())
    }

    /// The programs that run.
    pub fn names(&self) -> Vec<String> {
        let programs = self.programs();
        programs.running.iter().map(|p| p.name.clone()).collect()
    }

    /// Makes sure that every program still runs.
    ///
    /// # Errors
    /// When one ended by itself, with the end of its log.
    pub fn check(&self) -> Result<()> {
        self.programs()
            .running
            .iter_mut()
            .try_for_each(Program::check)
    }

    /// Waits until a program that was started again does its work: the producer has opened its
    /// stream, the consumer has partitions.
    ///
    /// # Errors
    /// When it ends, or does not come to that.
    pub async fn until_works(&self, name: &str) -> Result<()> {
        probe::until(WORKS_AGAIN, &format!("{name} to work"), async || {
            self.check()?;
            let programs = self.programs();
            let program = programs.running.iter().find(|p| p.name == name);
            Ok(program.is_some_and(works).then_some(()))
        })
        .await
    }

    /// Waits until `/readyz` of a program has this status and says this; it is alive meanwhile.
    ///
    /// # Errors
    /// When it ends, or does not come to that.
    pub async fn until_ready_says(&self, name: &str, status: u16, words: &str) -> Result<()> {
        let what = format!("{name} to say `{words}`");
        let mut last = None;
        let said = probe::until(WORKS_AGAIN, &what, async || {
            self.check()?;
            let programs = self.programs();
            let program = programs.running.iter().find(|p| p.name == name);
            last = program.and_then(|program| program.page("/readyz"));
            let alive = program.and_then(|program| program.page("/healthz"));
            if let Some((found, text)) = alive.filter(|(found, _)| *found != 200) {
                return Err(Failure::new(format!("{name} is not alive: {found} {text}")));
            }
            let fits = |(found, text): &(u16, String)| *found == status && text.contains(words);
            Ok(last.as_ref().is_some_and(fits).then_some(()))
        });
        said.await.attempt(&format!("wait; the last was {last:?}"))
    }

    /// What a consumer calls itself.
    ///
    /// # Errors
    /// When it does not run, or has not said it.
    pub fn consumer_id(&self, name: &str) -> Result<String> {
        let events = self.events(name)?;
        let id = events
            .iter()
            .find_map(|event| event.get("consumer")?.as_str());
        let id = id.map(str::to_owned);
        id.ok_or_else(|| Failure::new(format!("{name} does not say who it is")))
    }

    /// How often a program has logged this since it was started.
    ///
    /// # Errors
    /// When it does not run.
    pub fn count(&self, name: &str, message: &str) -> Result<usize> {
        let is_it = |event: &&Value| event.get("message").is_some_and(|said| said == message);
        Ok(self.events(name)?.iter().filter(is_it).count())
    }

    /// How often a text is in a program's log.
    ///
    /// # Errors
    /// When it does not run.
    pub fn says(&self, name: &str, text: &str) -> Result<usize> {
        let programs = self.programs();
        let program = programs.running.iter().find(|p| p.name == name);
        let program = program.ok_or_else(|| Failure::new(format!("no program `{name}` runs")))?;
        Ok(program.says(text))
    }

    fn events(&self, name: &str) -> Result<Vec<Value>> {
        let programs = self.programs();
        let program = programs.running.iter().find(|p| p.name == name);
        let program = program.ok_or_else(|| Failure::new(format!("no program `{name}` runs")))?;
        Ok(program.events())
    }

    /// Each program's name and the most memory it had, in KiB, over all its lives.
    pub fn peaks(&self) -> Vec<(String, u64)> {
        let mut programs = self.programs();
        let now: Vec<_> = programs
            .running
            .iter_mut()
            .map(|p| (p.name.clone(), p.peak_kib()))
            .collect();
        for (name, peak) in now {
            programs.note(&name, peak);
        }
        let mut peaks: Vec<_> = programs.peaks.clone().into_iter().collect();
        peaks.sort_by_key(|(name, _)| (!name.starts_with(PRODUCER), name.clone()));
        peaks
    }

    /// Records that consumers had begun to write, and of which they did not learn that they were
    /// committed, up to a moment before each was killed or asked to end. One that is frozen when it
    /// is killed tells nothing.
    ///
    /// # Errors
    /// When no consumer has counted anything.
    pub fn unfinished(&self) -> Result<u64> {
        let programs = self.programs();
        if programs.consumers > 0 && programs.begun == 0 {
            return Err(Failure::new(format!("no consumer has counted `{BEGUN}`")));
        }
        Ok(programs.unfinished)
    }

    /// The failure, with the ends of all logs.
    pub fn with_logs(&self, failure: &Failure) -> Failure {
        let programs = self.programs();
        let logs = programs.running.iter();
        let logs = logs.map(|p| format!("\n{}:\n{}", p.name, p.tail()));
        Failure::new(format!("{failure}{}", logs.collect::<String>()))
    }
}

impl Programs {
    fn note(&mut self, name: &str, peak: u64) {
        let most = self.peaks.entry(name.to_owned()).or_default();
        *most = peak.max(*most);
    }
}

/// What the consumer of that number is called.
pub fn consumer_name(number: u32) -> String {
    format!("consumer-{number}")
}

/// The records that a consumer began to write, and those of whose transaction it knows the end.
fn written(program: &Program) -> Option<(u64, u64)> {
    if program.name.starts_with(PRODUCER) {
        return None;
    }
    // In this order: a batch that ends in between is not taken for one that was cut off.
    let begun = program.counter(BEGUN)?;
    Some((begun, program.counter(ENDED)?))
}

fn works(program: &Program) -> bool {
    program.events().iter().any(|event| {
        let message = event.get("message").and_then(|message| message.as_str());
        let partitions = event.get("partitions").and_then(Value::as_u64);
        if program.name.starts_with(PRODUCER) {
            message == Some("started")
        } else {
            message == Some("assigned") && partitions > Some(0)
        }
    })
}
