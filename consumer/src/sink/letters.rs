//! The index of dead letters, written in the transaction that moves past a record.

use super::{ApplyError, transaction::Transaction, work::Provenance};
use crate::{
    decode::{Prepared, Record},
    transform::TableId,
};
use leafcutter_schemas::{dead_letter::Reason, version::Version};

/// The row of the dead letters' index, written in the transaction that moves past the record.
pub(super) const LIST: &str = "\
    insert into leafcutter.dead_letters as d (topic, partition, \"offset\", table_name, row_key, \
    source_key, version, stage, reason, column_name, path, sqlstate, message, consumer_group, mapping) \
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
    on conflict (topic, partition, \"offset\") do update set state = 'open', \
    reason = excluded.reason, column_name = excluded.column_name, path = excluded.path, \
    sqlstate = excluded.sqlstate, message = excluded.message, stage = excluded.stage, \
    mapping = excluded.mapping, created_at = now() \
    where d.state = 'open' and (d.mapping, d.reason, d.column_name) is distinct from \
    (excluded.mapping, excluded.reason, excluded.column_name)";

/// Lists the refused records; whether there are any.
pub(super) async fn list_refused(
    t: &mut Transaction<'_>,
    records: &[Record],
) -> Result<bool, ApplyError> {
    let mut any = false;
    for record in records {
        let Prepared::Refused {
            reason,
            key,
            version,
        } = &record.prepared
        else {
            continue;
        };
        any = true;
        let delivery = &record.delivery;
        let provenance = Provenance {
            collection: delivery.collection,
            partition: delivery.partition,
            offset: delivery.offset,
            timestamp: delivery.timestamp,
        };
        let root = t.model.collections[delivery.collection].roots[0];
        list(
            t,
            (&provenance, root),
            reason,
            key.as_deref(),
            &delivery.key,
            *version,
        )
        .await?;
    }
    Ok(any)
}

pub(super) async fn list(
    t: &mut Transaction<'_>,
    (provenance, root): (&Provenance, TableId),
    reason: &Reason,
    row_key: Option<&[u8]>,
    record_key: &[u8],
    version: Option<Version>,
) -> Result<(), ApplyError> {
    let collection = &t.model.collections[provenance.collection];
    let table = &t.model.table(root).state_name;
    let source_key = String::from_utf8_lossy(record_key).replace('\0', "\u{fffd}");
    let statement = t.session.prepared(LIST).await?;
    t.session
        .client()
        .execute(
            &statement,
            &[
                &collection.topic,
                &provenance.partition,
                &provenance.offset,
                table,
                &row_key,
                &source_key,
                &version.map(Version::as_i64),
                &reason.stage.as_str(),
                &reason.code,
                &reason.column,
                &reason.path,
                &reason.sqlstate,
                &reason.message,
                &t.group,
                &t.model.mapping.hash,
            ],
        )
        .await?;
    Ok(())
}
