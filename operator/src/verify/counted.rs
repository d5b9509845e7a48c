//! `--counts-only`: how many documents and how many rows, and what Leafcutter's state says of the rest.

use super::{job::Job, target::Target, work::Work};
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::mapping::condition::Filter;
use leafcutter_sink::{
    names::{literal, qualified, quote},
    state::{dead_letters, held, parked},
};
use serde::Serialize;

/// The counts of a collection.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// The collection.
    pub collection: String,
    /// Its documents.
    pub documents: u64,
    /// The rows of its root tables, and how many of its child tables.
    pub rows: u64,
    /// Rows of its child tables.
    pub children: u64,
    /// Dead letters that are open or were discarded.
    pub rejected: u64,
    /// Documents that wait.
    pub waiting: u64,
    /// Rows that are kept for references.
    pub kept: u64,
    /// Conditions leave documents out, or several are one row, so that both sides need not be equal.
    pub inexact: bool,
}

impl Counted {
    /// Whether the counts fit each other.
    pub fn fits(&self) -> bool {
        let there = self.rows.saturating_sub(self.kept);
        self.inexact
            || (there <= self.documents && there + self.rejected + self.waiting >= self.documents)
    }
}

/// Counts both sides of every collection.
///
/// # Errors
/// When a server refuses or is lost.
pub async fn count(job: &Job) -> Result<Vec<Counted>, Failure> {
    let mut target = Target::open(&job.config)
        .await
        .map_err(|error| job.unreachable(&error))?;
    let mut all = Vec::new();
    for work in &job.works {
        let documents = job.source.count(work).await?;
        let counted = rows(&mut target, work).await;
        let mut counted = counted.map_err(|error| job.refused("could not count rows", &error))?;
        counted.documents = documents;
        all.push(counted);
    }
    Ok(all)
}

async fn rows(target: &mut Target, work: &Work) -> Result<Counted, tokio_postgres::Error> {
    let (mut rows, mut children) = (0, 0);
    for plan in &work.plan.tables {
        let table = &plan.table;
        let mut conditions = vec!["true".to_owned()];
        if plan.parent.is_none() {
            conditions.push("lc_version > 0".to_owned());
        }
        if let Some(column) = table.soft_delete {
            conditions.push(format!("{} is null", quote(&table.columns[column].name)));
        }
        if let Some(source) = work
            .ownership(plan.root)
            .source
            .filter(|_| plan.parent.is_none())
        {
            conditions.push(format!("lc_source = {}", literal(&source)));
        }
        let sql = format!(
            "select count(*) from {} where {}",
            qualified(&table.name),
            conditions.join(" and ")
        );
        let count = number(target.session.query_one(&sql, &[]).await?.get(0));
        if plan.parent.is_none() {
            rows += count;
        } else {
            children += count;
        }
    }
    let letters =
        dead_letters::count_by_reason(&mut target.session, &["open", "discarded"]).await?;
    let rejected = letters.iter().filter(|letters| letters.topic == work.topic);
    let waiting = parked::count(&mut target.session).await?;
    let waiting = waiting
        .iter()
        .filter(|waiting| waiting.topic == work.topic && !waiting.orphan);
    let held = held::count(&mut target.session).await?;
    let names: Vec<&str> = work
        .roots
        .iter()
        .map(|root| root.state_name.as_str())
        .collect();
    let held = held
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()));
    let all = Filter::default();
    let left_out = work
        .roots
        .iter()
        .any(|root| work.table(root.table).filter != all);
    Ok(Counted {
        collection: work.full_name(),
        documents: 0,
        rows,
        children,
        rejected: rejected.map(|letters| number(letters.dead_letters)).sum(),
        waiting: waiting.map(|waiting| number(waiting.documents)).sum(),
        kept: held.map(|(_, count)| number(*count)).sum(),
        inexact: left_out || work.roots.len() > 1 || work.roots.iter().any(|root| root.natural),
    })
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
