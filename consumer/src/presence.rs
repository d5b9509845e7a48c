//! A process's presence in PostgreSQL, by which `leafcutter status` finds it.

use crate::{assemble::SharedPositions, dead_letter::PROGRAM};
use leafcutter_runtime::{admin::Health, shutdown::Shutdown};
use leafcutter_sink::{
    session::{Config, Session},
    state::consumers,
};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// Tells that this process is here.
#[derive(Debug)]
pub struct Presence {
    /// The target.
    pub config: Config,
    /// The process.
    pub id: String,
    /// Its group.
    pub group: String,
    /// Its mapping's hash.
    pub mapping: String,
    /// Where its health and metrics are served.
    pub admin: SocketAddr,
    /// Why it does not get on, if it does not.
    pub health: Health,
    /// The partitions that it holds.
    pub positions: SharedPositions,
    /// When it ends.
    pub shutdown: Shutdown,
}

impl Presence {
    const EVERY: Duration = Duration::from_secs(5);
    /// How soon it is seen that it does not get on, or does again.
    const LOOK: Duration = Duration::from_secs(1);
    const END: Duration = Duration::from_secs(5);

    /// Shows it every few seconds, and what its problem is at once, until the shutdown.
    pub async fn run(self) {
        let mut session: Option<Session> = None;
        let mut shown: Option<(Vec<String>, Instant)> = None;
        while !self.shutdown.is_triggered() {
            let missing = self.health.missing();
            let same = |(before, at): &(Vec<String>, Instant)| {
                *before == missing && at.elapsed() < Self::EVERY
            };
            if shown.as_ref().is_some_and(same) {
                self.shutdown.sleep(Self::LOOK).await;
                continue;
            }
            if session.is_none() {
                session = Session::open(&self.config, "leafcutter presence")
                    .await
                    .ok();
            }
            if let Some(open) = &mut session {
                if self.show(open, &missing.join("; ")).await.is_ok() {
                    shown = Some((missing, Instant::now()));
                } else {
                    session = None;
                }
            }
            self.shutdown.sleep(Self::LOOK).await;
        }
    }

    /// Says that this process is gone. The last thing it does, and the one commit that waits for the
    /// disk: everything before it is there then, too.
    pub async fn end(config: &Config, id: &str) {
        let ended = async {
            let mut session = Session::open(config, "leafcutter presence").await.ok()?;
            consumers::remove(&mut session, id).await.ok()
        };
        // Others find out by themselves that it is gone.
        if !matches!(tokio::time::timeout(Self::END, ended).await, Ok(Some(_))) {
            tracing::debug!("could not say that this process is gone");
        }
    }

    async fn show(
        &self,
        session: &mut Session,
        missing: &str,
    ) -> Result<(), tokio_postgres::Error> {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host = host.trim();
        // Of all addresses of a container, the one that others can use is its name.
        let admin = if self.admin.ip().is_unspecified() {
            format!("{host}:{}", self.admin.port())
        } else {
            self.admin.to_string()
        };
        let consumer = consumers::Presence {
            id: &self.id,
            group: &self.group,
            host,
            program: PROGRAM,
            mapping: &self.mapping,
            partitions: i32::try_from(self.positions.held()).unwrap_or(i32::MAX),
            admin: &admin,
            problem: (!missing.is_empty()).then_some(missing),
        };
        consumers::write(session, &consumer).await
    }
}
