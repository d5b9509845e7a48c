//! Health, readiness and metrics over HTTP.
//!
//! It takes beats and conditions from the tasks and gives three pages:
//!
//! - `/healthz`: 200 while every component that ever beat has beaten lately; 503 names the stuck.
//! - `/readyz`: 200 once every condition is met and nobody drains; 503 says what is missing.
//! - `/metrics`: Prometheus text, with the memory of the process.
//!
//! It listens on loopback unless told otherwise: there is no password, and no page shows contents
//! of documents. A program without any condition yet is not ready: it has not got that far.

use crate::{memory, report::Fault, shutdown::Shutdown};
use axum::{Router, extract::State, http::StatusCode, routing::get};
use clap::Args;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// Where the pages are served.
#[derive(Debug, Clone, Args)]
pub struct AdminSettings {
    /// Address of /healthz, /readyz and /metrics; port 0 takes any free one
    #[arg(
        long = "admin",
        env = "LEAFCUTTER_ADMIN",
        default_value = "127.0.0.1:0",
        value_name = "ADDRESS"
    )]
    pub admin: SocketAddr,
}

/// What the tasks tell about themselves. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    max_age: Duration,
    state: Arc<Mutex<HealthState>>,
}

#[derive(Debug, Default)]
struct HealthState {
    beats: BTreeMap<String, Instant>,
    /// The reason why a condition is not met, or nothing when it is.
    conditions: BTreeMap<String, Option<String>>,
}

impl Health {
    /// A component counts as stuck when its last beat is older than `max_age`.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            state: Arc::default(),
        }
    }

    /// `component` is alive. Its first beat is a promise to go on beating.
    pub fn beat(&self, component: &str) {
        self.beat_at(component, Instant::now());
    }

    fn beat_at(&self, component: &str, now: Instant) {
        let mut state = self.lock();
        match state.beats.get_mut(component) {
            Some(beat) => *beat = now,
            None => {
                state.beats.insert(component.to_owned(), now);
            }
        }
    }

    /// `component` has ended as it should and owes no more beats.
    pub fn retire(&self, component: &str) {
        self.lock().beats.remove(component);
    }

    /// A named condition of readiness, not met at first.
    #[must_use]
    pub fn condition(&self, name: &str) -> Condition {
        let condition = Condition {
            name: name.to_owned(),
            state: Arc::clone(&self.state),
        };
        condition.set(false, "not yet");
        condition
    }

    /// Those that have not beaten lately. Empty means live.
    #[must_use]
    pub fn stuck(&self, now: Instant) -> Vec<String> {
        let state = self.lock();
        let age = |beat: &Instant| now.saturating_duration_since(*beat);
        let late = state
            .beats
            .iter()
            .filter(|(_, beat)| age(beat) > self.max_age);
        late.map(|(name, beat)| format!("{name}: last seen {} s ago", age(beat).as_secs()))
            .collect()
    }

    /// Conditions that are not met, with their reasons. Empty means ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let state = self.lock();
        if state.conditions.is_empty() {
            return vec!["start: not yet".to_owned()];
        }
        let unmet = state.conditions.iter();
        unmet
            .filter_map(|(name, reason)| Some(format!("{name}: {}", reason.as_ref()?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HealthState> {
        lock(&self.state)
    }
}

/// The maps are whole between any two statements, so a panic elsewhere does not spoil them.
fn lock(state: &Mutex<HealthState>) -> MutexGuard<'_, HealthState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One condition of readiness.
#[derive(Debug, Clone)]
pub struct Condition {
    name: String,
    state: Arc<Mutex<HealthState>>,
}

impl Condition {
    /// Met or not; the reason is shown while it is not.
    pub fn set(&self, met: bool, reason: impl Into<String>) {
        let reason = (!met).then(|| reason.into());
        let gauge = if met { 1.0 } else { 0.0 };
        metrics::gauge!("leafcutter_condition_met", "condition" => self.name.clone()).set(gauge);
        lock(&self.state)
            .conditions
            .insert(self.name.clone(), reason);
    }
}

/// The server of the three pages.
#[derive(Debug)]
pub struct AdminServer;

#[derive(Clone)]
struct Pages {
    health: Health,
    shutdown: Shutdown,
    metrics: PrometheusHandle,
}

impl AdminServer {
    /// Binds, serves in the background and gives the address that was bound.
    ///
    /// It serves while the program drains as well (that is when one wants to look) and ends with
    /// the runtime; it owns nothing that would have to be finished.
    pub async fn start(
        settings: &AdminSettings,
        health: Health,
        shutdown: Shutdown,
    ) -> Result<SocketAddr, Fault> {
        let fault = |why: String| {
            Fault::new(
                "could not serve health and metrics",
                format!("`--admin {}`", settings.admin),
                why,
                "Choose a free address, or port 0 for any free port.",
            )
        };
        let metrics = metrics_handle().map_err(fault)?;
        let listener = tokio::net::TcpListener::bind(settings.admin).await;
        let listener = listener.map_err(|error| fault(error.to_string()))?;
        let address = listener
            .local_addr()
            .map_err(|error| fault(error.to_string()))?;
        let pages = Pages {
            health,
            shutdown: shutdown.clone(),
            metrics,
        };
        let router = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render))
            .with_state(pages);
        tokio::spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(async move { shutdown.forced().await });
            if let Err(error) = served.await {
                tracing::warn!(%error, "health and metrics are no longer served");
            }
        });
        tracing::info!(%address, "health and metrics");
        Ok(address)
    }
}

async fn healthz(State(pages): State<Pages>) -> (StatusCode, String) {
    answer(&pages.health.stuck(Instant::now()), "live")
}

async fn readyz(State(pages): State<Pages>) -> (StatusCode, String) {
    let mut missing = pages.health.missing();
    if pages.shutdown.is_triggered() {
        missing.push("shutdown: draining".to_owned());
    }
    answer(&missing, "ready")
}

fn answer(problems: &[String], well: &str) -> (StatusCode, String) {
    if problems.is_empty() {
        (StatusCode::OK, format!("{well}\n"))
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", problems.join("\n")),
        )
    }
}

async fn render(State(pages): State<Pages>) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; 2^53 bytes is far away"
    )]
    let float = |bytes: Option<u64>| bytes.unwrap_or(0) as f64;
    metrics::gauge!("process_resident_memory_bytes").set(float(memory::resident_bytes()));
    metrics::gauge!("process_peak_resident_memory_bytes").set(float(memory::peak_bytes()));
    // Without this, histograms keep every sample until somebody asks for them.
    pages.metrics.run_upkeep();
    pages.metrics.render()
}

/// The process-wide recorder, installed on first use. Programs call it before they record.
pub fn metrics_handle() -> Result<PrometheusHandle, String> {
    static HANDLE: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    HANDLE.get_or_init(install_recorder).clone()
}

fn install_recorder() -> Result<PrometheusHandle, String> {
    // From half a millisecond (a statement) to five minutes (an outage), about 2.5 apart.
    const SECONDS: [f64; 16] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0,
        60.0, 300.0,
    ];
    // From a small record to more than the largest document.
    const BYTES: [f64; 8] = [
        256.0, 1024.0, 4096.0, 16384.0, 65536.0, 1048576.0, 4194304.0, 33554432.0,
    ];
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::{Duration, Instant};

    use super::{AdminServer, AdminSettings, Health};
    use crate::shutdown::Shutdown;

    const MAX_AGE: Duration = Duration::from_secs(30);

    async fn start(health: &Health, shutdown: &Shutdown) -> SocketAddr {
        let settings = AdminSettings {
            admin: "127.0.0.1:0".parse().unwrap(),
        };
        AdminServer::start(&settings, health.clone(), shutdown.clone())
            .await
            .unwrap()
    }

    /// Asks over a real socket; gives the status and the body.
    fn get(address: SocketAddr, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ready_only_when_every_condition_is_met_and_nobody_drains() {
        let (health, shutdown) = (Health::new(MAX_AGE), Shutdown::new());
        let address = start(&health, &shutdown).await;
        assert_eq!(
            get(address, "/readyz"),
            (503, "start: not yet\n".to_owned())
        );
        let preflight = health.condition("preflight");
        let source = health.condition("source");
        preflight.set(true, "");
        source.set(false, "waiting for MongoDB");
        assert_eq!(
            get(address, "/readyz"),
            (503, "source: waiting for MongoDB\n".to_owned())
        );
        source.set(true, "");
        assert_eq!(get(address, "/readyz").0, 200);
        source.set(false, "lost");
        assert_eq!(get(address, "/readyz").0, 503);
        source.set(true, "");
        shutdown.trigger();
        assert_eq!(
            get(address, "/readyz"),
            (503, "shutdown: draining\n".to_owned())
        );
        assert_eq!(get(address, "/healthz").0, 200, "draining is alive");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_component_that_stops_beating_is_named() {
        let (health, shutdown) = (Health::new(MAX_AGE), Shutdown::new());
        let address = start(&health, &shutdown).await;
        assert_eq!(get(address, "/healthz"), (200, "live\n".to_owned()));
        let Some(past) = Instant::now().checked_sub(MAX_AGE * 2) else {
            return;
        };
        health.beat("applier");
        health.beat_at("poller", past);
        let (status, body) = get(address, "/healthz");
        assert_eq!(status, 503);
        assert!(
            body.contains("poller") && !body.contains("applier"),
            "{body}"
        );
        health.retire("poller");
        assert_eq!(get(address, "/healthz").0, 200);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn metrics_carry_ours_and_the_memory_of_the_process() {
        let (health, shutdown) = (Health::new(MAX_AGE), Shutdown::new());
        let address = start(&health, &shutdown).await;
        metrics::counter!("leafcutter_test_total").increment(3);
        metrics::histogram!("leafcutter_test_seconds").record(0.02);
        let (status, body) = get(address, "/metrics");
        assert_eq!(status, 200);
        assert!(body.contains("leafcutter_test_total 3"), "{body}");
        assert!(
            body.contains("leafcutter_test_seconds_bucket{le=\"0.025\"} 1"),
            "{body}"
        );
        let memory = body
            .lines()
            .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(memory.unwrap().parse::<f64>().unwrap() > 1e6, "{body}");
    }

    #[tokio::test]
    async fn a_taken_address_is_a_fault_that_names_it() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let admin = taken.local_addr().unwrap();
        let settings = AdminSettings { admin };
        let started = AdminServer::start(&settings, Health::new(MAX_AGE), Shutdown::new()).await;
        assert!(started.unwrap_err().place.contains(&admin.to_string()));
    }
}
