//! A delivery becomes a prepared record: decoded, and its document turned into rows.
//!
//! Everything that can be decided without the database is decided here. What cannot be decoded or
//! does not fit its columns is definite, and becomes a refused record; it never stops the batch.

use crate::{
    change::{ChangeKey, Delivery, Mutation, Prepared, Refusal, SourceVersion, TableChange},
    ids::CollectionId,
    model::Model,
    transform::{Made, Plan, Rows, TablePlan, Watch},
};
use bson::RawDocument;
use leafcutter_schemas::{
    codec::avro,
    dead_letter::{Reason, Stage},
    key::DocumentKey,
    operation::Operation,
    version::Version,
};

fn malformed(message: impl Into<String>) -> Reason {
    Reason::new(Stage::Decode, "malformed", message)
}

/// The bytes of a document's own key.
fn document_key(id: &RawDocument) -> Result<Vec<u8>, Reason> {
    let key = DocumentKey::of_document(id);
    let key = key.ok_or_else(|| malformed("the document key has no `_id`"))?;
    Ok(key.as_str().as_bytes().to_vec())
}

/// Prepares the record whose value is `value`; rows are appended to `rows`.
pub fn prepare(
    model: &Model,
    collection: CollectionId,
    value: Option<&[u8]>,
    rows: &mut Rows,
) -> Prepared {
    prepare_watched(model, collection, value, rows, &mut ())
}

/// The same, and tells what values lose on their way into their columns.
pub fn prepare_watched<W: Watch>(
    model: &Model,
    collection: CollectionId,
    value: Option<&[u8]>,
    rows: &mut Rows,
    watch: &mut W,
) -> Prepared {
    let Some(value) = value else {
        return Prepared::Ignored;
    };
    let envelope = match avro::decode(value) {
        Ok(envelope) => envelope,
        Err(error) => return refused(malformed(error.to_string()), None, None),
    };
    let plan = &model.collection(collection).plan;
    let version = SourceVersion {
        version: envelope.version,
        as_of: envelope.as_of.max(envelope.version),
        event: !envelope.source.snapshot,
    };
    let id = RawDocument::from_bytes(envelope.key)
        .map_err(|error| malformed(format!("the document key is no BSON: {error}")));
    let document = Document { model, plan, id };
    let changes = match (envelope.operation, envelope.document) {
        (Operation::Delete, _) => document.gone(),
        (operation, None) => Err(malformed(format!(
            "operation {operation} without a document"
        ))),
        (_, Some(bytes)) => RawDocument::from_bytes(bytes)
            .map_err(|error| malformed(format!("the document is no BSON: {error}")))
            .and_then(|whole| plan.transform_watched(whole, rows, watch))
            .and_then(|made| document.changes(made, rows)),
    };
    match changes {
        Ok(changes) => Prepared::Write { version, changes },
        Err(reason) => {
            // A dead letter is listed under the row of the first table.
            refused(reason, document.first_key(), Some(version.version))
        }
    }
}

/// Whose the rows of the document with this `{ _id: … }` are, in each root table that can have one.
pub fn keys(model: &Model, collection: CollectionId, id: &RawDocument) -> Vec<ChangeKey> {
    let plan = &model.collection(collection).plan;
    let document = Document {
        model,
        plan,
        id: Ok(id),
    };
    let keys = plan.roots().map(|table| document.key(table));
    keys.filter_map(|key| key.ok().flatten()).collect()
}

/// Whether a delivery says that its document was deleted.
pub fn is_delete(delivery: &Delivery) -> bool {
    let envelope = delivery.value.as_deref().map(avro::decode);
    matches!(envelope, Some(Ok(envelope)) if envelope.operation == Operation::Delete)
}

fn refused(reason: Reason, key: Option<ChangeKey>, version: Option<Version>) -> Prepared {
    Prepared::Refused(Box::new(Refusal {
        reason,
        key,
        version,
    }))
}

/// A record's document, of which the `_id` is known, if that can be read.
struct Document<'a> {
    model: &'a Model,
    plan: &'a Plan,
    id: Result<&'a RawDocument, Reason>,
}

impl Document<'_> {
    /// The document's own key.
    fn own_key(&self) -> Result<Vec<u8>, Reason> {
        document_key(self.id.clone()?)
    }

    /// Whose the document's row in a table is, told by its `_id`; none where no document with this `_id`
    /// can have a row there.
    fn key(&self, table: &TablePlan) -> Result<Option<ChangeKey>, Reason> {
        let entry = self.model.table(table.id);
        let root = table.id;
        if entry.natural_key {
            let (key, row_key) = (self.own_key()?, None);
            return Ok(Some(ChangeKey { root, key, row_key }));
        }
        // What cannot be a key never was one.
        let Ok(key) = self.plan.root_key(table, self.id.clone()?) else {
            return Ok(None);
        };
        let (key, row_key) = if entry.keeps_document {
            (self.own_key()?, Some(key))
        } else {
            (key, None)
        };
        Ok(Some(ChangeKey { root, key, row_key }))
    }

    /// Whose it is in the first table that can have a row of it.
    fn first_key(&self) -> Option<ChangeKey> {
        let mut tables = self.plan.roots();
        tables.find_map(|table| self.key(table).ok().flatten())
    }

    /// The document has no row in a table.
    fn leaves(&self, table: &TablePlan, filtered: bool) -> Result<Option<TableChange>, Reason> {
        let change = |ChangeKey { root, key, row_key }| TableChange {
            root,
            key,
            row_key,
            mutation: Mutation::Delete { filtered },
        };
        Ok(self.key(table)?.map(change))
    }

    /// The document is gone: so are its rows in every table.
    fn gone(&self) -> Result<Vec<TableChange>, Reason> {
        let mut changes = Vec::with_capacity(self.plan.roots().len());
        for table in self.plan.roots() {
            changes.extend(self.leaves(table, false)?);
        }
        Ok(changes)
    }

    /// The document became these rows.
    fn changes(&self, made: Vec<Made>, rows: &Rows) -> Result<Vec<TableChange>, Reason> {
        let change = |(table, (root, made)): (&TablePlan, Made)| {
            let Some(range) = made else {
                return self.leaves(table, true);
            };
            let entry = self.model.table(root);
            let row_key = rows.key(range.root()).to_vec();
            let (key, row_key) = if entry.natural_key {
                (self.own_key()?, None)
            } else if entry.keeps_document {
                (self.own_key()?, Some(row_key))
            } else {
                (row_key, None)
            };
            Ok(Some(TableChange {
                root,
                key,
                row_key,
                mutation: Mutation::Upsert(range),
            }))
        };
        // Collected, a vector of one would have room for four, and a batch is thousands of these.
        let mut changes = Vec::with_capacity(made.len());
        for made in self.plan.roots().zip(made) {
            changes.extend(change(made)?);
        }
        Ok(changes)
    }
}
