//! The kills, while the migration goes on and somebody watches.

use super::plan::{Blow, Plan, Victim};
use crate::{
    failure::{Attempt, Result},
    fleet::{Fleet, PRODUCER, consumer_name},
    probe,
    servers::Servers,
    watch::{Seen, Watch},
    world::Place,
};
use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

/// How long it may take until records are applied, at the start and after a kill.
const GOES_ON: Duration = Duration::from_secs(90);

/// How far the migration was at a moment, as far as could be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Records that were applied.
    pub applied: u64,
    /// Collections that the producer had read once.
    pub read: usize,
    /// Collections whose snapshot was applied.
    pub done: usize,
}

/// One kill that was done.
#[derive(Debug, Clone)]
pub struct Struck {
    /// Who.
    pub victim: Victim,
    /// When, from the start.
    pub at: Duration,
    /// How long until it did its work again; nothing while it does not.
    pub down: Option<Duration>,
    /// How far the migration was then.
    pub mark: Mark,
}

/// The kills of one migration, done and to come.
pub struct Course<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// Where.
    pub place: &'a Place,
    /// The programs.
    pub fleet: &'a Fleet,
    /// The servers.
    pub servers: &'a Servers,
    /// Who sees how far the migration is.
    pub watch: &'a Watch,
    /// From when moments are counted.
    pub start: Instant,
    /// What was done so far.
    pub struck: RefCell<Vec<Struck>>,
}

impl Course<'_> {
    /// Kills one after the other; each is back, and records are applied, before the next one goes.
    ///
    /// # Errors
    /// When one does not come back.
    pub async fn run(&self) -> Result<()> {
        for blow in &self.plan.blows {
            self.until_it_goes_on().await?;
            // No condition is waited for here: that it happens at any moment is the point.
            tokio::time::sleep(blow.pause).await;
            self.strike(blow).await?;
        }
        Ok(())
    }

    /// Waits until more is applied than when the last one was killed.
    async fn until_it_goes_on(&self) -> Result<()> {
        let before = self
            .struck
            .borrow()
            .last()
            .map_or(0, |one| one.mark.applied);
        probe::until(GOES_ON, "records to be applied", async || {
            self.fleet.check()?;
            Ok((self.mark(&self.watch.look().await?)?.applied > before).then_some(()))
        })
        .await
    }

    /// Whether all of it is done.
    pub fn is_over(&self) -> bool {
        let struck = self.struck.borrow();
        struck.len() == self.plan.blows.len() && struck.iter().all(|one| one.down.is_some())
    }

    /// Who is dead at the moment.
    pub fn dead(&self) -> Option<Victim> {
        let struck = self.struck.borrow();
        let last = struck.last().filter(|one| one.down.is_none());
        last.map(|one| one.victim)
    }

    async fn strike(&self, blow: &Blow) -> Result<()> {
        let victim = blow.victim;
        let mark = self.mark(&self.watch.look().await?)?;
        match victim {
            Victim::Producer => self.fleet.kill(PRODUCER)?,
            Victim::Consumer(number) => self.fleet.kill(&consumer_name(number))?,
            Victim::Server(server) => self.servers.kill(server).await?,
        }
        let killed = Instant::now();
        self.struck.borrow_mut().push(Struck {
            victim,
            at: killed - self.start,
            down: None,
            mark,
        });
        tokio::time::sleep(blow.outage).await;
        let back = match victim {
            Victim::Producer => self.program_back(PRODUCER).await,
            Victim::Consumer(number) => self.program_back(&consumer_name(number)).await,
            Victim::Server(server) => self.servers.start(server).await,
        };
        back.attempt(&format!("bring {victim} back"))?;
        if let Some(last) = self.struck.borrow_mut().last_mut() {
            last.down = Some(killed.elapsed());
        }
        Ok(())
    }

    async fn program_back(&self, name: &str) -> Result<()> {
        self.fleet.start(name)?;
        self.fleet.until_works(name).await
    }

    fn mark(&self, seen: &Seen) -> Result<Mark> {
        let mut mark = Mark {
            applied: 0,
            read: seen.said.complete.len(),
            done: 0,
        };
        for collection in &self.place.collections {
            let topic = self.place.topic(collection)?;
            mark.applied += seen.applied(&topic);
            mark.done += usize::from(seen.is_snapshot_applied(&topic));
        }
        Ok(mark)
    }
}
