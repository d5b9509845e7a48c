//! Documents that the source does not have any more: found, and deleted
//! (docs/decisions/reading-a-collection-again.md).
//!
//! It takes the `_id`s that the source has, and a time `S` that was taken before they were read; it deletes
//! what is stored below `S` and is not among them, at version `S`. Why that is right: what was not found was
//! missing at some moment at or after `S`, and whatever happened to it later has a higher version than `S`.
//! So the guard decides between this delete and every record, whichever comes first, as it does between a
//! record and a snapshot row ([P1] for what is not there).
//!
//! Keys go through a temporary table, so memory does not grow with the collection; the session that has the
//! table deletes nothing. What is deleted goes through the steps of a batch, on a connection of its own and
//! in transactions that pass no fence: they move no position, like the settling task's.
//!
//! [P1]: ../../../../docs/protocol.md

mod delete;

pub use delete::{Deleter, Swept};

use crate::{
    copy::CopyBuffer,
    decode,
    ids::{CollectionId, TableId},
    model::Model,
    session::Session,
    state::{dead_letters, held, key_map, parked, swept, tombstones},
};
use bson::RawDocument;
use leafcutter_schemas::version::Version;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio_postgres::Error;

/// A document that is stored and gone in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Its root table.
    pub root: TableId,
    /// Its key, as the guard knows it.
    pub key: Vec<u8>,
    /// The key of its row, where that is another one and known.
    pub row_key: Option<Vec<u8>>,
}

/// Looks for what is gone of one collection.
#[derive(Debug)]
pub struct Finder {
    session: Session,
    model: Arc<Model>,
    collection: CollectionId,
}

const COPY_SEEN: &str = "copy pg_temp.lc_seen (root, key) from stdin (format binary)";

impl Finder {
    /// Nothing is seen yet.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost; so for all of these.
    pub async fn new(
        session: Session,
        model: Arc<Model>,
        collection: CollectionId,
    ) -> Result<Self, Error> {
        session.client().batch_execute(swept::CREATE).await?;
        Ok(Self {
            session,
            model,
            collection,
        })
    }

    /// These documents (`{ _id: … }`) are there.
    ///
    /// # Errors
    /// As [`Finder::new`].
    pub async fn see<D: AsRef<RawDocument>>(&mut self, ids: &[D]) -> Result<(), Error> {
        let mut copy = CopyBuffer::new();
        for id in ids {
            for key in decode::keys(&self.model, self.collection, id.as_ref()) {
                copy.keyed(position(key.root), &key.key);
            }
        }
        if copy.count > 0 {
            copy.send(&mut self.session, COPY_SEEN).await?;
        }
        Ok(())
    }

    /// How many rows Leafcutter has written into the collection's root tables.
    ///
    /// # Errors
    /// As [`Finder::new`].
    pub async fn rows(&mut self) -> Result<i64, Error> {
        let mut rows: i64 = 0;
        for &root in &self.model.collection(self.collection).roots {
            let sql = &self.model.table(root).sql.count_written;
            rows += self.session.query_one(sql, &[]).await?.get::<_, i64>(0);
        }
        Ok(rows)
    }

    /// Finds what is stored below `time` and was not seen; gives how many documents.
    ///
    /// # Errors
    /// As [`Finder::new`].
    pub async fn find(&mut self, time: Version) -> Result<i64, Error> {
        let session = &mut self.session;
        session
            .batch("truncate pg_temp.lc_gone; analyze pg_temp.lc_seen")
            .await?;
        let below = time.as_i64();
        for &root in &self.model.collection(self.collection).roots {
            let entry = self.model.table(root);
            let place = (position(root), entry.state_name.as_str());
            if let Some(sql) = &entry.sql.gone {
                session.execute(sql, &[&place.0, &below]).await?;
                tombstones::take_known(session, place).await?;
            } else {
                // An entry without a row is a generated key's memory of a document that is gone.
                let owners = entry.table.generated_key().is_some();
                key_map::gone(session, place, time, owners).await?;
            }
            parked::gone(session, place, time).await?;
            dead_letters::gone(session, place, time).await?;
        }
        swept::order(session).await
    }

    /// Some of what was found, behind the first `after`.
    ///
    /// # Errors
    /// As [`Finder::new`].
    pub async fn some(&mut self, after: i64, most: i64) -> Result<Vec<Gone>, Error> {
        let sql = format!(
            "select root, key, row_key from {} where n > $1 and n <= $1 + $2 order by n",
            swept::DUE
        );
        let rows = self.session.client().query(&sql, &[&after, &most]).await?;
        let gone = |row: &tokio_postgres::Row| Gone {
            root: TableId(usize::try_from(row.get::<_, i32>(0)).unwrap_or_default()),
            key: row.get(1),
            row_key: row.get(2),
        };
        Ok(rows.iter().map(gone).collect())
    }
}

/// How many of these documents (`{ _id: … }`) were deleted and have a row that stays while others refer to it. Rows
/// whose keys do not follow from `_id` are not looked for.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn held<D: AsRef<RawDocument>>(
    session: &mut Session,
    model: &Model,
    collection: CollectionId,
    ids: &[D],
) -> Result<usize, Error> {
    let mut rows: BTreeMap<TableId, BTreeMap<Vec<u8>, usize>> = BTreeMap::new();
    for (document, id) in ids.iter().enumerate() {
        for key in decode::keys(model, collection, id.as_ref()) {
            rows.entry(key.root).or_default().insert(key.key, document);
        }
    }
    let mut found = BTreeSet::new();
    for (root, documents) in rows {
        let keys: Vec<&[u8]> = documents.keys().map(Vec::as_slice).collect();
        let held = held::of_keys(session, &model.table(root).state_name, &keys).await?;
        found.extend(held.keys().filter_map(|key| documents.get(key).copied()));
    }
    Ok(found.len())
}

/// A table's place in the mapping, as the temporary tables have it.
fn position(root: TableId) -> i32 {
    i32::try_from(root.0).unwrap_or(i32::MAX)
}
