//! What Leafcutter made beside rows: constraints, indexes, columns, tables, schemas, places of sequences.
//!
//! Only what is known by name to have been made is taken away, and only with `restrict`. An index or a constraint
//! that somebody else has put on such a column would go without a word; it is looked for before ([`made`]).

use super::{Place, Prepared};
use crate::{
    names::{list, literal, qualified, quote},
    session::Session,
    state::origins::{self, Found, PlaceRow},
    target::own_columns::{self, Dependent},
};
use leafcutter_schemas::mapping::TableName;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Error;

/// Drops the foreign keys that were made on tables which were there.
///
/// # Errors
/// When PostgreSQL refuses or is lost; so for all of these.
pub async fn keys(session: &mut Session, places: &[Place]) -> Result<(), Error> {
    for (place, origin) in with_origin(places) {
        for name in &origin.made.keys {
            let sql = format!(
                "alter table {} drop constraint if exists {} restrict",
                place.target,
                quote(name)
            );
            session.batch(&sql).await?;
        }
    }
    Ok(())
}

fn with_origin(places: &[Place]) -> impl Iterator<Item = (&Place, &origins::Origin)> {
    places
        .iter()
        .filter_map(|place| Some((place, place.origin.as_ref()?)))
}

/// Drops indexes, columns and numbers that were made on tables which were there; nothing of it where something
/// of others needs such a column: then that is given.
///
/// # Errors
/// As [`keys`].
pub async fn made(session: &mut Session, places: &[Place]) -> Result<Vec<Dependent>, Error> {
    for (place, origin) in with_origin(places) {
        for name in &origin.made.indexes {
            let (schema, index) = (&place.schema, quote(name));
            let sql = format!("drop index if exists {schema}.{index} restrict");
            session.batch(&sql).await?;
        }
        for column in &origin.made.numbers {
            let (target, column) = (&place.target, quote(column));
            let sql = format!("alter table {target} alter column {column} drop identity if exists");
            session.batch(&sql).await?;
        }
    }
    let mut dependents = Vec::new();
    for (place, origin) in with_origin(places) {
        let columns: Vec<&str> = origin.made.columns.iter().map(String::as_str).collect();
        if !columns.is_empty() {
            let target = [place.target.clone()];
            dependents.extend(own_columns::dependents(session, &target, &columns).await?);
        }
    }
    // What a column brought along is no other's.
    if !dependents.is_empty() {
        return Ok(dependents);
    }
    for (place, origin) in with_origin(places) {
        let drops: Vec<String> = origin
            .made
            .columns
            .iter()
            .map(|column| format!("drop column if exists {} restrict", quote(column)))
            .collect();
        if !drops.is_empty() {
            let sql = format!("alter table {} {}", place.target, drops.join(", "));
            session.batch(&sql).await?;
        }
    }
    Ok(dependents)
}

/// Which of the tables that were created are gone, and which stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Created {
    /// Those that were dropped.
    pub dropped: Vec<String>,
    /// Those that stay, since they are not empty, or nobody asked for it.
    pub kept: Vec<String>,
}

fn created_places(prepared: &Prepared) -> impl Iterator<Item = &Place> {
    let all = with_origin(&prepared.places).filter(|(_, origin)| origin.found == Found::Created);
    all.map(|(place, _)| place)
}

/// Drops those of these tables that no other table refers to; gives them.
async fn drop_tables<'p>(
    session: &mut Session,
    mut places: Vec<&'p Place>,
) -> Result<Vec<&'p Place>, Error> {
    const REFERRED: &str = "\
        select w.name from unnest($1::text[]) w (name) where exists (select 1 from pg_constraint k \
        where k.contype = 'f' and k.confrelid = to_regclass(w.name) \
        and k.conrelid <> all (select to_regclass(v.name)::oid from unnest($1::text[]) v (name)))";
    loop {
        let names: Vec<&str> = places.iter().map(|place| place.target.as_str()).collect();
        let rows = session.query(REFERRED, &[&names]).await?;
        if rows.is_empty() {
            break;
        }
        let kept: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        places.retain(|place| !kept.contains(&place.target));
    }
    if !places.is_empty() {
        let names = list(places.iter().map(|place| place.target.clone()));
        let sql = format!("drop table {names} restrict");
        session.batch(&sql).await?;
    }
    Ok(places)
}

/// Drops the tables that were created and have only rows of Leafcutter's, with these rows; gives their numbers.
///
/// # Errors
/// As [`keys`].
pub async fn whole(session: &mut Session, prepared: &Prepared) -> Result<Vec<usize>, Error> {
    let whole = created_places(prepared).filter(|place| prepared.is_whole(place));
    let dropped = drop_tables(session, whole.collect()).await?;
    Ok(dropped.iter().map(|place| place.n).collect())
}

/// Drops the other tables that were created, where they are empty and it is `asked` for, and then their schemas.
/// Tables that one which stays refers to stay with it.
///
/// # Errors
/// As [`keys`].
pub async fn created(
    session: &mut Session,
    prepared: &Prepared,
    dropped: &[usize],
    asked: bool,
) -> Result<Created, Error> {
    let mut empty = Vec::new();
    for place in created_places(prepared).filter(|place| asked && !dropped.contains(&place.n)) {
        let sql = format!("select not exists (select 1 from {})", place.target);
        if session.query_one(&sql, &[]).await?.get(0) {
            empty.push(place);
        }
    }
    let late = drop_tables(session, empty).await?;
    let is_gone =
        |place: &Place| dropped.contains(&place.n) || late.iter().any(|other| other.n == place.n);
    let mut all = Created::default();
    let mut schemas = BTreeSet::new();
    for place in created_places(prepared) {
        if !is_gone(place) {
            all.kept.push(place.shown.clone());
            continue;
        }
        all.dropped.push(place.shown.clone());
        if place
            .origin
            .as_ref()
            .is_some_and(|origin| origin.made_schema)
        {
            schemas.insert(&place.schema);
        }
    }
    for schema in schemas {
        const USED: &str = "\
            select exists (select 1 from pg_depend d where d.refclassid = 'pg_namespace'::regclass \
            and d.refobjid = to_regnamespace($1)::oid)";
        if !session.query_one(USED, &[schema]).await?.get::<_, bool>(0) {
            let sql = format!("drop schema if exists {schema} restrict");
            session.batch(&sql).await?;
        }
    }
    Ok(all)
}

/// What became of a sequence that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SequenceBack {
    /// Its name.
    pub sequence: String,
    /// Where it stood before the first run.
    pub before: i64,
    /// Where it stands now.
    pub last: i64,
    /// Why it was left there; nothing where it was set back.
    pub left: Option<String>,
}

/// Sets the sequences of these tables back to where they stood, where no row that stays has a number behind
/// that: then only Leafcutter's rows had drawn, or needed, those numbers.
///
/// # Errors
/// As [`keys`].
pub async fn sequences(
    session: &mut Session,
    places: &[Place],
) -> Result<Vec<SequenceBack>, Error> {
    let unknown = |table: &str| {
        let mut known = with_origin(places);
        !known.any(|(place, origin)| place.target == table && origin.found != Found::Unknown)
    };
    let mut by_sequence: BTreeMap<String, Vec<PlaceRow>> = BTreeMap::new();
    for row in origins::places(session).await? {
        by_sequence
            .entry(row.sequence.clone())
            .or_default()
            .push(row);
    }
    let mut all = Vec::new();
    for (sequence, rows) in by_sequence {
        if rows.iter().all(|row| unknown(&row.table)) {
            continue;
        }
        all.extend(set_back(session, &sequence, &rows).await?);
    }
    Ok(all)
}

async fn set_back(
    session: &mut Session,
    sequence: &str,
    rows: &[PlaceRow],
) -> Result<Option<SequenceBack>, Error> {
    const MAY: &str = "\
        select q.seqincrement > 0, has_sequence_privilege(q.seqrelid, 'SELECT'), \
        has_sequence_privilege(q.seqrelid, 'UPDATE') from pg_sequence q where q.seqrelid = to_regclass($1)";
    const WHOLE: &str = "\
        select exists (select 1 from pg_attribute a join pg_type y on y.oid = a.atttypid \
        where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped \
        and coalesce(nullif(y.typbasetype, 0), a.atttypid) in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype))";
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let Some(may) = session.query(MAY, &[&sequence]).await?.pop() else {
        return Ok(None);
    };
    let (rises, sees, sets): (bool, bool, bool) = (may.get(0), may.get(1), may.get(2));
    if !sees {
        return Ok(None);
    }
    let now = format!("select last_value, is_called from {sequence}");
    let now = session.query_one(&now, &[]).await?;
    let (last, is_called): (i64, bool) = (now.get(0), now.get(1));
    if (last, is_called) == (first.last, first.is_called) {
        return Ok(None);
    }
    let mut back = SequenceBack {
        sequence: sequence.to_owned(),
        before: first.last,
        last,
        left: None,
    };
    if !rises {
        back.left = Some("it counts downwards".to_owned());
        return Ok(Some(back));
    }
    if !sets {
        back.left = Some("this user may not set it".to_owned());
        return Ok(Some(back));
    }
    for row in rows {
        let is_whole = session.query_one(WHOLE, &[&row.table, &row.column]).await?;
        if !is_whole.get::<_, bool>(0) {
            continue;
        }
        let highest = format!(
            "select max({})::bigint from {}",
            quote(&row.column),
            row.table
        );
        let highest: Option<i64> = session.query_one(&highest, &[]).await?.get(0);
        let behind = if first.is_called {
            first.last
        } else {
            first.last - 1
        };
        if let Some(highest) = highest.filter(|&highest| highest > behind) {
            back.left = Some(format!("a row that stays has the number {highest}"));
            return Ok(Some(back));
        }
    }
    let set = format!("select setval({}::regclass, $1, $2)", literal(sequence));
    session
        .query_one(&set, &[&first.last, &first.is_called])
        .await?;
    Ok(Some(back))
}

/// The tables that something is known of, and that the mapping does not have: of another mapping.
///
/// # Errors
/// As [`keys`].
pub async fn of_other_mappings(
    session: &mut Session,
    mapped: &[TableName],
) -> Result<Vec<String>, Error> {
    let mapped: BTreeSet<String> = mapped.iter().map(qualified).collect();
    let all = origins::all(session).await?.into_iter();
    let others =
        all.filter(|(table, origin)| origin.found != Found::Outside && !mapped.contains(table));
    Ok(others.map(|(table, _)| table.replace('"', "")).collect())
}
