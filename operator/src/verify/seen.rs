//! Rows without a document: the keys of all rows that documents have go into a temporary table, and what
//! is in the application's table and not there is without one.
//!
//! The keys are PostgreSQL's to hold, so this program needs no memory for them. Only rows that Leafcutter
//! wrote count, and only those that are no newer than the start: a newer one has, or had, a document that
//! was written since. What is found goes among the suspects, since a delete may still be on its way.

use super::{
    case::RootKey,
    column_type::Kind,
    expected::cell::Cell,
    found::Raw,
    job::Job,
    suspects::{Matter, Suspect},
    target::Target,
    work::{Root, Work},
};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::{mapping::Table, version::Version};
use leafcutter_sink::names::{qualified, quote};
use std::{fmt::Write as _, sync::Arc};
use tokio::sync::mpsc;

/// Rows without a document that are looked at one by one; more of them are counted.
const LOOKED_AT: i64 = 10_000;

/// Takes the keys of one collection.
#[derive(Debug)]
pub struct Seen {
    job: Arc<Job>,
    work: usize,
    target: Target,
}

fn temporary(root: &Root) -> String {
    format!("pg_temp.lc_seen_{}", root.table)
}

fn key_types(table: &Table) -> Vec<(String, String)> {
    let columns = table.key.iter().map(|&position| {
        let column = &table.columns[position];
        (quote(&column.name), column.pg_type.staging_type())
    });
    columns.collect()
}

impl Seen {
    /// Makes the temporary tables.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn open(job: &Arc<Job>, work: usize) -> Result<Self, Failure> {
        let target = Target::open(&job.config)
            .await
            .map_err(|error| job.unreachable(&error))?;
        let mut seen = Self {
            job: Arc::clone(job),
            work,
            target,
        };
        let works = &job.works[work];
        for root in &works.roots {
            let columns = key_types(works.table(root.table));
            let columns = columns
                .iter()
                .enumerate()
                .map(|(n, (_, pg_type))| format!("k{n} {pg_type}"));
            let columns: Vec<String> = columns.collect();
            let sql = format!(
                "create temp table lc_seen_{} ({})",
                root.table,
                columns.join(", ")
            );
            let made = seen.target.session.batch(&sql).await;
            made.map_err(|error| job.refused("could not note which rows have a document", &error))?;
        }
        Ok(seen)
    }

    /// Takes keys until no more come.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn take(mut self, mut keys: mpsc::Receiver<Vec<RootKey>>) -> Result<Self, Failure> {
        while let Some(batch) = keys.recv().await {
            self.copy(&batch).await?;
        }
        Ok(self)
    }

    async fn copy(&mut self, keys: &[RootKey]) -> Result<(), Failure> {
        let job = Arc::clone(&self.job);
        let work = &job.works[self.work];
        for root in &work.roots {
            let table = work.table(root.table);
            let mut text = String::new();
            for (_, cells) in keys.iter().filter(|(of, _)| *of == root.table) {
                let fields: Vec<String> = cells
                    .iter()
                    .zip(&table.key)
                    .map(|(cell, &position)| {
                        let text = cell.text(Some(table.columns[position].pg_type));
                        text.map_or_else(|| "\\N".to_owned(), |text| escaped(&text))
                    })
                    .collect();
                writeln!(text, "{}", fields.join("\t")).unwrap_or_default();
            }
            if text.is_empty() {
                continue;
            }
            let copied = copy(&mut self.target, &temporary(root), text).await;
            copied.map_err(|error| {
                job.refused("could not note which rows have a document", &error)
            })?;
        }
        Ok(())
    }

    /// Looks for rows without a document, and puts them among the suspects.
    ///
    /// # Errors
    /// When PostgreSQL refuses or is lost.
    pub async fn look(mut self) -> Result<(), Failure> {
        let job = Arc::clone(&self.job);
        let work = &job.works[self.work];
        for root in &work.roots {
            let found = extra(&mut self.target, work, root, job.started).await;
            let found =
                found.map_err(|error| job.refused("could not look for extra rows", &error))?;
            let (rows, all) = found;
            job.board.count(self.work, |counts| {
                counts.more_extra +=
                    u64::try_from(all - i64::try_from(rows.len()).unwrap_or(all)).unwrap_or(0);
            });
            let suspects = rows.into_iter().map(|(key, version)| {
                Suspect::new(self.work, Matter::Row(root.table, key, version))
            });
            job.suspects.add(suspects);
        }
        Ok(())
    }
}

/// A field of COPY's text format.
fn escaped(text: &str) -> String {
    if !text.contains(['\\', '\n', '\r', '\t']) {
        return text.to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    text.replace('\r', "\\r").replace('\t', "\\t")
}

async fn copy(target: &mut Target, table: &str, text: String) -> Result<(), tokio_postgres::Error> {
    use futures_util::SinkExt as _;
    let sink = target
        .session
        .copy_in(&format!("copy {table} from stdin"))
        .await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(text.into_bytes().into()).await?;
    sink.as_mut().finish().await.map(drop)
}

type Found = (Vec<(Vec<Cell>, Version)>, i64);

/// The rows without a document, and how many there are in all.
async fn extra(
    target: &mut Target,
    work: &Work,
    root: &Root,
    started: Version,
) -> Result<Found, tokio_postgres::Error> {
    let table = work.table(root.table);
    let columns = key_types(table);
    let temporary = temporary(root);
    target
        .session
        .batch(&format!("analyze {temporary}"))
        .await?;
    let same = columns
        .iter()
        .enumerate()
        .map(|(n, (name, _))| format!("s.k{n} = x.{name}"));
    let mut conditions = vec![
        format!(
            "not exists (select 1 from {temporary} s where {})",
            same.collect::<Vec<_>>().join(" and ")
        ),
        "x.lc_version > 0 and x.lc_version <= $1".to_owned(),
    ];
    if let Some(column) = table.soft_delete {
        // The row of a document that was deleted stays.
        conditions.push(format!("x.{} is null", quote(&table.columns[column].name)));
    }
    if let Some(source) = &root.ownership.source {
        conditions.push(format!(
            "x.lc_source = {}",
            leafcutter_sink::names::literal(source)
        ));
    }
    let list: Vec<String> = columns
        .iter()
        .map(|(name, pg_type)| format!("x.{name}::{pg_type}"))
        .collect();
    let sql = format!(
        "select {}, x.lc_version, count(*) over () from {} x where {} order by 1 limit $2",
        list.join(", "),
        qualified(&table.name),
        conditions.join(" and ")
    );
    let rows = target
        .session
        .query(&sql, &[&started.as_i64(), &LOOKED_AT])
        .await?;
    let mut all = 0;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        all = row.get(columns.len() + 1);
        let version = Version::from_i64(row.get(columns.len())).unwrap_or(Version::ZERO);
        let cells = (0..columns.len()).map(|place| {
            let kind = Kind::of(row.columns()[place].type_())?;
            kind.read(row.get::<_, Option<Raw<'_>>>(place)?.0)
        });
        found.extend(
            cells
                .collect::<Option<Vec<Cell>>>()
                .map(|cells| (cells, version)),
        );
    }
    Ok((found, all))
}
