//! Whether the database's own constraints tell what is in a row's way, or it has to be looked for first.

use crate::{
    model::Model,
    names::qualified,
    session::Session,
    state::deferred_constraints::{self, DeferredRow},
};
use leafcutter_schemas::mapping::OnMissing;

/// Whether the database has exactly the mapping's column types, a valid foreign key for every
/// reference that needs one, and a unique index for every unique key, so that a row in the way is an
/// error and not an oversight. Looked up once per session.
///
/// # Errors
/// When the server is lost.
pub(crate) async fn is_enforced(
    session: &mut Session,
    model: &Model,
) -> Result<bool, tokio_postgres::Error> {
    if let Some(enforced) = *session.enforced() {
        return Ok(enforced);
    }
    let enforced = look(session, model).await?;
    *session.enforced() = Some(enforced);
    Ok(enforced)
}

async fn look(session: &mut Session, model: &Model) -> Result<bool, tokio_postgres::Error> {
    const FOREIGN_KEY: &str = "\
        select exists (select 1 from pg_constraint c \
        join pg_attribute a on a.attrelid = c.conrelid and c.conkey = array[a.attnum] \
        where c.contype = 'f' and c.conrelid = $1::text::regclass \
        and c.confrelid = $2::text::regclass and a.attname = $3)";
    const UNIQUE: &str = "\
        select exists (select 1 from pg_index i where i.indrelid = $1::text::regclass \
        and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null \
        and (select array_agg(a.attname::text order by a.attname::text) from pg_attribute a \
        where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) = $2)";
    const TYPE: &str = "\
        select exists (select 1 from pg_attribute a join pg_type y on y.oid = a.atttypid \
        where a.attrelid = $1::text::regclass and a.attname = $2 and y.typname = $3)";
    // These hold by themselves ([`crate::write::loading`]).
    let deferred = deferred_constraints::rows(session).await?;
    for entry in &model.tables {
        let table = &entry.table;
        let name = qualified(&table.name);
        for column in &table.columns {
            let wanted = column.pg_type.catalogue_name();
            let row = session
                .query_one(TYPE, &[&name, &column.name, &wanted])
                .await?;
            if !row.get::<_, bool>(0) {
                return Ok(false);
            }
            let Some(reference) = &column.reference else {
                continue;
            };
            if reference.on_missing == OnMissing::Keep {
                continue;
            }
            let parent = qualified(&reference.table);
            let row = session
                .query_one(FOREIGN_KEY, &[&name, &parent, &column.name])
                .await?;
            let is_deferred = |row: &DeferredRow| {
                row.table == name
                    && row.columns == [column.name.as_str()]
                    && row
                        .parent
                        .as_ref()
                        .is_some_and(|(table, _)| *table == parent)
            };
            if !(row.get::<_, bool>(0) || deferred.iter().any(is_deferred)) {
                return Ok(false);
            }
        }
        for columns in &table.unique {
            let mut names: Vec<&str> = columns
                .iter()
                .map(|&c| table.columns[c].name.as_str())
                .collect();
            names.sort_unstable();
            let row = session.query_one(UNIQUE, &[&name, &names]).await?;
            if !row.get::<_, bool>(0) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
