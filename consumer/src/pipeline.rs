//! Wires the stages, owns their tasks and decides nothing else.
//!
//! ```text
//! poll thread ─ events ─► assembler ─ batches ─► writer ─► PostgreSQL
//!      ▲                   │     ▲                  │
//!      └──── commands ─────┘     └───── told ───────┘      control thread ─► gate, settler
//! ```
//!
//! To stop, the assembler ends first; the batches that it handed over are written; with the
//! assembler gone the poll thread leaves the group.

use crate::{
    assemble::{AssembleError, Assembler, Limits, describe},
    control::{self, SharedControl},
    dead_letter::DeadLetters,
    gate::{self, Gate},
    model::Model,
    preflight,
    presence::Presence,
    settings::{RunSettings, SynchronousCommit},
    sink::{apply::Applier, session, settle::Patience},
    source::poll::Poll,
    write::{Breaker, WriteError, Writer},
};
use leafcutter_runtime::{
    admin::{AdminServer, Health},
    budget::Budget,
    exit::Exit,
    report::{Failure, Fault},
    secret,
    shutdown::Shutdown,
    task::TaskSet,
};
use leafcutter_schemas::{mapping::parse, name::control_topic};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, atomic::AtomicUsize, mpsc as std_mpsc},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_postgres::Config;
use uuid::Uuid;

/// Events between the poll thread and the assembler: 4 MiB, or as many large records. The writer
/// has a batch in work and one waiting; what is read ahead of the next one is memory and no speed.
const EVENTS_MAX: usize = 8;
/// How old a component's last sign of life may be. A statement may take two minutes.
const BEAT_AGE: Duration = Duration::from_secs(150);

/// Why a task of the pipeline ended.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the Kafka consumer ended")]
    Poll(#[from] rdkafka::error::KafkaError),
}

/// Loads and compiles the mapping.
///
/// # Errors
/// Every fault of the file.
pub fn load_model(file: &Path, prefix: &str) -> Result<Model, Failure> {
    let place = file.display().to_string();
    let settings = |why: String, next: &str| {
        Failure::one(
            Exit::Settings,
            Fault::new("read the mapping", &place, why, next),
        )
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| settings(error.to_string(), "check --mapping"))?;
    let mapping = parse::load(&text, &place)
        .map_err(|faults| settings(faults.to_string(), "correct these lines"))?;
    Model::compile(mapping, prefix).map_err(|error| {
        settings(
            error.to_string(),
            "rename a collection's topic prefix, or correct the mapping",
        )
    })
}

/// Runs a consumer until it is stopped.
///
/// # Errors
/// Why it could not start, or why it stopped by itself.
pub async fn run(settings: RunSettings, shutdown: Shutdown) -> Result<Exit, Failure> {
    let model = Arc::new(load_model(
        &settings.mapping.mapping,
        &settings.mapping.prefix,
    )?);
    let uri = secret::resolve(
        settings.postgres_uri.clone(),
        settings.postgres_uri_file.clone(),
        "--postgres-uri",
    )
    .map_err(|why| {
        let next = "give --postgres-uri or LEAFCUTTER_POSTGRES_URI, or a file that holds it";
        Failure::one(
            Exit::Settings,
            Fault::new("read the settings", "--postgres-uri", why, next),
        )
    })?;
    let config = session::config(&uri).map_err(|error| {
        let next = "write it as postgres://user:password@host:port/database";
        let why = preflight::causes(&error);
        Failure::one(
            Exit::Settings,
            Fault::new("read the settings", "--postgres-uri", why, next),
        )
    })?;
    preflight::run(&settings, &model, &config, &uri).await?;
    Pipeline::new(settings, model, config, shutdown)?
        .run()
        .await
}

struct Pipeline {
    settings: RunSettings,
    model: Arc<Model>,
    config: Config,
    shutdown: Shutdown,
    health: Health,
    id: String,
    letters: DeadLetters,
    control: SharedControl,
}

impl Pipeline {
    fn new(
        settings: RunSettings,
        model: Arc<Model>,
        config: Config,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let id = format!("consumer-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let letters = DeadLetters::new(&settings.kafka, &id, &model.mapping.hash)
            .map_err(|fault| Failure::one(Exit::Settings, fault))?;
        Ok(Self {
            settings,
            model,
            config,
            shutdown,
            health: Health::new(BEAT_AGE),
            id,
            letters,
            control: SharedControl::default(),
        })
    }

    fn applier(&self, name: &str) -> Applier {
        let name = format!("leafcutter {name} {}", self.id);
        Applier::new(
            self.config.clone(),
            &name,
            &self.settings.group,
            &self.id,
            Arc::clone(&self.model),
        )
    }

    /// One that writes rows. Who takes a partition over waits for the disk in any case.
    fn row_applier(&self, name: &str) -> Applier {
        let applier = self.applier(name);
        match self.settings.synchronous_commit {
            SynchronousCommit::Off => applier.asynchronous(),
            SynchronousCommit::On => applier,
        }
    }

    async fn run(self) -> Result<Exit, Failure> {
        let admin = AdminServer::start(
            &self.settings.admin,
            self.health.clone(),
            self.shutdown.clone(),
        )
        .await
        .map_err(|fault| Failure::one(Exit::Preflight, fault))?;
        tracing::info!(consumer = self.id, group = self.settings.group, admin = %admin, mapping = self.model.mapping.hash, "started");
        let mut tasks: TaskSet<TaskError> = TaskSet::new(self.shutdown.clone());
        let held = Arc::new(AtomicUsize::new(0));
        self.spawn_path(&mut tasks, &held)?;
        self.spawn_beside(&mut tasks, &held, admin);
        let ended = tasks.join_all(self.settings.drain).await;
        Presence::end(&self.config, &self.id).await;
        match ended {
            Ok(()) => {
                tracing::info!("stopped");
                Ok(Exit::Done)
            }
            Err(failure) => Err(failure.into_failure(explain)),
        }
    }

    /// The path of a record: poll, assemble, write.
    fn spawn_path(
        &self,
        tasks: &mut TaskSet<TaskError>,
        held: &Arc<AtomicUsize>,
    ) -> Result<(), Failure> {
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        let (commands, commands_out) = std_mpsc::channel();
        let (batches_in, batches) = mpsc::channel(1);
        // Unbounded, but at most one message per batch is under way.
        let (told_in, told) = mpsc::unbounded_channel();
        let settings = &self.settings;
        let config = settings
            .kafka
            .consumer_config(&settings.group, &self.id)
            .map_err(|fault| Failure::one(Exit::Settings, fault))?;
        let names = self
            .model
            .collections
            .iter()
            .map(|c| c.topic.clone())
            .collect();
        let budget = Budget::new(settings.memory_mib * 1024 * 1024);
        let poll =
            Poll::subscribe(&config, names, commands_out, events_in, budget).map_err(|error| {
                let fault = Fault::new(
                    "join the consumer group",
                    &settings.group,
                    error.to_string(),
                    "check the `--kafka` properties",
                );
                Failure::one(Exit::Settings, fault)
            })?;
        let limits = Limits {
            records: settings.batch_records,
            bytes: settings.batch_mib * 1024 * 1024,
        };
        let gate = Gate::new(&settings.group, self.control.clone());
        let assembler = Assembler::new(
            Arc::clone(&self.model),
            self.applier("assignment"),
            gate,
            limits,
            commands,
            &self.health,
        );
        let writer = Writer::new(
            Arc::clone(&self.model),
            self.row_applier("writer"),
            self.letters.clone(),
            told_in,
            self.shutdown.clone(),
            &self.health,
            Breaker::new(settings.breaker),
        );
        let (shutdown, held) = (self.shutdown.clone(), Arc::clone(held));
        tasks.spawn_blocking_thread("poll", move || poll.run().map_err(TaskError::from));
        tasks.spawn("assembler", async move {
            Ok(Box::pin(assembler.run(events, batches_in, told, shutdown, held)).await?)
        });
        tasks.spawn(
            "writer",
            async move { Ok(Box::pin(writer.run(batches)).await?) },
        );
        Ok(())
    }

    /// What runs beside it: the control topic, the settling task, the sign of presence.
    fn spawn_beside(
        &self,
        tasks: &mut TaskSet<TaskError>,
        held: &Arc<AtomicUsize>,
        admin: SocketAddr,
    ) {
        let (kafka, control) = (self.settings.kafka.clone(), self.control.clone());
        let topic = control_topic(&self.settings.mapping.prefix);
        let shutdown = self.shutdown.clone();
        tasks.spawn_blocking_thread("control", move || {
            control::follow(&kafka, &topic, &control, &shutdown);
            Ok(())
        });
        let settler = Settler {
            model: Arc::clone(&self.model),
            applier: self.row_applier("settling"),
            letters: self.letters.clone(),
            control: self.control.clone(),
            group: self.settings.group.clone(),
            orphan_after: self.settings.orphan_after,
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn("settling", Box::pin(settler.run()));
        let presence = Presence {
            config: self.config.clone(),
            id: self.id.clone(),
            group: self.settings.group.clone(),
            mapping: self.model.mapping.hash.clone(),
            admin,
            held: Arc::clone(held),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(
            "presence",
            Box::pin(async {
                presence.run().await;
                Ok(())
            }),
        );
    }
}

fn explain(error: TaskError) -> Failure {
    let why = error.to_string();
    match error {
        TaskError::Assemble(AssembleError::Lost(_) | AssembleError::Gap { .. }) => Failure::one(
            Exit::HistoryLost,
            Fault::new(
                "read on where this group stands",
                "Kafka",
                why,
                "records were removed before they were applied (retention, or the topic was recreated): snapshot the collection again",
            ),
        ),
        TaskError::Write(WriteError::Breaker { .. }) => Failure::one(
            Exit::Stopped,
            Fault::new(
                "apply records",
                "PostgreSQL",
                why,
                "correct the mapping or the table, then start again; --breaker sets the limit",
            ),
        ),
        TaskError::Poll(_) => Failure::one(
            Exit::Bug,
            Fault::new(
                "read from Kafka",
                "consumer group",
                why,
                "start again; please report this",
            ),
        ),
    }
}

/// Runs the settling task's rounds.
struct Settler {
    model: Arc<Model>,
    applier: Applier,
    letters: DeadLetters,
    control: SharedControl,
    group: String,
    orphan_after: Duration,
    shutdown: Shutdown,
}

impl Settler {
    const PAUSE: Duration = Duration::from_millis(700);

    async fn run(mut self) -> Result<(), TaskError> {
        while !self.shutdown.is_triggered() {
            let begun = Instant::now();
            match self.round().await {
                Ok(true) => {}
                Ok(false) => {
                    // Where a great many wait, looking takes long, and half of the time is enough.
                    let pause = Self::PAUSE.max(begun.elapsed());
                    self.shutdown.sleep(pause).await;
                }
                Err(error) => {
                    tracing::warn!(error = %describe(&error), "settling waits");
                    self.shutdown.sleep(Duration::from_secs(1)).await;
                }
            }
        }
        Ok(())
    }

    async fn round(&mut self) -> Result<bool, crate::sink::ApplyError> {
        // Both are read before any parent is looked for.
        let control = self.control.snapshot();
        let progress = gate::progress(self.applier.session().await?, &self.group).await?;
        let patience = Patience {
            orphan_after: self.orphan_after,
            control,
            progress,
        };
        let model = Arc::clone(&self.model);
        let settled = self
            .applier
            .settle_parked(&model, &patience, &self.letters)
            .await?;
        let let_go = self.applier.settle_held(&model, &patience).await?;
        if settled.placed + settled.decided > 0 || let_go > 0 {
            tracing::debug!(
                placed = settled.placed,
                decided = settled.decided,
                let_go,
                "settled"
            );
        }
        // Of a great many held rows a round lets some go, and the next one follows at once.
        Ok(settled.more || let_go > 0)
    }
}
