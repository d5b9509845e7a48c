//! Everything that is not as it has to be.

use super::{
    expected::{DeadLetter, Expected, Row},
    numbers,
    source::Source,
    target::{self, Table},
};
use leafcutter_harness::{
    failure::{Attempt, Result},
    world::Place,
};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// What is different, for a person; nothing if all is well.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn find(
    client: &Client,
    place: &Place,
    source: &Source,
    mut expected: Expected,
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let tables = target::read(client).await?;
    numbers::look_up(&mut expected, &tables, &mut found);
    for (name, table) in &tables {
        let rows = expected.tables.get(name.as_str());
        if rows.is_none_or(Vec::is_empty) {
            found.push(format!("{name}: no row is expected, so nothing is tested"));
        }
        compare(name, table, rows.map_or(&[], Vec::as_slice), &mut found);
    }
    for name in expected.tables.keys() {
        if !tables.contains_key(*name) {
            found.push(format!("{name}: the table is not there"));
        }
    }
    compare_dead_letters(client, place, &expected, &mut found).await?;
    let held: i64 = client
        .query_one("select count(*) from leafcutter.held", &[])
        .await?
        .get(0);
    if i64::try_from(source.held)? != held {
        found.push(format!("{held} rows are held, should be {}", source.held));
    }
    Ok(found)
}

fn compare(name: &str, table: &Table, rows: &[Row], found: &mut Vec<String>) {
    let mut wanted = BTreeMap::new();
    for row in rows {
        let key = table.key(|column| row.get(column));
        if wanted.insert(key.clone(), row).is_some() {
            found.push(format!("{name} {key}: expected twice"));
        }
    }
    for (key, row) in &wanted {
        let Some(cells) = table.rows.get(key) else {
            found.push(format!("{name} {key}: missing"));
            continue;
        };
        for (column, cell) in cells {
            match row.0.get(column.as_str()) {
                None => found.push(format!("{name}: `{column}` is not expected")),
                Some(want) if want != cell => {
                    let detail = cell.difference(want);
                    found.push(format!("{name} {key}: {column} {detail}"));
                }
                Some(_) => {}
            }
        }
        for column in row.0.keys().filter(|c| !cells.contains_key(**c)) {
            found.push(format!("{name}: there is no `{column}`"));
        }
    }
    for key in table.rows.keys().filter(|key| !wanted.contains_key(*key)) {
        found.push(format!("{name} {key}: a row too many"));
    }
}

/// Dead letters of orphans may be missing only where as many documents are listed as lost.
async fn compare_dead_letters(
    client: &Client,
    place: &Place,
    expected: &Expected,
    found: &mut Vec<String>,
) -> Result<()> {
    let mut dead_letters: BTreeSet<DeadLetter> = BTreeSet::new();
    for collection in &place.collections {
        let sql = "select source_key, reason from leafcutter.dead_letters \
                   where state = 'open' and topic = $1";
        let topic = place.topic(collection)?;
        let rows = client.query(sql, &[&topic]).await;
        for row in rows.attempt("read the dead letters")? {
            let key: Option<String> = row.get(0);
            dead_letters.insert((collection.clone(), key.unwrap_or_default(), row.get(1)));
        }
    }
    for (collection, key, reason) in &expected.dead_letters {
        if !dead_letters.remove(&(collection.clone(), key.clone(), reason.clone())) {
            found.push(format!("{collection} {key}: no dead letter `{reason}`"));
        }
    }
    let unnamed: Vec<_> = expected
        .orphans
        .iter()
        .filter(|orphan| !dead_letters.remove(*orphan))
        .collect();
    for (collection, key, reason) in &dead_letters {
        found.push(format!("{collection} {key}: a dead letter `{reason}`"));
    }
    let sql = "select count(distinct (table_name, row_key)) from leafcutter.cascaded_rows";
    let lost: i64 = client.query_one(sql, &[]).await?.get(0);
    if i64::try_from(unnamed.len())? > lost {
        let some: Vec<_> = unnamed.iter().take(5).map(|o| format!("{o:?}")).collect();
        found.push(format!(
            "{} orphans have no dead letter, and only {lost} are listed as lost: {}",
            unnamed.len(),
            some.join(", ")
        ));
    }
    Ok(())
}
