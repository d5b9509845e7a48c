//! The breaker, in the words of the person who has to act.
//!
//! Too many records of a collection in a row that cannot be applied are rather a fault of the mapping or of
//! a table than of the data. The count is kept in PostgreSQL, so a restart finds the breaker open and stops
//! at once: a supervisor that restarts the program must not drain a topic into the dead letters.

use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, Faults},
};
use leafcutter_sink::{
    batch::Applied,
    change::{Prepared, Record},
    decode,
    ids::CollectionId,
    model::Model,
    state::breakers::BreakerRow,
};
use std::collections::HashMap;

/// The failures in a row of each collection, as far as this consumer knows. What counts is in PostgreSQL;
/// this keeps the refused records of one transaction below the limit.
#[derive(Debug)]
pub struct Breaker {
    limit: u32,
    failures: HashMap<CollectionId, i64>,
    /// Nothing that is to be written counts as written: it may wait.
    strict: bool,
}

impl Breaker {
    /// A breaker that opens after so many in a row; 0 never.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            failures: HashMap::new(),
            strict: false,
        }
    }

    /// How many of these records to apply in one transaction, so that the breaker opens in time.
    pub fn room(&self, records: &[Record]) -> usize {
        if self.limit == 0 {
            return records.len();
        }
        let mut failures = self.failures.clone();
        for (index, record) in records.iter().enumerate() {
            let failures = failures
                .entry(record.delivery.origin.partition.collection)
                .or_default();
            match &record.prepared {
                Prepared::Ignored => {}
                Prepared::Write { .. } if self.strict => {}
                Prepared::Write { .. } => *failures = 0,
                Prepared::Refused(_) if decode::is_delete(&record.delivery) => {}
                Prepared::Refused(_) => *failures += 1,
            }
            if *failures >= i64::from(self.limit) {
                return index + 1;
            }
        }
        records.len()
    }

    /// A transaction was taken back, since others have refused records meanwhile: this is where the collection
    /// stands.
    pub fn leave(&mut self, collection: CollectionId, failures: i64) {
        self.failures.insert(collection, failures);
        self.strict = true;
    }

    /// Takes in what PostgreSQL has counted; the breakers that are open.
    pub fn take(&mut self, applied: &Applied) -> Vec<BreakerRow> {
        self.strict = false;
        for partition in applied.counts.keys() {
            self.failures.remove(&partition.collection);
        }
        for (&collection, row) in &applied.failures {
            self.failures.insert(collection, row.failures);
        }
        let open = applied.failures.values().filter(|row| row.is_open());
        open.cloned().collect()
    }
}

/// The failure that says which breakers are open, why, and what to do.
pub fn failure(model: &Model, open: &[BreakerRow]) -> Failure {
    Failure {
        exit: Exit::Stopped,
        faults: Faults(open.iter().map(|row| fault(model, row)).collect()),
    }
}

fn fault(model: &Model, row: &BreakerRow) -> Fault {
    let collection = model.collection_of_topic(&row.topic);
    let collection = collection.map(|id| model.collection(id));
    let tables = collection.map(|collection| {
        let tables = collection.roots.iter();
        let tables = tables.map(|&root| format!("`{}`", model.table(root).table.name));
        tables.collect::<Vec<_>>().join(", ")
    });
    let place = match &tables {
        Some(tables) => format!("topic `{}`, written to {tables}", row.topic),
        None => format!("topic `{}`", row.topic),
    };
    let name = collection.map_or("", |collection| collection.name.as_str());
    Fault::new(
        "stopped applying records",
        place,
        format!(
            "{} records in a row could not be applied; the last one: {}",
            row.failures,
            row.reason.as_deref().unwrap_or("unknown")
        ),
        format!(
            "Look at `leafcutter dead-letters list`, and correct the mapping, the table or the data. Then \
             say `leafcutter resume {name}`, start the consumers again, and try the dead letters again \
             with `leafcutter dead-letters retry`. Until then every start stops here."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use leafcutter_schemas::{
        dead_letter::{Reason, Stage},
        version::Version,
    };
    use leafcutter_sink::{
        change::{Delivery, RecordOrigin, Refusal, SourceVersion},
        ids::Partition,
    };

    const COLLECTION: CollectionId = CollectionId(0);

    fn record(refused: bool) -> Record {
        let partition = Partition {
            collection: COLLECTION,
            number: 0,
        };
        let prepared = if refused {
            Prepared::Refused(Box::new(Refusal {
                reason: Reason::new(Stage::Transform, "wrong-type", "no"),
                key: None,
                version: None,
            }))
        } else {
            Prepared::Write {
                version: SourceVersion {
                    version: Version::ZERO,
                    as_of: Version::ZERO,
                    event: true,
                },
                changes: Vec::new(),
            }
        };
        Record {
            delivery: Delivery {
                origin: RecordOrigin {
                    partition,
                    offset: 0,
                    timestamp: None,
                },
                key: Vec::new(),
                value: Some(Vec::new()),
                headers: Vec::new(),
            },
            prepared,
        }
    }

    /// After a transaction was taken back, no more are refused at once than there is room for, whatever becomes
    /// of those between them.
    #[test]
    fn what_others_refused_leaves_less_room() {
        let mut breaker = Breaker::new(5);
        let records: Vec<Record> = [true, true, false, true, true, true].map(record).into();
        assert_eq!(breaker.room(&records), 6);
        breaker.leave(COLLECTION, 2);
        assert_eq!(breaker.room(&records), 4);
        breaker.take(&Applied::default());
        assert_eq!(breaker.room(&records[..4]), 4);
    }
}
