//! One document on its way through a look: what its rows should be, and where they differ.

use super::{
    difference::{Difference, Kind, State},
    expected::{
        cell::Cell,
        key,
        rows::{Refusal, Rows},
    },
    work::Work,
};
use bson::{Bson, RawDocument, RawDocumentBuf};
use leafcutter_schemas::version::Version;
use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

/// A root table's position in the plan, and a key in it.
pub type RootKey = (usize, Vec<Cell>);

/// What a look at a document found.
#[derive(Debug)]
pub struct Compared {
    /// What became of it.
    pub state: State,
    /// Rows that are as they should be.
    pub rows: u64,
    /// Child rows that are.
    pub children: u64,
    /// The rows that are this document's, whatever is in them.
    pub seen: Vec<RootKey>,
    /// The same as long as neither side has changed.
    pub fingerprint: u64,
}

/// One document on its way through a look.
pub(super) struct Case<'d> {
    pub(super) document: &'d RawDocument,
    pub(super) key: Option<String>,
    pub(super) rows: Result<Rows, Refusal>,
    pub(super) differences: Vec<Difference>,
    /// The newest version of its rows.
    pub(super) version: Version,
    /// References that are null though they should not be: the position among the differences, and the
    /// parent that would have to be there.
    pub(super) nulls: Vec<Null>,
    /// Keys of rows that are missing.
    pub(super) missing: Vec<RootKey>,
    pub(super) same: u64,
    pub(super) children: u64,
    pub(super) seen: Vec<RootKey>,
    pub(super) shared: bool,
    pub(super) changes: DefaultHasher,
}

/// A reference that is null in its row.
pub(super) struct Null {
    pub(super) difference: usize,
    pub(super) table: usize,
    pub(super) column: usize,
    pub(super) parent: String,
}

impl<'d> Case<'d> {
    pub(super) fn of(work: &Work, document: &'d RawDocument) -> Self {
        let id = document.get("_id").ok().flatten();
        let mut changes = DefaultHasher::new();
        document.as_bytes().hash(&mut changes);
        Self {
            document,
            key: id.and_then(key::canonical),
            rows: work.plan.rows(document),
            differences: Vec::new(),
            version: Version::ZERO,
            nulls: Vec::new(),
            missing: Vec::new(),
            same: 0,
            children: 0,
            seen: Vec::new(),
            shared: false,
            changes,
        }
    }

    pub(super) fn end(mut self, state: State) -> Compared {
        self.version.hash(&mut self.changes);
        if let State::Differs(differences) = &state {
            differences.hash(&mut self.changes);
        }
        Compared {
            state,
            rows: self.same,
            children: self.children,
            seen: self.seen,
            fingerprint: self.changes.finish(),
        }
    }

    /// A difference of this document.
    pub(super) fn difference(
        &self,
        work: &Work,
        kind: Kind,
        table: usize,
        row: &[Cell],
    ) -> Difference {
        Difference {
            collection: work.full_name(),
            kind,
            id: id_text(self.document),
            table: work.table(table).name.to_string(),
            row: key_text(work, table, row),
            column: None,
            source: None,
            target: None,
        }
    }
}

/// A document's `_id`, as it is shown.
pub fn id_text(document: &RawDocument) -> Option<String> {
    let id = document.get("_id").ok()??;
    Some(Bson::try_from(id).ok()?.into_relaxed_extjson().to_string())
}

/// A document's `_id` in canonical Extended JSON, where that tells its type.
pub fn exact_id(document: &RawDocument) -> Option<String> {
    let id = Bson::try_from(document.get("_id").ok()??).ok()?;
    let text = id.into_canonical_extjson().to_string();
    text.starts_with(['{', '"']).then_some(text)
}

/// A row's key, as it is shown; the row has all columns, or those of the key alone.
pub fn key_text(work: &Work, table: usize, row: &[Cell]) -> String {
    let of = work.table(table);
    let whole = row.len() == of.columns.len();
    let cells = of.key.iter().enumerate().map(|(place, &position)| {
        let cell = row.get(if whole { position } else { place });
        let text = cell.and_then(|cell| cell.text(Some(of.columns[position].pg_type)));
        text.unwrap_or_else(|| "null".to_owned())
    });
    cells.collect::<Vec<_>>().join(", ")
}

/// The texts of parents that would have to be there, by where the references stand.
pub(super) fn parents(cases: &[Case<'_>]) -> HashMap<(usize, usize), HashSet<String>> {
    let mut wanted: HashMap<(usize, usize), HashSet<String>> = HashMap::new();
    for null in cases.iter().flat_map(|case| &case.nulls) {
        let texts = wanted.entry((null.table, null.column)).or_default();
        texts.insert(null.parent.clone());
    }
    wanted
}

/// Whether a document has any row at all, by the mapping's conditions.
pub(super) fn is_outside(rows: &Rows) -> bool {
    rows.tables.iter().all(Vec::is_empty)
}

/// A document's `_id` alone, for a look later.
pub fn id_of(document: &RawDocument) -> Option<RawDocumentBuf> {
    leafcutter_schemas::id::key_document(document)
}

/// The `_id` of a key of the state, where it can be told.
pub fn id_of_key(key: &str) -> Option<Bson> {
    let (kind, text) = key.split_once(':')?;
    Some(match kind {
        "objectId" => Bson::ObjectId(bson::oid::ObjectId::parse_str(text).ok()?),
        "string" => Bson::String(text.to_owned()),
        "number" => match text.parse::<i64>() {
            Ok(number) => Bson::Int64(number),
            Err(_) => Bson::Decimal128(text.parse().ok()?),
        },
        "bool" => Bson::Boolean(text.parse().ok()?),
        "date" => Bson::DateTime(bson::DateTime::from_millis(text.parse().ok()?)),
        "uuid" => Bson::from(bson::Uuid::parse_str(text).ok()?),
        _ => return None,
    })
}
