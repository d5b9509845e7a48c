//! What a component tells of itself: that it lives, and whether its server answers.
//!
//! An outage of a server is waited for, so the program is alive (`/healthz`) and not ready
//! (`/readyz`), and the page says which server and why. Whoever waits for as long as an outage may
//! last waits through [`Liveness::beating`], or it would look stuck.

use leafcutter_runtime::admin::{Condition, Health};
use std::{future::Future, pin::pin, time::Duration};

/// How often a component beats that waits: well below the time after which it counts as stuck.
const BEAT: Duration = Duration::from_secs(5);

/// One component, and the server it depends on.
#[derive(Debug, Clone)]
pub struct Liveness {
    health: Health,
    component: &'static str,
    server: Condition,
}

impl Liveness {
    /// A component, and the condition that says whether its server answers.
    pub fn new(health: &Health, component: &'static str, server: Condition) -> Self {
        Self {
            health: health.clone(),
            component,
            server,
        }
    }

    /// The component lives.
    pub fn beat(&self) {
        self.health.beat(self.component);
    }

    /// The server has answered.
    pub fn answers(&self) {
        self.beat();
        self.server.set(true, "");
    }

    /// The server does not answer, and why.
    pub fn silent(&self, why: impl Into<String>) {
        self.beat();
        self.server.set(false, why);
    }

    /// Waits for something that another server may hold up.
    pub async fn beating<T>(&self, work: impl Future<Output = T>) -> T {
        self.each(work, || self.beat()).await
    }

    /// Waits for the server. One that lets wait for long does not answer.
    pub async fn asking<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.each(work, || self.silent(what)).await
    }

    async fn each<T>(&self, work: impl Future<Output = T>, beat: impl Fn()) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(BEAT) => beat(),
            }
        }
    }

    /// The component has ended.
    pub fn retire(&self) {
        self.health.retire(self.component);
    }
}
