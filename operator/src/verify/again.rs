//! Looking again at what is in doubt, until nothing is.

use super::{
    case::{self, Compared, id_of, id_of_key, key_text},
    compare,
    difference::{Difference, Kind, State},
    expected::cell::Cell,
    job::Job,
    mend,
    suspects::{Decision, Look, Matter, Suspect},
    target::Target,
    work::{Root, Work},
};
use bson::RawDocumentBuf;
use leafcutter_runtime::report::Failure;
use leafcutter_schemas::version::Version;
use leafcutter_sink::{
    names::{qualified, quote},
    state::{held, key_map},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio_postgres::Error;

/// Looks until nothing is in doubt and nothing more can come, or until it is to stop.
///
/// # Errors
/// When a server refuses or is lost.
pub async fn settle(job: Arc<Job>) -> Result<(), Failure> {
    let mut target = Target::open(&job.config)
        .await
        .map_err(|error| job.unreachable(&error))?;
    while let Some(suspects) = job.suspects.take().await {
        if job.shutdown.is_triggered() {
            return Ok(());
        }
        let (documents, rows): (Vec<_>, Vec<_>) = suspects
            .into_iter()
            .partition(|suspect| matches!(suspect.matter, Matter::Document(_)));
        let mut again = Vec::new();
        if !documents.is_empty() {
            again.extend(Box::pin(look_at_documents(&job, &mut target, documents)).await?);
        }
        if !rows.is_empty() {
            again.extend(Box::pin(look_at_rows(&job, &mut target, rows)).await?);
        }
        job.suspects.give_back(again);
    }
    Ok(())
}

/// What is known before a look.
async fn known(job: &Job, work: &Work) -> (Version, Duration) {
    let covered = job.covered.lock().await;
    (covered.until(&work.topic), covered.still_for())
}

async fn look_at_documents(
    job: &Job,
    target: &mut Target,
    suspects: Vec<Suspect>,
) -> Result<Vec<Suspect>, Failure> {
    let Some(first) = suspects.first() else {
        return Ok(Vec::new());
    };
    let work = &job.works[first.work];
    let (covered, still_for) = known(job, work).await;
    let ids = suspects
        .iter()
        .filter_map(|suspect| suspect.matter.id())
        .collect();
    let documents = job.source.again(work, ids).await?;
    let now = job.source.now().await?;
    let compared = compare::compare(target, work, &documents).await;
    let compared =
        compared.map_err(|error| job.refused("could not compare documents again", &error))?;
    let mut found: HashMap<Vec<u8>, (RawDocumentBuf, Compared)> = HashMap::new();
    for (document, compared) in documents.into_iter().zip(compared) {
        if let Some(id) = id_of(&document) {
            found.insert(id.as_bytes().to_vec(), (document, compared));
        }
    }
    let mut again = Vec::new();
    for mut suspect in suspects {
        let Matter::Document(id) = &suspect.matter else {
            continue;
        };
        let Some((document, compared)) = found.remove(id.as_bytes()) else {
            job.board.count(work.index, |counts| counts.deleted += 1);
            continue;
        };
        let rows = (compared.rows, compared.children);
        if !matches!(compared.state, State::Differs(_)) {
            job.board.end(work.index, &compared.state, rows);
            continue;
        }
        let decision = suspect.seen(&Look {
            fingerprint: compared.fingerprint,
            now,
            covered,
            still_for,
            patience: job.patience,
        });
        match decision {
            Decision::Again => again.push(suspect),
            Decision::Restless => job.board.count(work.index, |counts| counts.changing += 1),
            Decision::Stands | Decision::Unproven => {
                if decision == Decision::Unproven {
                    job.board.unproven();
                }
                if let Some(id) = case::exact_id(&document) {
                    job.board.to_repair(work.index, id);
                }
                if let (true, State::Differs(differences)) =
                    (job.board.wants_sql(), &compared.state)
                {
                    job.board.sql(&mend::document(work, &document, differences));
                }
                job.board.end(work.index, &compared.state, rows);
            }
        }
    }
    Ok(again)
}

/// What a row without a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// It is gone, or newer than the start.
    Gone,
    /// It is kept, and other rows refer to it.
    Kept,
    /// It is kept, and none does.
    KeptForNothing,
    /// Its document is there, and has another reason not to be in it.
    Explained,
    /// It cannot be told whose it is.
    Unknown,
    /// Nothing explains it.
    Extra,
}

async fn look_at_rows(
    job: &Job,
    target: &mut Target,
    suspects: Vec<Suspect>,
) -> Result<Vec<Suspect>, Failure> {
    let Some(first) = suspects.first() else {
        return Ok(Vec::new());
    };
    let work = &job.works[first.work];
    let (covered, still_for) = known(job, work).await;
    let now = job.source.now().await?;
    let judged = judge(job, target, work, &suspects).await?;
    let mut again = Vec::new();
    for (mut suspect, row) in suspects.into_iter().zip(judged) {
        let (Matter::Row(table, key, version), Some(root)) =
            (&suspect.matter, root_of(work, &suspect))
        else {
            continue;
        };
        match row {
            Row::Gone => continue,
            Row::Kept => {
                job.board.count(work.index, |counts| counts.kept += 1);
                continue;
            }
            Row::Explained => continue,
            Row::Unknown => {
                job.board.count(work.index, |counts| counts.unknown += 1);
                continue;
            }
            Row::KeptForNothing | Row::Extra => {}
        }
        let kind = if row == Row::Extra {
            Kind::ExtraRow
        } else {
            Kind::Held
        };
        let difference = Difference {
            collection: work.full_name(),
            kind,
            id: None,
            table: work.table(*table).name.to_string(),
            row: key_text(work, *table, key),
            column: None,
            source: None,
            target: None,
        };
        let statement = mend::row(work, root, key);
        let (fingerprint, index) = (u64::try_from(version.as_i64()).unwrap_or(0), work.index);
        let decision = suspect.seen(&Look {
            fingerprint: fingerprint ^ u64::from(row == Row::Extra),
            now,
            covered,
            still_for,
            patience: job.patience,
        });
        match decision {
            Decision::Again => again.push(suspect),
            Decision::Restless => job.board.count(index, |counts| counts.changing += 1),
            Decision::Stands | Decision::Unproven => {
                if decision == Decision::Unproven {
                    job.board.unproven();
                }
                job.board.sql(&statement);
                job.board.add(index, &[difference]);
            }
        }
    }
    Ok(again)
}

fn root_of<'w>(work: &'w Work, suspect: &Suspect) -> Option<&'w Root> {
    let Matter::Row(table, ..) = &suspect.matter else {
        return None;
    };
    work.roots.iter().find(|root| root.table == *table)
}

async fn judge(
    job: &Job,
    target: &mut Target,
    work: &Work,
    suspects: &[Suspect],
) -> Result<Vec<Row>, Failure> {
    let mut judged = vec![Row::Gone; suspects.len()];
    for root in &work.roots {
        let of_root =
            suspects
                .iter()
                .enumerate()
                .filter_map(|(place, suspect)| match &suspect.matter {
                    Matter::Row(table, key, version) if *table == root.table => {
                        Some((place, key, *version))
                    }
                    _ => None,
                });
        let of_root: Vec<(usize, &Vec<Cell>, Version)> = of_root.collect();
        if of_root.is_empty() {
            continue;
        }
        let keys: Vec<Vec<Cell>> = of_root.iter().map(|(_, key, _)| (*key).clone()).collect();
        let rows = judge_root(job, target, work, root, &keys).await?;
        for ((place, _, version), (row, now)) in of_root.iter().zip(rows) {
            judged[*place] = if now == Some(*version) {
                row
            } else {
                Row::Gone
            };
        }
    }
    Ok(judged)
}

/// What each of these rows is, with its version.
async fn judge_root(
    job: &Job,
    target: &mut Target,
    work: &Work,
    root: &Root,
    keys: &[Vec<Cell>],
) -> Result<Vec<(Row, Option<Version>)>, Failure> {
    let refused = |error: Error| job.refused("could not look at extra rows again", &error);
    target.prepare(work).await.map_err(refused)?;
    let table = work.table(root.table);
    let Some(select) = target.select(work, root.table) else {
        return Ok(Vec::new());
    };
    let found = select
        .rows(target.session.client(), table, &root.ownership, keys)
        .await;
    let found = found.map_err(refused)?;
    let bytes = target.key_bytes(table, keys).await.map_err(refused)?;
    let mut documents: Vec<Option<Vec<u8>>> = vec![None; keys.len()];
    if root.natural {
        let asked: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let nobody = BTreeSet::new();
        let entries = key_map::of_rows(
            &mut target.session,
            &root.state_name,
            &asked,
            &nobody,
            false,
        );
        for entry in entries.await.map_err(refused)? {
            if let Some(place) = bytes.iter().position(|bytes| *bytes == entry.row_key) {
                documents[place] = Some(entry.source);
            }
        }
    }
    let mut state_keys = bytes;
    let mut versions = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        let mut hash = Vec::new();
        key.iter().for_each(|cell| cell.write_key(&mut hash));
        let row = found.get(&hash).and_then(|rows| rows.first());
        versions.push(row.map(|row| row.version));
        if let Some(document) = row.and_then(|row| row.document.clone()) {
            // A zero byte stands before the document of a row that is free.
            let document = document
                .strip_prefix(&[0])
                .map(<[u8]>::to_vec)
                .unwrap_or(document);
            documents[place] = Some(document);
        }
        if let Some(document) = &documents[place] {
            state_keys[place].clone_from(document);
        }
    }
    let asked: Vec<&[u8]> = state_keys.iter().map(Vec::as_slice).collect();
    let kept = held::of_keys(&mut target.session, &root.state_name, &asked)
        .await
        .map_err(refused)?;
    let referred = referred(target, work, root, keys).await.map_err(refused)?;
    let there = documents_there(job, work, &documents).await?;
    let rows = (0..keys.len()).map(|place| {
        let row = match (kept.contains_key(&state_keys[place]), &documents[place]) {
            (true, _) if referred[place] => Row::Kept,
            (true, _) => Row::KeptForNothing,
            (false, Some(document)) if there.contains(document) => Row::Explained,
            (false, Some(document)) if text_of(document).is_none() => Row::Unknown,
            (false, _) => Row::Extra,
        };
        (row, versions[place])
    });
    Ok(rows.collect())
}

/// The `_id` of a document's key, where it can be told.
fn text_of(document: &[u8]) -> Option<bson::Bson> {
    std::str::from_utf8(document).ok().and_then(id_of_key)
}

/// Those of these documents that are in the source.
async fn documents_there(
    job: &Job,
    work: &Work,
    documents: &[Option<Vec<u8>>],
) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let ids: Vec<_> = documents
        .iter()
        .flatten()
        .filter_map(|key| text_of(key))
        .collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let found = job.source.again(work, ids).await?;
    let keys = found.iter().filter_map(|document| {
        let id = document.get("_id").ok()??;
        super::expected::key::canonical(id).map(String::into_bytes)
    });
    Ok(keys.collect())
}

/// Which of these rows others refer to.
async fn referred(
    target: &mut Target,
    work: &Work,
    root: &Root,
    keys: &[Vec<Cell>],
) -> Result<Vec<bool>, Error> {
    let table = work.table(root.table);
    let [key] = table.key.as_slice() else {
        // References point to keys of one column.
        return Ok(vec![false; keys.len()]);
    };
    let pg_type = table.columns[*key].pg_type;
    let texts: Vec<Option<String>> = keys
        .iter()
        .map(|key| key.first().and_then(|cell| cell.text(Some(pg_type))))
        .collect();
    let mut referred = vec![false; keys.len()];
    for (referrer, column) in &root.referrers {
        let sql = format!(
            "select n from unnest($1::text[]) with ordinality as k(t, n) where exists \
             (select 1 from {} x where x.{} = k.t::{})",
            qualified(referrer),
            quote(column),
            pg_type.staging_type()
        );
        for row in target.session.query(&sql, &[&texts]).await? {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            if let Some(referred) = referred.get_mut(place) {
                *referred = true;
            }
        }
    }
    Ok(referred)
}
