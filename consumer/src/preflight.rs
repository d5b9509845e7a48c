//! Before anything is read: PostgreSQL and Kafka are reachable, the schema is there, the topics are
//! as they should be and the dead-letter topics exist. Every fault is reported, all at once.

use crate::{
    beginning::{self, Beginning},
    breaker,
    dead_letter::PROGRAM,
    mapping,
    settings::{Constraints, Ddl, RunSettings},
};
use leafcutter_runtime::{
    admin::Condition,
    exit::Exit,
    kafka::{LogContext, explain, metadata, unreachable},
    report::{Failure, Fault, Faults, causes},
    shutdown::Shutdown,
};
use leafcutter_schemas::name::{control_topic, dead_letter_topic};
use leafcutter_sink::{
    ApplyError,
    model::Model,
    session::{Config, Session},
    sqlstate,
    state::{
        breakers::{self, BreakerRow},
        mappings::MappingRow,
        schema::MigrateError,
    },
    target::{
        self, Start,
        compare::{self, Disagreement},
    },
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::BaseConsumer,
    error::{KafkaError, RDKafkaErrorCode},
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two looks for topics that are missing.
const TOPICS_PAUSE: Duration = Duration::from_millis(300);
/// Headers of a dead letter need room beside the original.
const DEAD_LETTER_ROOM: u64 = 1024 * 1024;
const LIMIT_DEFAULT: u64 = 20 * 1024 * 1024;

/// How the checks ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// Everything is as it should be, and this mapping is in force.
    Passed(MappingRow),
    /// The program was asked to end meanwhile.
    Stopped,
}

/// Runs all checks. `start` says what they wait for.
///
/// # Errors
/// Every fault found.
pub async fn run(
    settings: &RunSettings,
    model: &Model,
    (config, place): (&Config, &str),
    start: &Condition,
    shutdown: &Shutdown,
) -> Result<Checked, Failure> {
    let mut faults = Faults::default();
    start.set(false, "looking whether this group has begun before");
    let beginning = tokio::select! {
        biased;
        () = shutdown.wait() => return Ok(Checked::Stopped),
        found = beginning::look(settings, model, (config, place)) => found?,
    };
    start.set(false, "looking at PostgreSQL");
    let may_write = beginning == Beginning::Sound;
    let of_postgres = postgres(settings, model, (config, place), may_write).await;
    let (of_postgres, in_force) = match of_postgres {
        Ok(Looked::Mapping(in_force, found)) => (Ok(found), Some(in_force)),
        Ok(Looked::Faults(found)) => (Ok(found), None),
        // What is wrong besides is of no account then.
        Ok(Looked::OtherMapping(failure)) => return Err(failure),
        Err(fault) => (Err(fault), None),
    };
    if may_write && of_postgres.as_ref().is_ok_and(Vec::is_empty) && settings.breaker > 0 {
        let open = open_breakers(config, &settings.group, place).await?;
        if !open.is_empty() {
            return Err(breaker::failure(model, &open));
        }
    }
    start.set(false, "looking at Kafka");
    let of_kafka = match beginning {
        Beginning::Untold(fault) => Err(fault),
        Beginning::Sound => tokio::select! {
            biased;
            () = shutdown.wait() => return Ok(Checked::Stopped),
            found = kafka(settings, model, start) => found,
        },
    };
    let found = [of_postgres, of_kafka];
    for fault in found {
        match fault {
            Ok(found) => found.into_iter().for_each(|fault| faults.push(fault)),
            Err(fault) => faults.push(fault),
        }
    }
    faults.into_result(Exit::Preflight)?;
    in_force.map(Checked::Passed).ok_or_else(|| {
        let why = "no mapping is in force, and nothing is wrong";
        let fault = Fault::new("could not start", place, why, "Please report this.");
        Failure::one(Exit::Bug, fault)
    })
}

/// What was found in PostgreSQL.
enum Looked {
    /// This mapping is in force; what is wrong with the tables.
    Mapping(MappingRow, Vec<Fault>),
    /// Nothing could be made; why not.
    Faults(Vec<Fault>),
    /// Another mapping is in force.
    OtherMapping(Failure),
}

/// The collections of which too many records in a row could not be applied, until a person says that this is
/// mended.
async fn open_breakers(
    config: &Config,
    group: &str,
    place: &str,
) -> Result<Vec<BreakerRow>, Failure> {
    let look = async {
        let mut session = Session::open(config, "leafcutter-consumer preflight").await?;
        Ok::<_, ApplyError>(breakers::open(&mut session, group).await?)
    };
    look.await.map_err(|error| {
        let what = "could not look whether the breaker is open";
        let fault = Fault::new(what, place, causes(&error), "Start again.");
        Failure::one(Exit::Preflight, fault)
    })
}

async fn postgres(
    settings: &RunSettings,
    model: &Model,
    (config, place): (&Config, &str),
    may_write: bool,
) -> Result<Looked, Fault> {
    let mut session = Session::open(config, "leafcutter-consumer preflight")
        .await
        .map_err(|error| {
            Fault::new(
                "could not connect to PostgreSQL",
                place,
                causes(&error),
                "Check that the server runs, and host, port, user and password in --postgres-uri.",
            )
        })?;
    let lasts = session.lasts(config).await.map_err(|error| {
        let what = "could not open another session";
        Fault::new(
            what,
            place,
            causes(&error),
            "Give this user some connections.",
        )
    })?;
    if !lasts {
        return Err(of_a_pooler(place));
    }
    let row = session.query_one("show server_version_num", &[]).await;
    let version = row
        .ok()
        .and_then(|row| row.get::<_, String>(0).parse::<u32>().ok())
        .unwrap_or(0);
    if version < 130_000 {
        return Err(Fault::new(
            "could not use this PostgreSQL server",
            place,
            format!("its version is {version}, 13 or later is needed"),
            "Upgrade the server.",
        ));
    }
    if !may_write {
        // What is only missing would be created.
        let found = tables(&mut session, model, place).await?;
        let lasting = found.iter().filter(|found| !found.created);
        return Ok(Looked::Faults(lasting.map(fault).collect()));
    }
    let begin = Start {
        group: &settings.group,
        program: PROGRAM,
        create: settings.ddl == Ddl::Create,
        defer: settings.constraints == Constraints::AfterLoad,
    };
    let migrated = target::migrate(&mut session, model, begin).await;
    if let Err(MigrateError::Mapping(other)) = &migrated {
        let place = (Some(&*settings.mapping.mapping), &*settings.group);
        let failure = mapping::not_in_force("could not start with this mapping", place, other);
        return Ok(Looked::OtherMapping(failure));
    }
    let migrated = migrated.map_err(|error| match error {
        MigrateError::Newer { .. } => Fault::new(
            "could not use Leafcutter's schema",
            place,
            causes(&error),
            "Run the newer Leafcutter, or restore the database from before its upgrade. Nothing \
             was changed.",
        ),
        MigrateError::Refused(_) | MigrateError::Mapping(_) => Fault::new(
            "could not create Leafcutter's schema and the target's missing tables",
            place,
            causes(&error),
            "Grant CREATE on the database and on the target's schema; or create what \
             `leafcutter plan` prints, and use --ddl check.",
        ),
    });
    match migrated {
        Ok(in_force) => {
            let found = tables(&mut session, model, place).await?;
            Ok(Looked::Mapping(in_force, found.iter().map(fault).collect()))
        }
        Err(failed) => {
            let mut faults = vec![failed];
            // What the tables are like may be why; what is only missing is not.
            if session.batch("rollback").await.is_ok() {
                let found = tables(&mut session, model, place).await.unwrap_or_default();
                faults.extend(found.iter().filter(|found| !found.created).map(fault));
            }
            Ok(Looked::Faults(faults))
        }
    }
}

/// PostgreSQL is reached in a way in which no session lasts.
pub fn of_a_pooler(place: &str) -> Fault {
    Fault::new(
        "could not use this connection to PostgreSQL",
        place,
        sqlstate::OF_A_POOLER,
        "Connect to the server itself, or to a port of the pooler that keeps sessions.",
    )
}

/// Compares the mapping with the tables that are there: gives what stops the consumer, and logs what
/// it can live with.
async fn tables(
    session: &mut Session,
    model: &Model,
    place: &str,
) -> Result<Vec<Disagreement>, Fault> {
    let found = compare::look(session, model).await.map_err(|error| {
        let what = "could not look at the target's tables";
        let next = "Let this user read the target's tables, and try again.";
        Fault::new(what, place, causes(&error), next)
    })?;
    let (faults, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(|d| d.kind.is_fault());
    for warning in warnings {
        tracing::warn!(
            place = %warning.place(),
            mapping = %warning.mapping,
            postgres = %warning.postgres,
            fix = %warning.sql.join("; "),
            "mapping and table differ: {}",
            warning.means
        );
    }
    Ok(faults)
}

/// A disagreement, as a fault of the start.
fn fault(disagreement: &Disagreement) -> Fault {
    let Disagreement {
        mapping,
        postgres,
        means,
        sql,
        or,
        ..
    } = disagreement;
    let statements: Vec<String> = sql.iter().map(|sql| format!("{sql};")).collect();
    let next = match (statements.join(" "), or) {
        (sql, Some(or)) if sql.is_empty() => or.clone(),
        (sql, Some(or)) => format!("{sql} Or: {or}"),
        (sql, None) => sql,
    };
    Fault::new(
        "could not write to the target's table",
        disagreement.place(),
        format!("the mapping says: {mapping}; PostgreSQL has: {postgres}; {means}"),
        next,
    )
}

async fn kafka(
    settings: &RunSettings,
    model: &Model,
    start: &Condition,
) -> Result<Vec<Fault>, Fault> {
    let brokers = settings.kafka.brokers.clone();
    let unreachable = |error: KafkaError| unreachable(&brokers, &error);
    let reader: BaseConsumer<LogContext> = settings
        .kafka
        .reader_config("leafcutter-consumer-preflight")?
        .create_with_context(LogContext)
        .map_err(&unreachable)?;
    let reader = Arc::new(reader);
    let control = control_topic(&settings.mapping.prefix);
    let data: Vec<&String> = model
        .collections
        .iter()
        .map(|c| &c.topic)
        .chain([&control])
        .collect();
    let began = Instant::now();
    let mut said = false;
    let (partitions, count) = loop {
        let asked = Arc::clone(&reader);
        let metadata = tokio::task::spawn_blocking(move || metadata(&asked, None, KAFKA_TIMEOUT))
            .await
            .map_err(|error| {
                let why = error.to_string();
                Fault::new("could not reach Kafka", &brokers, why, "Try again.")
            })?
            .map_err(&unreachable)?;
        let partitions: BTreeMap<String, usize> = metadata
            .topics()
            .iter()
            .map(|t| (t.name().to_owned(), t.partitions().len()))
            .collect();
        let missing: Vec<&str> = data
            .iter()
            .filter(|t| !partitions.contains_key(**t))
            .map(|t| t.as_str())
            .collect();
        if missing.is_empty() {
            break (partitions, metadata.brokers().len());
        }
        if began.elapsed() >= settings.topics_within {
            return Ok(vec![Fault::new(
                "could not find the topics of the mapping",
                &brokers,
                format!("missing: {}", missing.join(", ")),
                "Start the producer, which creates them; or check --prefix.",
            )]);
        }
        let topics = missing.join(", ");
        start.set(
            false,
            format!("waiting for the producer to create the topics: {topics}"),
        );
        if !said {
            tracing::info!(
                missing = missing.len(),
                "waiting for the producer to create the topics"
            );
            said = true;
        }
        tokio::time::sleep(TOPICS_PAUSE).await;
    };
    let faults = Vec::new();
    create_dead_letter_topics(settings, model, &partitions, count).await?;
    Ok(faults)
}

async fn create_dead_letter_topics(
    settings: &RunSettings,
    model: &Model,
    partitions: &BTreeMap<String, usize>,
    brokers: usize,
) -> Result<(), Fault> {
    let place = settings.kafka.brokers.clone();
    let fault = |why: String| {
        Fault::new(
            "could not create the dead-letter topics",
            &place,
            why,
            "Allow this user to create topics, or create them by hand with as many partitions as \
             their data topics.",
        )
    };
    let config = settings.kafka.admin_config("leafcutter-consumer-admin")?;
    let admin: AdminClient<LogContext> = config
        .create_with_context(LogContext)
        .map_err(|error| fault(explain(&error)))?;
    let options = AdminOptions::new().operation_timeout(Some(KAFKA_TIMEOUT));
    let wanted: Vec<_> = model
        .collections
        .iter()
        .filter(|c| !partitions.contains_key(&dead_letter_topic(&c.topic)))
        .collect();
    let mut described = Vec::new();
    for collection in &wanted {
        let limit = topic_limit(&admin, &options, &collection.topic).await + DEAD_LETTER_ROOM;
        let count = partitions.get(&collection.topic).copied().unwrap_or(1);
        described.push((
            dead_letter_topic(&collection.topic),
            count,
            limit.to_string(),
        ));
    }
    let replication = i32::try_from(brokers.clamp(1, 3)).unwrap_or(1);
    let topics: Vec<NewTopic<'_>> = described
        .iter()
        .map(|(name, count, limit)| {
            NewTopic::new(
                name,
                i32::try_from(*count).unwrap_or(1),
                TopicReplication::Fixed(replication),
            )
            .set("retention.ms", "-1")
            .set("cleanup.policy", "delete")
            .set("max.message.bytes", limit)
        })
        .collect();
    if topics.is_empty() {
        return Ok(());
    }
    let results = admin
        .create_topics(&topics, &options)
        .await
        .map_err(|error| fault(explain(&error)))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(fault(format!("{topic}: {code}"))),
        }
    }
    Ok(())
}

async fn topic_limit(admin: &AdminClient<LogContext>, options: &AdminOptions, topic: &str) -> u64 {
    let described = admin
        .describe_configs(&[ResourceSpecifier::Topic(topic)], options)
        .await;
    described
        .ok()
        .and_then(|results| results.into_iter().next()?.ok())
        .and_then(|resource| {
            resource
                .get("max.message.bytes")?
                .value
                .as_ref()?
                .parse()
                .ok()
        })
        .unwrap_or(LIMIT_DEFAULT)
}
