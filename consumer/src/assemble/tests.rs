//! What the assembler does without PostgreSQL.

use super::{Assembler, Limits};
use crate::{drift::SharedDrift, gate::Gate, source::event::Event};
use leafcutter_runtime::{admin::Health, budget::Budget};
use leafcutter_schemas::mapping::parse;
use leafcutter_sink::{
    change::{Delivery, RecordOrigin},
    connection::Connection,
    ids::{CollectionId, Generation, Partition},
    model::Model,
};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

const MAPPING: &str = "version: 1
database: d
collections:
  c: { table: t, key: id, columns: { id: { path: _id, type: bigint } } }
";

/// A batch without records is handed over to nobody, and would hold their bytes for ever.
#[test]
fn records_of_partitions_that_were_lost_hold_no_bytes() {
    let mapping = parse::load(MAPPING, "mapping.yaml").expect("a mapping");
    let model = Arc::new(Model::compile(mapping, "t").expect("a model"));
    let config = tokio_postgres::Config::new().into();
    let mapped = (Arc::clone(&model), Generation::NONE);
    let connection = Connection::new(config, "test", "group", "test", mapped);
    let (commands, _commands) = mpsc::channel();
    let limits = Limits {
        records: 10,
        bytes: 1_000,
    };
    let gate = Gate::new(Default::default());
    let drift = SharedDrift::new(model);
    let health = Health::new(Duration::from_secs(60));
    let mut assembler = Assembler::new(connection, gate, limits, commands, drift, &health, true);
    let budget = Budget::new(100);
    let permit = budget.try_acquire(100).expect("room");
    let partition = Partition {
        collection: CollectionId(0),
        number: 0,
    };
    let delivery = Delivery {
        origin: RecordOrigin {
            partition,
            offset: 7,
            timestamp: None,
        },
        key: Vec::new(),
        value: None,
        headers: Vec::new(),
    };
    let taken = assembler.event(Event::Deliveries(vec![delivery], permit));
    assert!(taken.is_ok());
    assert_eq!(budget.in_use(), 0);
}
