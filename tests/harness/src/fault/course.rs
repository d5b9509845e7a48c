//! The faults, while the migration goes on and somebody watches.

use super::plan::{Blow, How, Plan, Victim};
use crate::{
    failure::{Attempt, Result},
    fleet::{Fleet, PRODUCER, consumer_name},
    probe,
    servers::{Server, Servers},
    watch::{Seen, Watch},
    world::Place,
};
use std::{
    cell::RefCell,
    fmt,
    time::{Duration, Instant},
};

/// How long it may take until records are applied, at the start and after a kill.
const GOES_ON: Duration = Duration::from_secs(90);

/// How long a program may take to end when it is asked to.
const STOP: Duration = Duration::from_secs(60);

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

/// One fault that was made.
#[derive(Debug, Clone)]
pub struct Struck {
    /// Who.
    pub victim: Victim,
    /// What was done to it.
    pub how: How,
    /// When, from the start.
    pub at: Duration,
    /// How long until it did its work again; nothing while it does not.
    pub down: Option<Duration>,
    /// How far the migration was then.
    pub mark: Mark,
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, how, victim) = (self.at.as_secs(), self.how.done(), self.victim);
        write!(f, "{at:>3} s  {how} {victim}")?;
        match self.down {
            Some(down) => write!(f, "; back after {:.1} s", down.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The faults of one migration, made and to come.
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
    /// Makes one fault after the other; all is well, and records are applied, before the next one.
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

    /// Waits until more is applied than before the last one.
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

    /// Who is away at the moment.
    pub fn dead(&self) -> Option<Victim> {
        let struck = self.struck.borrow();
        let last = struck.last().filter(|one| one.down.is_none());
        last.map(|one| one.victim)
    }

    async fn strike(&self, blow: &Blow) -> Result<()> {
        let Blow { victim, how, .. } = *blow;
        let mark = self.mark(&self.watch.look().await?)?;
        let begun = Instant::now();
        self.struck.borrow_mut().push(Struck {
            victim,
            how,
            at: begun - self.start,
            down: None,
            mark,
        });
        let hit = match victim {
            Victim::Producer => self.hit(PRODUCER, how).await,
            Victim::Consumer(number) => self.hit(&consumer_name(number), how).await,
            Victim::Server(server) => self.hit_server(server, how).await,
        };
        hit.attempt(&format!("do it to {victim}"))?;
        tokio::time::sleep(blow.outage).await;
        let back = match victim {
            Victim::Producer => self.back(PRODUCER, how).await,
            Victim::Consumer(number) => self.back(&consumer_name(number), how).await,
            Victim::Server(server) => self.server_back(server, how).await,
        };
        back.attempt(&format!("bring {victim} back"))?;
        if let Some(last) = self.struck.borrow_mut().last_mut() {
            last.down = Some(begun.elapsed());
        }
        Ok(())
    }

    async fn hit(&self, name: &str, how: How) -> Result<()> {
        match how {
            How::Kill | How::Cut => self.fleet.kill(name),
            How::Stop => self.fleet.stop(name, STOP).await,
            How::Freeze => self.fleet.signal(name, "STOP"),
        }
    }

    async fn hit_server(&self, server: Server, how: How) -> Result<()> {
        match how {
            How::Kill | How::Stop => self.servers.kill(server).await,
            How::Freeze => self.servers.freeze(server).await,
            How::Cut => {
                let target = self.place.stack.postgres().await?;
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
                           where application_name like 'leafcutter %' and pid <> pg_backend_pid()";
                target.execute(cut, &[]).await.attempt("end the sessions")?;
                Ok(())
            }
        }
    }

    async fn back(&self, name: &str, how: How) -> Result<()> {
        match how {
            How::Freeze => self.fleet.signal(name, "CONT"),
            How::Kill | How::Stop | How::Cut => {
                self.fleet.start(name)?;
                self.fleet.until_works(name).await
            }
        }
    }

    async fn server_back(&self, server: Server, how: How) -> Result<()> {
        match how {
            How::Kill | How::Stop => self.servers.start(server).await,
            How::Freeze => self.servers.thaw(server).await,
            How::Cut => Ok(()),
        }
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
