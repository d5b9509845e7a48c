//! Wires the stages, owns their tasks and decides nothing else.
//!
//! ```text
//! poll thread ─ events ─► assembler ─ batches ─► writer ─► PostgreSQL
//!      ▲                   │     ▲                  │
//!      └──── commands ─────┘     └──── events ──────┘      control thread ─► gate, settling task
//! ```
//!
//! To stop, the assembler ends first; the batches that it handed over are written; with the
//! assembler gone the poll thread leaves the group.

use crate::{
    assemble::{AssembleError, Assembler, Limits, SharedPositions},
    breaker,
    constraints::ConstraintsTask,
    control::{self, SharedControl},
    dead_letter::DeadLetters,
    drift::{DriftTask, SharedDrift},
    gate::Gate,
    handover::handover,
    mapping, metrics,
    preflight::{self, Checked},
    presence::Presence,
    retention::RetentionWatch,
    settings::{MappingSettings, RunSettings, SynchronousCommit},
    settle::SettlingTask,
    source::poll::Poll,
    topics::{TopicsError, TopicsWatch},
    write::{WriteError, Writer},
};
use leafcutter_runtime::{
    admin::{AdminServer, Health},
    budget::Budget,
    exit::Exit,
    kafka::{ClientLost, ClientsWatch, Reach},
    report::{Failure, Fault},
    shutdown::Shutdown,
    task::{Cause, TaskFailure, TaskSet},
};
use leafcutter_schemas::name::control_topic;
use leafcutter_sink::{
    batch::BatchWriter, connection::Connection, ids::Generation, model::Model, session::Config,
    settle::Settler,
};
use std::{
    net::SocketAddr,
    sync::{Arc, mpsc as std_mpsc},
    time::Duration,
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Events between the poll thread and the assembler: 4 MiB, or as many large records. The writer
/// has a batch in work, and the next one is assembled meanwhile; what is read ahead of that is memory and no speed.
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
    #[error(transparent)]
    Topics(#[from] TopicsError),
    #[error(transparent)]
    Client(#[from] ClientLost),
}

/// Runs a consumer until it is stopped.
///
/// # Errors
/// Why it could not start, or why it stopped by itself.
pub async fn run(settings: RunSettings, shutdown: Shutdown) -> Result<Exit, Failure> {
    let MappingSettings { mapping, prefix } = &settings.mapping;
    let model = mapping::load(mapping, prefix)?;
    run_with(settings, model, shutdown).await
}

/// Runs a consumer with this model until it is stopped; the mapping file is not read.
///
/// # Errors
/// Those of [`run`].
pub async fn run_with(
    settings: RunSettings,
    mut model: Model,
    shutdown: Shutdown,
) -> Result<Exit, Failure> {
    let (config, place) = settings.postgres.config()?;
    let health = Health::new(BEAT_AGE);
    // Served from the first second, so that one can see what the start waits for.
    let admin = AdminServer::start(&settings.admin, health.clone(), shutdown.clone())
        .await
        .map_err(|fault| Failure::one(Exit::Preflight, fault))?;
    let start = health.condition("start");
    let checked = preflight::run(&settings, &model, (&config, &place), &start, &shutdown).await?;
    let Checked::Passed(in_force) = checked else {
        tracing::info!("stopped");
        return Ok(Exit::Done);
    };
    // Where the files differ and mean the same, all programs name the one in force.
    model.mapping.hash = in_force.hash;
    let mapping = (Arc::new(model), in_force.generation);
    start.set(true, "");
    let settings = Arc::new(settings);
    loop {
        let pipeline = Pipeline::new(
            Arc::clone(&settings),
            mapping.clone(),
            config.clone(),
            health.clone(),
            shutdown.child(),
        )?;
        match Box::pin(pipeline.run(admin)).await? {
            Ended::Stopped => return Ok(Exit::Done),
            // PostgreSQL has the positions, so nothing is lost by beginning anew.
            Ended::ClientLost(lost) => {
                metrics::begun_anew();
                tracing::warn!(error = %lost, "beginning anew, with new clients");
            }
        }
    }
}

/// How a pipeline ended without a failure.
enum Ended {
    Stopped,
    ClientLost(ClientLost),
}

struct Pipeline {
    settings: Arc<RunSettings>,
    model: Arc<Model>,
    generation: Generation,
    config: Config,
    shutdown: Shutdown,
    health: Health,
    id: String,
    dead_letters: DeadLetters,
    control: SharedControl,
    drift: SharedDrift,
}

impl Pipeline {
    fn new(
        settings: Arc<RunSettings>,
        (model, generation): (Arc<Model>, Generation),
        config: Config,
        health: Health,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let id = format!("consumer-{}", &Uuid::new_v4().simple().to_string()[..12]);
        let dead_letters = DeadLetters::new(&settings.kafka, &id, &model.mapping.hash)
            .map_err(|fault| Failure::one(Exit::Settings, fault))?;
        Ok(Self {
            drift: SharedDrift::new(Arc::clone(&model)),
            settings,
            model,
            generation,
            config,
            shutdown,
            health,
            id,
            dead_letters,
            control: SharedControl::default(),
        })
    }

    fn connection(&self, name: &str) -> Connection {
        let name = format!("leafcutter {name} {}", self.id);
        Connection::new(
            self.config.clone(),
            &name,
            &self.settings.group,
            &self.id,
            (Arc::clone(&self.model), self.generation),
        )
    }

    /// One that writes rows. What takes a partition over waits for the disk in any case.
    fn row_connection(&self, name: &str) -> Connection {
        let connection = self.connection(name);
        match self.settings.synchronous_commit {
            SynchronousCommit::Off => connection.asynchronous(),
            SynchronousCommit::On => connection,
        }
    }

    async fn run(self, admin: SocketAddr) -> Result<Ended, Failure> {
        tracing::info!(consumer = self.id, group = self.settings.group, admin = %admin, mapping = self.model.mapping.hash, "started");
        let mut tasks: TaskSet<TaskError> = TaskSet::new(self.shutdown.clone());
        let positions = SharedPositions::default();
        let reader = self.spawn_path(&mut tasks, &positions)?;
        self.spawn_clients_watch(&mut tasks, reader);
        self.spawn_beside(&mut tasks, &positions, admin);
        let ended = tasks.join_all(self.settings.drain).await;
        Presence::end(&self.config, &self.id).await;
        match ended {
            Ok(()) => {
                tracing::info!("stopped");
                Ok(Ended::Stopped)
            }
            Err(TaskFailure {
                cause: Cause::Failed(TaskError::Client(lost)),
                ..
            }) if !lost.is_replaced() => Ok(Ended::ClientLost(lost)),
            Err(failure) => Err(failure.into_failure(|error| explain(&self.model, error))),
        }
    }

    /// The topics of the collections, in their order.
    fn topics(&self) -> Vec<String> {
        let collections = self.model.collections.iter();
        collections.map(|c| c.topic.clone()).collect()
    }

    /// Looks whether the clients that live as long as the pipeline reach Kafka. The others are made anew by
    /// who uses them.
    fn spawn_clients_watch(&self, tasks: &mut TaskSet<TaskError>, reader: Arc<dyn Reach>) {
        let watch = ClientsWatch {
            kafka: self.settings.kafka.clone(),
            topic: control_topic(&self.settings.mapping.prefix),
            clients: vec![
                ("consumer group", reader),
                ("dead letters", self.dead_letters.client()),
            ],
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn_blocking_thread("clients", move || Ok(watch.run()?));
    }

    /// The path of a record: poll, assemble, write. Gives the client that reads.
    fn spawn_path(
        &self,
        tasks: &mut TaskSet<TaskError>,
        positions: &SharedPositions,
    ) -> Result<Arc<dyn Reach>, Failure> {
        let (events_in, events) = mpsc::channel(EVENTS_MAX);
        // Unbounded, but a rebalance is rare.
        let (membership_in, membership) = mpsc::unbounded_channel();
        let (commands, commands_out) = std_mpsc::channel();
        let (batches_in, batches) = handover();
        // Unbounded, but at most one message per batch is under way.
        let (written_in, written) = mpsc::unbounded_channel();
        let settings = &self.settings;
        let config = settings
            .kafka
            .consumer_config(&settings.group, &self.id)
            .map_err(|fault| Failure::one(Exit::Settings, fault))?;
        let names = self.topics();
        let budget = Budget::new(settings.memory_budget);
        let poll = Poll::subscribe(
            &config,
            names,
            commands_out,
            (events_in, membership_in),
            budget,
        )
        .map_err(|error| {
            let fault = Fault::new(
                "could not join the consumer group",
                &settings.group,
                error.to_string(),
                "Check the `--kafka` properties.",
            );
            Failure::one(Exit::Settings, fault)
        })?;
        let limits = Limits {
            records: settings.batch_records.get(),
            bytes: settings.batch_bytes,
        };
        let gate = Gate::new(self.control.clone());
        let assembler = Assembler::new(
            self.connection("assignment"),
            gate,
            limits,
            commands,
            self.drift.clone(),
            &self.health,
            settings.breaker > 0,
        );
        let writer = Writer::new(
            Arc::clone(&self.model),
            batches,
            BatchWriter::new(self.row_connection("writer")),
            self.dead_letters.clone(),
            written_in,
            self.shutdown.clone(),
            &self.health,
            settings.breaker,
        );
        let (shutdown, positions) = (self.shutdown.clone(), positions.clone());
        let reader = poll.client();
        tasks.spawn_blocking_thread("poll", move || {
            poll.run();
            Ok(())
        });
        tasks.spawn("assembler", async move {
            Ok(Box::pin(assembler.run(
                (events, membership),
                batches_in,
                written,
                shutdown,
                positions,
            ))
            .await?)
        });
        tasks.spawn("writer", async move { Ok(Box::pin(writer.run()).await?) });
        Ok(reader)
    }

    /// What runs beside it: the control topic, the settling task, the sign of presence.
    fn spawn_beside(
        &self,
        tasks: &mut TaskSet<TaskError>,
        positions: &SharedPositions,
        admin: SocketAddr,
    ) {
        let (kafka, control) = (self.settings.kafka.clone(), self.control.clone());
        let topic = control_topic(&self.settings.mapping.prefix);
        let shutdown = self.shutdown.clone();
        tasks.spawn_blocking_thread("control", move || {
            control::follow(&kafka, &topic, &control, &shutdown);
            Ok(())
        });
        let settling = SettlingTask {
            settler: Settler::new(self.row_connection("settling")),
            dead_letters: self.dead_letters.clone(),
            control: self.control.clone(),
            orphan_after: self.settings.orphan_after,
            shutdown: self.shutdown.clone(),
            settling: self.health.condition("settling"),
        };
        tasks.spawn(
            "settling",
            Box::pin(async {
                settling.run().await;
                Ok(())
            }),
        );
        let watch = TopicsWatch {
            kafka: self.settings.kafka.clone(),
            topics: self.topics(),
            control: self.control.clone(),
            reachable: self.health.condition("kafka"),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn_blocking_thread("topics", move || Ok(watch.run()?));
        let retention = RetentionWatch {
            kafka: self.settings.kafka.clone(),
            model: Arc::clone(&self.model),
            positions: positions.clone(),
            young: self.health.condition("unread records"),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(
            "retention",
            Box::pin(async {
                retention.run().await;
                Ok(())
            }),
        );
        let presence = Presence {
            config: self.config.clone(),
            id: self.id.clone(),
            group: self.settings.group.clone(),
            mapping: self.model.mapping.hash.clone(),
            admin,
            health: self.health.clone(),
            positions: positions.clone(),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(
            "presence",
            Box::pin(async {
                presence.run().await;
                Ok(())
            }),
        );
        let constraints = ConstraintsTask {
            config: self.config.clone(),
            group: self.settings.group.clone(),
            model: Arc::clone(&self.model),
            control: self.control.clone(),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(
            "constraints",
            Box::pin(async {
                constraints.run().await;
                Ok(())
            }),
        );
        let drift = DriftTask {
            config: self.config.clone(),
            group: self.settings.group.clone(),
            drift: self.drift.clone(),
            shutdown: self.shutdown.clone(),
        };
        tasks.spawn(
            "drift",
            Box::pin(async {
                drift.run().await;
                Ok(())
            }),
        );
    }
}

fn explain(model: &Model, error: TaskError) -> Failure {
    let why = error.to_string();
    match error {
        // What else befalls a client is mended with a new one.
        TaskError::Client(_) => Failure::one(
            Exit::Settings,
            Fault::new(
                "could not go on in the consumer group",
                "Kafka",
                why,
                "Another consumer has come with the same `group.instance.id`: give each its own, or none.",
            ),
        ),
        TaskError::Assemble(AssembleError::Breaker(open))
        | TaskError::Write(WriteError::Breaker(open)) => breaker::failure(model, &open),
        TaskError::Assemble(AssembleError::Mapping { .. })
        | TaskError::Write(WriteError::Mapping { .. }) => Failure::one(
            Exit::StateMismatch,
            Fault::new(
                "could not go on with this mapping",
                "PostgreSQL, schema `leafcutter`",
                why,
                "Nothing of it is written any more. Start again with the mapping that is in force: \
                 leafcutter plan --in-force prints it.",
            ),
        ),
        TaskError::Assemble(AssembleError::Layout(_)) => Failure::one(
            Exit::StateMismatch,
            Fault::new(
                "could not go on with Leafcutter's schema",
                "PostgreSQL, schema `leafcutter`",
                why,
                "Start the newer Leafcutter in this one's place.",
            ),
        ),
        TaskError::Topics(_) => Failure::one(
            Exit::StateMismatch,
            Fault::new(
                "could not go on with the topics",
                "Kafka",
                why,
                "Records of one document may be in two partitions now. Stop all programs, and begin \
                 again with another --prefix.",
            ),
        ),
        TaskError::Assemble(AssembleError::Lost(_) | AssembleError::Another { .. }) => {
            Failure::one(
                Exit::HistoryLost,
                Fault::new(
                    "could not read on where this group stands",
                    "Kafka",
                    why,
                    "The topic was deleted and created anew: nobody knows what was in it. Begin again: \
                     `leafcutter rollback`, then another `--prefix` (README).",
                ),
            )
        }
        TaskError::Assemble(AssembleError::Gap { .. }) => Failure::one(
            Exit::HistoryLost,
            Fault::new(
                "could not read on where this group stands",
                "Kafka",
                why,
                "Start again. If this stays so, read the collection again: leafcutter resnapshot \
                 COLLECTION.",
            ),
        ),
    }
}
