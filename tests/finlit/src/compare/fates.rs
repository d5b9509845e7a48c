//! The ledger, entry by entry.

use super::{
    report::{Finding, Report, Wrong},
    state::State,
};
use crate::{
    edge_cases::Fate,
    expected::{key, tables::table},
    ledger::{Entry, Ledger},
};
use bson::Bson;
use leafcutter_harness::failure::{Attempt, Result};
use tokio_postgres::Transaction;

/// Looks up what became of every document in the ledger.
pub(super) async fn check(
    view: &Transaction<'_>,
    ledger: &Ledger,
    state: &State,
    report: &mut Report,
) -> Result<()> {
    for entry in ledger.entries() {
        report.fates += 1;
        if let Some(detail) = wrong(view, entry, state, report).await? {
            report.add(Finding {
                wrong: Wrong::Fate,
                collection: entry.collection,
                id: key::canonical(&entry.id),
                detail: format!("{}: {detail}", entry.what),
            });
        }
    }
    Ok(())
}

/// What is wrong with an entry's fate, if something is.
async fn wrong(
    view: &Transaction<'_>,
    entry: &Entry,
    state: &State,
    report: &mut Report,
) -> Result<Option<String>> {
    let dead_letter = state.dead_letter(entry.collection, &key::canonical(&entry.id));
    let is_there = is_there(view, entry, &entry.id).await?;
    Ok(match entry.fate {
        Fate::Placed(_) if !is_there => Some("there is no row".to_owned()),
        Fate::Placed(values) => read(view, entry, values).await?,
        Fate::Refused(reason, table, column) => match dead_letter {
            None => Some(format!("no dead letter ({reason} of {table}.{column})")),
            Some(l) if l.reason != reason || l.column != column => Some(format!(
                "the dead letter says {} of {}.{}",
                l.reason, l.table, l.column
            )),
            Some(_) => None,
        },
        Fate::Orphan(column) => match dead_letter {
            Some(l) if l.reason == "orphan" && l.column == column => {
                is_there.then(|| "an orphan, and in its table all the same".to_owned())
            }
            Some(l) => Some(format!(
                "the dead letter says {} of {}.{}",
                l.reason, l.table, l.column
            )),
            None => Some(format!("no dead letter (orphan by {column})")),
        },
        Fate::OneOfTwo => {
            let partner = entry.partner.as_ref().unwrap_or(&Bson::Null);
            match (is_there, self::is_there(view, entry, partner).await?) {
                (true, true) => Some("both are in the table".to_owned()),
                (false, false) => Some("neither is in the table".to_owned()),
                _ => None,
            }
        }
        Fate::Circle => {
            let partner = entry.partner.as_ref().unwrap_or(&Bson::Null);
            match (is_there, self::is_there(view, entry, partner).await?) {
                (true, true) => report.circles.0 += 1,
                (false, false) => report.circles.1 += 1,
                _ => return Ok(Some("one is in the table without the other".to_owned())),
            }
            None
        }
        Fate::Gone => match (is_there, dead_letter) {
            (true, _) if state.is_held(entry.collection.name(), key::row_key(&entry.id)) => None,
            (true, _) => Some("deleted, and its row is still there".to_owned()),
            (false, Some(_)) => Some("deleted, and a dead letter is still open".to_owned()),
            (false, None) => None,
        },
    })
}

async fn is_there(view: &Transaction<'_>, entry: &Entry, id: &Bson) -> Result<bool> {
    let table = table(entry.collection);
    let sql = format!(
        "select 1 from \"{}\" where \"{}\" = $1::text::uuid",
        table.name,
        table.key()
    );
    let found = view.query_opt(&sql, &[&key::row_key(id).to_string()]).await;
    Ok(found.attempt("look up a fate")?.is_some())
}

async fn read(
    view: &Transaction<'_>,
    entry: &Entry,
    values: &[(&str, Option<&str>)],
) -> Result<Option<String>> {
    let table = table(entry.collection);
    for (expression, want) in values {
        let sql = format!(
            "select ({expression})::text from \"{}\" t where t.\"{}\" = $1::text::uuid",
            table.name,
            table.key()
        );
        let row = view
            .query_one(&sql, &[&key::row_key(&entry.id).to_string()])
            .await;
        let row = row.attempt(&format!("look up {expression}"))?;
        let have: Option<&str> = row.get(0);
        if have != *want {
            let show =
                |text: Option<&str>| text.map_or("null".to_owned(), |text| format!("{text:?}"));
            return Ok(Some(format!(
                "{expression} is {}, should be {}",
                show(have),
                show(*want)
            )));
        }
    }
    Ok(None)
}
