//! What the suites of the sink share: a database with the tables of a mapping, consumers on it,
//! batches of records made by hand, and a producer's word for where the topics end.

use leafcutter_harness::{
    record::{Made, heartbeat, snapshot_complete, version},
    stack::Stack,
    target::Target,
    world::own_name,
};
use leafcutter_runtime::secret::Secret;
use leafcutter_schemas::{control::Control, mapping::parse};
use leafcutter_sink::{
    batch::BatchWriter,
    change::{Delivery, Record, RecordOrigin},
    connection::Connection,
    decode,
    ids::{CollectionId, Generation, Partition},
    model::Model,
    orphan::ControlState,
    session::{self, Config, Session},
    settle::Settler,
    target,
    transform::Rows,
};
use std::{collections::BTreeMap, sync::Arc};

/// A database, which is dropped at the end.
pub(crate) struct Database {
    pub(crate) model: Arc<Model>,
    pub(crate) config: Config,
    _target: Target,
}

impl Database {
    /// One in which `before` was done before the tables of the mapping were added.
    pub(crate) async fn create(suite: &str, mapping: &str, before: &str) -> Self {
        Self::started(suite, mapping, before, START).await
    }

    /// One whose tables get their foreign keys when they are filled.
    pub(crate) async fn loading(suite: &str, mapping: &str) -> Self {
        let start = target::Start {
            defer: true,
            ..START
        };
        Self::started(suite, mapping, "", start).await
    }

    async fn started(suite: &str, mapping: &str, before: &str, start: target::Start<'_>) -> Self {
        let (stack, name) = (Stack::from_env().unwrap(), own_name(suite));
        let target = Target::create(stack, &name).await.unwrap();
        let uri = Secret::new(target.stack.postgres_uri.clone());
        let config = session::config(&uri).unwrap();
        let model = model(mapping);
        let mut session = Session::open(&config, "test").await.unwrap();
        session.batch(before).await.unwrap();
        target::migrate(&mut session, &model, start).await.unwrap();
        Self {
            model,
            config,
            _target: target,
        }
    }
}

/// Who makes the tables: a group of its own, so that the groups of the tests have no mapping in force, and
/// each test takes what mapping it likes.
pub(crate) const START: target::Start<'_> = target::Start {
    group: "of the tables",
    program: "test",
    create: true,
    defer: false,
};

/// What a mapping says.
pub(crate) fn model(mapping: &str) -> Arc<Model> {
    let mapping = parse::load(mapping, "mapping.yaml")
        .unwrap_or_else(|faults| panic!("{faults}\nin\n{mapping}"));
    Arc::new(Model::compile(mapping, "t").unwrap())
}

/// A consumer of a group: what applies its batches, and what settles.
pub(crate) fn consumer(
    config: &Config,
    name: &str,
    group: &str,
    model: &Arc<Model>,
) -> (BatchWriter, Settler) {
    let mapping = || (Arc::clone(model), Generation::NONE);
    let connection = || Connection::new(config.clone(), name, group, name, mapping());
    (BatchWriter::new(connection()), Settler::new(connection()))
}

/// A batch of these records, each the next one of its partition.
pub(crate) fn batch<'m>(
    model: &Model,
    next: &mut BTreeMap<Partition, i64>,
    records: impl IntoIterator<Item = (Partition, &'m Made)>,
) -> (Vec<Record>, Rows) {
    let (mut batch, mut rows) = (Vec::new(), Rows::default());
    for (partition, made) in records {
        let offset = next.get_mut(&partition).unwrap();
        let origin = RecordOrigin {
            partition,
            offset: *offset,
            timestamp: None,
        };
        *offset += 1;
        let prepared = decode::prepare(model, partition.collection, Some(&made.value), &mut rows);
        let delivery = Delivery {
            origin,
            key: made.key.as_str().as_bytes().to_vec(),
            value: Some(made.value.clone()),
            headers: Vec::new(),
        };
        batch.push(Record { delivery, prepared });
    }
    (batch, rows)
}

/// A producer says that all snapshots are complete, and that everything up to `time` is in the
/// topics, whose partitions end there.
pub(crate) fn told(
    model: &Model,
    time: i64,
    ends: impl Fn(CollectionId) -> Vec<i64>,
) -> ControlState {
    let (mut control, mut heartbeat) = (ControlState::default(), heartbeat(version(time)));
    for id in model.collection_ids() {
        let (collection, ends) = (model.collection(id), ends(id));
        let begun = vec![0; ends.len()];
        let complete = snapshot_complete(&collection.name, &collection.topic, begun);
        control.take(Control::SnapshotComplete(complete));
        heartbeat.offsets.insert(collection.topic.clone(), ends);
    }
    control.take(Control::Heartbeat(heartbeat));
    control
}
