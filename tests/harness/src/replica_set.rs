//! Three MongoDB servers of a test's own that are one replica set.
//!
//! Who is the primary is said here, by `replSetStepUp`: nobody waits for time-outs of an election, and
//! no election comes by itself. Fail points of the server hold back what a secondary copies of the others
//! (`stopReplProducer`), or what it applies of it (`rsSyncApplyStop`).

use crate::{
    failure::{Attempt, Failure, Result},
    mongod::Mongod,
    probe,
    stack::Stack,
};
use bson::{Bson, Document, doc};
use std::{path::Path, time::Duration};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: [&str; 10] = [
    "--replSet",
    "rs0",
    "--oplogSize",
    "64",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--setParameter",
    "enableTestCommands=1",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
];

/// What keeps a secondary behind.
#[derive(Debug, Clone, Copy)]
pub enum Hold {
    /// It copies nothing more of the others.
    Copies,
    /// It copies, and applies nothing.
    Applies,
}

impl Hold {
    fn fail_point(self) -> &'static str {
        match self {
            Self::Copies => "stopReplProducer",
            Self::Applies => "rsSyncApplyStop",
        }
    }
}

/// The servers, which go with it.
#[derive(Debug)]
pub struct ReplicaSet {
    members: Vec<Mongod>,
}

impl ReplicaSet {
    /// Starts the members; the first one is the primary. Those that are hidden vote and have all data, and no
    /// client reads from them.
    ///
    /// # Errors
    /// When they do not become a set.
    pub async fn up(hidden: &[usize]) -> Result<Self> {
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(Mongod::start(&SETTINGS).await?);
        }
        let mut described = Vec::new();
        for (id, member) in members.iter().enumerate() {
            let is_hidden = hidden.contains(&id);
            described.push(Bson::Document(doc! {
                "_id": i32::try_from(id)?,
                "host": format!("127.0.0.1:{}", member.port),
                "hidden": is_hidden,
                "priority": i32::from(!is_hidden),
            }));
        }
        // Whoever becomes the primary takes nothing over that the majority does not have.
        let settings = doc! {
            "electionTimeoutMillis": 600_000, "heartbeatIntervalMillis": 500, "catchUpTimeoutMillis": 0,
        };
        let config = doc! { "_id": "rs0", "members": described, "settings": settings };
        let set = Self { members };
        set.ask(0, doc! { "replSetInitiate": config }).await?;
        set.step_up(0).await?;
        for member in 1..3 {
            set.until_secondary(member).await?;
        }
        Ok(set)
    }

    /// The stack with this set as its source.
    #[must_use]
    pub fn instead_of(&self, stack: Stack) -> Stack {
        let hosts = self.members.iter();
        let hosts: Vec<_> = hosts.map(|m| format!("127.0.0.1:{}", m.port)).collect();
        Stack {
            mongodb_uri: format!("mongodb://{}/?replicaSet=rs0", hosts.join(",")),
            ..stack
        }
    }

    /// Runs a command of `admin` on one member.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub async fn ask(&self, member: usize, what: Document) -> Result<Document> {
        self.ask_of(member, "admin", what).await
    }

    /// Runs a command of another database on one member.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_of(&self, member: usize, database: &str, what: Document) -> Result<Document> {
        self.member(member)?.ask(None, database, what).await
    }

    fn member(&self, member: usize) -> Result<&Mongod> {
        let found = self.members.get(member);
        found.ok_or_else(|| Failure::new("a set has three members"))
    }

    /// Makes a member the primary, whoever was it before; gives it when it takes writes.
    ///
    /// # Errors
    /// When it is not elected.
    pub async fn step_up(&self, member: usize) -> Result<()> {
        let what = format!("member {member} to be the primary");
        probe::until(PATIENCE, &what, async || {
            let hello = self.ask(member, doc! { "hello": 1 }).await?;
            if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                return Ok(Some(()));
            }
            // Refused while others have not told that they are there.
            drop(self.ask(member, doc! { "replSetStepUp": 1 }).await);
            Ok(None)
        })
        .await
    }

    /// Waits until a member is a secondary.
    ///
    /// # Errors
    /// When it does not become one.
    pub async fn until_secondary(&self, member: usize) -> Result<()> {
        let what = format!("member {member} to be a secondary");
        probe::until(PATIENCE, &what, async || {
            let hello = self.ask(member, doc! { "hello": 1 }).await;
            let is_it = hello.is_ok_and(|hello| hello.get_bool("secondary").unwrap_or(false));
            Ok(is_it.then_some(()))
        })
        .await
    }

    /// Keeps a secondary behind; comes back when it stands still. Something has to be written meanwhile.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn hold(&self, member: usize, hold: Hold) -> Result<()> {
        let point = hold.fail_point();
        let set = doc! { "configureFailPoint": point, "mode": "alwaysOn" };
        let entered = self.ask(member, set).await?;
        let entered = entered.get_i32("count").map_or(0, i64::from);
        let stands = doc! {
            "waitForFailPoint": point, "timesEntered": entered + 1,
            "maxTimeMS": i64::try_from(PATIENCE.as_millis())?,
        };
        let stands = self.ask(member, stands).await;
        stands.attempt("keep a secondary behind").map(drop)
    }

    /// Lets it follow again.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn release(&self, member: usize, hold: Hold) -> Result<()> {
        let off = doc! { "configureFailPoint": hold.fail_point(), "mode": "off" };
        self.ask(member, off).await.map(drop)
    }

    /// Ends a member as a power cut would (SIGKILL).
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self, member: usize) -> Result<()> {
        let found = self.members.get_mut(member);
        let found = found.ok_or_else(|| Failure::new("a set has three members"))?;
        found.kill()
    }

    /// Starts one that was killed again, on its data, and waits until it follows the others.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn start_again(&mut self, member: usize) -> Result<()> {
        let found = self.members.get_mut(member);
        let found = found.ok_or_else(|| Failure::new("a set has three members"))?;
        found.start_again().await?;
        self.until_secondary(member).await
    }

    /// Where a member's data are.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn folder(&self, member: usize) -> Result<&Path> {
        Ok(self.member(member)?.folder())
    }
}
