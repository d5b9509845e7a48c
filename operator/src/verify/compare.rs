//! A batch of documents against their rows.
//!
//! The same look is taken at every document, at the first reading and whenever it is looked at again: what
//! its rows should be, what they are, and where they differ, what of Leafcutter's state explains it. What
//! is left is a difference of this moment; whether it stands is for [`super::suspects`] to say.

use super::{
    case::{Case, Compared, Null, RootKey, key_text},
    difference::Kind,
    expected::{
        cell::Cell,
        rows::{Row, Rows},
    },
    explain,
    look_up::Known,
    select::{ByRoot, FoundRow},
    target::Target,
    work::{Root, Work},
};
use bson::RawDocumentBuf;
use leafcutter_schemas::version::Version;
use std::collections::HashMap;
use tokio_postgres::Error;

/// Looks at these documents of a collection.
///
/// # Errors
/// When PostgreSQL refuses or is lost.
pub async fn compare(
    target: &mut Target,
    work: &Work,
    documents: &[RawDocumentBuf],
) -> Result<Vec<Compared>, Error> {
    target.prepare(work).await?;
    let mut cases: Vec<Case<'_>> = documents
        .iter()
        .map(|document| Case::of(work, document))
        .collect();
    fill(target, work, &mut cases).await?;
    for root in &work.roots {
        compare_root(target, work, root, &mut cases).await?;
    }
    let explained = explain::explain(target, work, &mut cases).await?;
    Ok(cases
        .into_iter()
        .zip(explained)
        .map(|(case, state)| case.end(state))
        .collect())
}

/// The keys of the rows that these documents have, whatever is in them.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn keys(
    target: &mut Target,
    work: &Work,
    documents: &[RawDocumentBuf],
) -> Result<Vec<RootKey>, Error> {
    let mut cases: Vec<Case<'_>> = documents
        .iter()
        .map(|document| Case::of(work, document))
        .collect();
    fill(target, work, &mut cases).await?;
    Ok(cases.into_iter().flat_map(|case| case.seen).collect())
}

/// Puts in what only the state knows.
async fn fill(target: &mut Target, work: &Work, cases: &mut [Case<'_>]) -> Result<(), Error> {
    if work.looked_up.is_empty() && !work.roots.iter().any(|root| root.natural) {
        for case in cases.iter_mut() {
            see(work, case, None);
        }
        return Ok(());
    }
    let documents: Vec<(&str, Option<&Rows>)> = cases
        .iter()
        .filter_map(|case| Some((case.key.as_deref()?, case.rows.as_ref().ok())))
        .collect();
    let known = Known::of(target, work, &documents).await?;
    for case in cases.iter_mut() {
        if let (Some(key), Ok(rows)) = (&case.key, &mut case.rows) {
            known.fill(work, key, rows);
        }
        see(work, case, Some(&known));
    }
    Ok(())
}

/// Notes which rows are the document's, so that they are not taken for extra ones.
fn see(work: &Work, case: &mut Case<'_>, known: Option<&Known>) {
    let Some(document) = &case.key else { return };
    for root in &work.roots {
        let entry = known.and_then(|known| known.entry(&root.state_name, document));
        if root.natural && !entry.is_some_and(|entry| entry.owner) {
            // A number is remembered for a document that is not there, too.
            case.shared |= entry.is_some() && root.generated.is_none();
            continue;
        }
        let key = match &case.rows {
            Ok(rows) => rows.tables[root.table]
                .first()
                .map(|row| key_of(work, root, row)),
            Err(_) => work.plan.root_key(root.table, case.document),
        };
        if let Some(key) = key.filter(|key| !key.iter().any(Cell::is_open)) {
            case.seen.push((root.table, key));
        }
    }
}

fn key_of(work: &Work, root: &Root, row: &Row) -> Vec<Cell> {
    let key = &work.table(root.table).key;
    key.iter().map(|&position| row[position].clone()).collect()
}

fn key_hash(cells: &[Cell]) -> Vec<u8> {
    let mut key = Vec::new();
    cells.iter().for_each(|cell| cell.write_key(&mut key));
    key
}

async fn compare_root(
    target: &Target,
    work: &Work,
    root: &Root,
    cases: &mut [Case<'_>],
) -> Result<(), Error> {
    let keys: Vec<Vec<Cell>> = cases
        .iter()
        .filter_map(|case| match &case.rows {
            Ok(rows) => rows.tables[root.table]
                .first()
                .map(|row| key_of(work, root, row)),
            Err(_) => work.plan.root_key(root.table, case.document),
        })
        .filter(|key| !key.iter().any(Cell::is_open))
        .collect();
    let family: Vec<usize> = work.plan.family(root.table).collect();
    // All sent at once: the server answers one after the other, and nobody waits in between.
    let keys = keys.as_slice();
    let asked = family.iter().filter_map(|&table| {
        let select = target.select(work, table)?;
        Some(async move {
            let ownership = work.ownership(table);
            select
                .rows(target.session.client(), work.table(table), &ownership, keys)
                .await
        })
    });
    let found: Vec<ByRoot> = futures_util::future::try_join_all(asked).await?;
    for case in cases {
        let Ok(rows) = &case.rows else {
            let key = work.plan.root_key(root.table, case.document);
            let there = key.and_then(|key| found.first()?.get(&key_hash(&key))?.first().cloned());
            case.version = case
                .version
                .max(there.map_or(Version::ZERO, |row| row.version));
            continue;
        };
        let Some(expected) = rows.tables[root.table].first().cloned() else {
            continue;
        };
        let key = key_of(work, root, &expected);
        let hash = key_hash(&key);
        let row = found.first().and_then(|rows| rows.get(&hash)?.first());
        let row = row.filter(|row| is_own(row, case.key.as_deref()));
        let Some(row) = row else {
            case.differences
                .push(case.difference(work, Kind::MissingRow, root.table, &expected));
            case.missing.push((root.table, key));
            continue;
        };
        case.version = case.version.max(row.version);
        let before = case.differences.len();
        compare_row(target, work, root.table, row, &expected, case);
        case.same += u64::from(case.differences.len() == before);
        for (&table, rows) in family.iter().zip(&found).skip(1) {
            let found = rows.get(&hash).map_or(&[][..], Vec::as_slice);
            compare_children(target, work, table, found, case);
        }
    }
    Ok(())
}

/// Whether a row is this document's, where it says whose it is.
fn is_own(row: &FoundRow, document: Option<&str>) -> bool {
    let Some(stored) = &row.document else {
        return true;
    };
    stored.is_empty() || Some(stored.as_slice()) == document.map(str::as_bytes)
}

fn compare_row(
    target: &Target,
    work: &Work,
    table: usize,
    found: &FoundRow,
    expected: &Row,
    case: &mut Case<'_>,
) {
    let Some(select) = target.select(work, table) else {
        return;
    };
    let of = work.table(table);
    let differing = select.differing(of, found, expected);
    if differing.is_empty() {
        return;
    }
    let cells = select.cells(found);
    for column in differing {
        let pg_type = Some(of.columns[column].pg_type);
        let mut difference = case.difference(work, Kind::Value, table, expected);
        difference.column = Some(of.columns[column].name.clone());
        difference.source = expected[column].text(pg_type);
        difference.target = cells[column].text(pg_type);
        let reference = of.columns[column].reference.as_ref();
        if let (Some(_), Cell::Null, Some(parent)) = (reference, &cells[column], &difference.source)
        {
            case.nulls.push(Null {
                difference: case.differences.len(),
                table,
                column,
                parent: parent.clone(),
            });
        }
        case.differences.push(difference);
    }
}

fn compare_children(
    target: &Target,
    work: &Work,
    table: usize,
    found: &[FoundRow],
    case: &mut Case<'_>,
) {
    let (Some(select), Ok(rows)) = (target.select(work, table), &case.rows) else {
        return;
    };
    let of = work.table(table);
    let expected = rows.tables[table].clone();
    let mut by_key: HashMap<Vec<u8>, &FoundRow> = found
        .iter()
        .map(|row| (select.own_key(of, row), row))
        .collect();
    for row in &expected {
        let key: Vec<Cell> = of
            .key
            .iter()
            .map(|&position| row[position].clone())
            .collect();
        match by_key.remove(&key_hash(&key)) {
            None => case
                .differences
                .push(case.difference(work, Kind::MissingChild, table, row)),
            Some(found) => {
                let before = case.differences.len();
                compare_row(target, work, table, found, row, case);
                case.children += u64::from(case.differences.len() == before);
            }
        }
    }
    let mut extra: Vec<Vec<Cell>> = by_key.values().map(|row| select.cells(row)).collect();
    extra.sort_by_key(|row| key_text(work, table, row));
    for row in extra {
        case.differences
            .push(case.difference(work, Kind::ExtraChild, table, &row));
    }
}
