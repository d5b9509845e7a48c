//! What explains that a document's rows are not what they should be: it was refused, it waits, its row
//! went with its parent, its key is another document's.

use super::{
    case::{Case, is_outside, parents},
    difference::{Kind, State},
    target::Target,
    work::Work,
};
use leafcutter_schemas::mapping::{OnDelete, OnMissing};
use leafcutter_schemas::version::Version;
use leafcutter_sink::state::{
    cascaded_rows,
    dead_letters::{self, DocumentLetter},
    parked::{self, ParkedDocument},
};
use std::collections::{HashMap, HashSet};
use tokio_postgres::Error;

/// What became of each of these documents.
pub(super) async fn explain(
    target: &mut Target,
    work: &Work,
    cases: &mut [Case<'_>],
) -> Result<Vec<State>, Error> {
    forget_nulls(target, work, cases).await?;
    let in_doubt = |case: &Case<'_>| case.rows.is_err() || !case.differences.is_empty();
    let keys: Vec<String> = cases
        .iter()
        .filter(|case| in_doubt(case))
        .filter_map(|case| case.key.clone())
        .collect();
    let (mut letters, mut waiting) = (HashMap::new(), HashMap::new());
    if !keys.is_empty() {
        let found = dead_letters::of_documents(&mut target.session, &work.topic, &keys).await?;
        for letter in found {
            let newest = letters
                .entry(letter.document_key.clone())
                .or_insert_with(|| letter.clone());
            if newest.version < letter.version {
                *newest = letter;
            }
        }
        let keys: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let found = parked::of_documents(&mut target.session, &work.topic, &keys).await?;
        waiting.extend(
            found
                .into_iter()
                .map(|parked| (parked.record_key.clone(), parked)),
        );
    }
    let cascaded = cascaded(target, work, cases).await?;
    let states = cases.iter_mut().enumerate().map(|(number, case)| {
        let key = case.key.clone().unwrap_or_default();
        let letter = letters.get(&key);
        let parked = waiting.get(key.as_bytes());
        state(work, case, letter, parked, cascaded.contains(&number))
    });
    Ok(states.collect())
}

fn state(
    work: &Work,
    case: &mut Case<'_>,
    letter: Option<&DocumentLetter>,
    parked: Option<&ParkedDocument>,
    cascaded: bool,
) -> State {
    if case.key.is_none() {
        return State::Unreadable;
    }
    match &case.rows {
        Ok(rows) if is_outside(rows) => return State::Outside,
        Ok(_) if case.differences.is_empty() => return State::Same,
        _ => {}
    }
    let only_children = case.rows.is_ok()
        && case
            .differences
            .iter()
            .all(|d| d.kind == Kind::MissingChild);
    if let Some(parked) = parked.filter(|parked| parked.state == "waiting") {
        let newer = Version::from_i64(parked.version) > Some(case.version);
        if (newer && !parked.incomplete) || only_children {
            return State::Waiting;
        }
    }
    if let Some(letter) = letter {
        let explains = letter.version.is_none_or(|version| {
            version > case.version || (only_children && version == case.version)
        });
        // What the transform refuses has to be refused here as well, or one of both is wrong.
        let agreed =
            letter.stage != "transform" || case.rows.is_err() || letter.mapping != work.hash;
        if explains && agreed {
            let given_up = if letter.discarded { ", discarded" } else { "" };
            return State::Rejected(format!("{}{given_up}", letter.reason));
        }
        if explains {
            let mut refused = case.differences.clone();
            refused.truncate(1);
            for difference in &mut refused {
                difference.kind = Kind::Refused;
                difference.column.clone_from(&letter.column);
                difference.target = Some(format!("dead letter: {}", letter.reason));
            }
            return State::Differs(refused);
        }
    }
    if case.shared {
        return State::Shared;
    }
    if cascaded {
        return State::Cascaded;
    }
    if let Err(refusal) = &case.rows {
        let column = refusal
            .column
            .map(|column| work.table(refusal.table).columns[column].name.clone());
        let mut difference = case.difference(work, Kind::NotRefused, refusal.table, &[]);
        difference.row = String::new();
        difference.column = column;
        difference.source = Some(format!("dead letter: {}", refusal.reason));
        case.differences.push(difference);
    }
    State::Differs(std::mem::take(&mut case.differences))
}

/// A reference is null by right where its parent is not there and the mapping says so.
async fn forget_nulls(
    target: &mut Target,
    work: &Work,
    cases: &mut [Case<'_>],
) -> Result<(), Error> {
    let mut there: HashMap<(usize, usize), HashSet<String>> = HashMap::new();
    for ((table, column), texts) in parents(cases) {
        let of = &work.table(table).columns[column];
        let Some(reference) = &of.reference else {
            continue;
        };
        let nulls =
            reference.on_missing == OnMissing::Null || reference.on_delete == OnDelete::SetNull;
        if nulls {
            let texts: Vec<String> = texts.into_iter().collect();
            let found = target
                .there(&reference.table, &reference.column, of.pg_type, &texts)
                .await?;
            there.insert((table, column), found);
        }
    }
    for case in cases {
        let by_right: HashSet<usize> = case
            .nulls
            .iter()
            .filter(|null| {
                let there = there.get(&(null.table, null.column));
                there.is_some_and(|there| !there.contains(&null.parent))
            })
            .map(|null| null.difference)
            .collect();
        let mut number = 0;
        case.differences.retain(|_| {
            number += 1;
            !by_right.contains(&(number - 1))
        });
    }
    Ok(())
}

/// The documents whose missing rows went with their parents.
async fn cascaded(
    target: &mut Target,
    work: &Work,
    cases: &[Case<'_>],
) -> Result<HashSet<usize>, Error> {
    let mut found = HashSet::new();
    for root in &work.roots {
        let goes = work.plan.family(root.table).any(|table| {
            let columns = work.table(table).columns.iter();
            let mut references = columns.filter_map(|column| column.reference.as_ref());
            references.any(|reference| reference.on_delete == OnDelete::Cascade)
        });
        if !goes {
            continue;
        }
        let by_document = root.natural || root.ownership.keeps_document;
        let (mut numbers, mut keys, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for (number, case) in cases.iter().enumerate() {
            let gone = case
                .differences
                .iter()
                .all(|d| matches!(d.kind, Kind::MissingRow | Kind::MissingChild));
            let (Some(key), Ok(rows)) = (&case.key, &case.rows) else {
                continue;
            };
            let Some(row) = rows.tables[root.table].first() else {
                continue;
            };
            if case.differences.is_empty() || !gone {
                continue;
            }
            numbers.push(number);
            keys.push(key.as_bytes().to_vec());
            let key = &work.table(root.table).key;
            cells.push(key.iter().map(|&position| row[position].clone()).collect());
        }
        if numbers.is_empty() {
            continue;
        }
        if !by_document {
            keys = target.key_bytes(work.table(root.table), &cells).await?;
        }
        let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let listed = cascaded_rows::of_keys(&mut target.session, &root.state_name, &asked).await?;
        let gone = numbers
            .iter()
            .zip(&keys)
            .filter(|(_, key)| listed.contains(*key));
        found.extend(gone.map(|(number, _)| *number));
    }
    Ok(found)
}
