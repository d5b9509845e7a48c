//! What moved: documents, rows, dead letters and times, as both sides and the state know them.

use super::report::{CauseLine, CollectionLine, TableLine, Times};
use crate::{
    catalog::Catalog,
    figures::utc,
    verify::{report::Report as Compared, source::Source, work::Work},
};
use leafcutter_runtime::report::Failure;
use leafcutter_sink::{
    ids::{CollectionId, TableId},
    model::Model,
    names::{literal, qualified, quote},
    session::Session,
    state::{
        dead_letters::{self, Filter},
        offsets, schema,
    },
};
use std::collections::BTreeMap;
use tokio_postgres::Error;

/// The collections with their tables; the documents are not counted yet.
pub(super) async fn tables(
    session: &mut Session,
    model: &Model,
    moved_at: &BTreeMap<String, i64>,
) -> Result<Vec<CollectionLine>, Error> {
    let mut lines = Vec::new();
    for id in model.collection_ids() {
        let collection = model.collection(id);
        let mut tables = Vec::new();
        for &root in &collection.roots {
            tables.push(root_table(session, model, root).await?);
            for &child in &model.table(root).children {
                tables.push(child_table(session, model, child).await?);
            }
        }
        lines.push(CollectionLine {
            collection: format!("{}.{}", collection.database, collection.name),
            documents: None,
            documents_exact: false,
            tables,
            last_applied: moved_at.get(&collection.topic).copied().map(utc),
        });
    }
    Ok(lines)
}

/// Rows that Leafcutter has written have a version; those of an application that was there before have none.
async fn root_table(session: &mut Session, model: &Model, id: TableId) -> Result<TableLine, Error> {
    let entry = model.table(id);
    let mut ours = vec!["x.lc_version > 0".to_owned()];
    if let Some(column) = entry.table.soft_delete {
        let column = quote(&entry.table.columns[column].name);
        ours.push(format!("x.{column} is null"));
    }
    if entry.shared {
        let collection = model.collection(entry.collection);
        let source = format!("{}.{}", collection.database, collection.name);
        ours.push(format!("x.lc_source = {}", literal(&source)));
    }
    let sql = format!(
        "select count(*) filter (where {}), count(*) filter (where x.lc_version = 0) from {} x",
        ours.join(" and "),
        qualified(&entry.table.name)
    );
    let row = session.query_one(&sql, &[]).await?;
    Ok(TableLine {
        table: entry.table.name.to_string(),
        parent: None,
        rows: row.get(0),
        others: row.get(1),
    })
}

async fn child_table(
    session: &mut Session,
    model: &Model,
    id: TableId,
) -> Result<TableLine, Error> {
    let entry = model.table(id);
    let sql = format!("select count(*) from {}", qualified(&entry.table.name));
    let parent = entry.above.last().map(|&above| model.table(above));
    Ok(TableLine {
        table: entry.table.name.to_string(),
        parent: parent.map(|parent| parent.table.name.to_string()),
        rows: session.query_one(&sql, &[]).await?.get(0),
        others: 0,
    })
}

/// Adds the documents: as many as were compared, where all were, or about as many as there are.
///
/// # Errors
/// When the source cannot be asked.
pub(super) async fn documents(
    lines: &mut [CollectionLine],
    model: &Model,
    source: Option<&Source>,
    compared: Option<&Compared>,
) -> Result<(), Failure> {
    for (line, id) in lines.iter_mut().zip(0..) {
        let all = compared.and_then(|compared| {
            let mut parts = compared.collections.iter();
            parts.find(|part| part.collection == line.collection)
        });
        if let Some(part) = all {
            line.documents = Some(part.counts.documents);
            line.documents_exact = true;
        } else if let Some(source) = source {
            let work = Work::of(0, CollectionId(id), model);
            line.documents = Some(source.estimate(&work).await?);
        }
    }
    Ok(())
}

/// Dead letters that are open or given up, the most first.
pub(super) async fn causes(
    session: &mut Session,
    catalog: &Catalog,
) -> Result<Vec<CauseLine>, Error> {
    let mut lines = Vec::new();
    for state in ["open", "discarded"] {
        let filter = Filter {
            state: Some(state),
            ..Filter::default()
        };
        for cause in dead_letters::causes(session, &filter).await? {
            let example = cause.example;
            lines.push(CauseLine {
                state: example.state,
                collection: catalog.short(&example.topic).to_owned(),
                table: example.table,
                column: example.column.filter(|column| !column.is_empty()),
                reason: example.reason,
                sqlstate: example.sqlstate,
                dead_letters: cause.dead_letters,
                discard_reason: example.discard_reason,
            });
        }
    }
    Ok(lines)
}

/// When each topic moved last, and the times of the whole.
pub(super) async fn times(
    session: &mut Session,
    group: &str,
) -> Result<(BTreeMap<String, i64>, Times), Error> {
    let moved_at = offsets::moved_at(session, group).await?;
    let begun = schema::created_at(session).await?;
    let last = moved_at.values().copied().max();
    let times = Times {
        begun: begun.map(utc),
        last_applied: last.map(utc),
        seconds: begun
            .zip(last)
            .map(|(begun, last)| (last - begun).max(0) / 1000),
        waited_seconds: 0,
    };
    Ok((moved_at, times))
}
