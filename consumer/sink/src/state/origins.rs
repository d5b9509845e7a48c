//! `leafcutter.origins`: how each table was found when a consumer first came to it, and what was made there.
//!
//! A row is written once, in the transaction that makes Leafcutter's own columns there, before anything is
//! applied to the table. Later starts only add what they make. Without a row nothing is known of a table.

use crate::session::Session;
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// How a table was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was not there, and was created.
    Created,
    /// It had no rows.
    Empty,
    /// It had rows, which are the application's.
    Filled,
    /// An earlier version had written to it, and kept nothing.
    Unknown,
    /// It is not in the mapping: a foreign key changes or deletes its rows when rows of a table go that is.
    Outside,
}

impl Found {
    fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Empty => "empty",
            Self::Filled => "filled",
            Self::Unknown => "unknown",
            Self::Outside => "outside",
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "created" => Self::Created,
            "empty" => Self::Empty,
            "filled" => Self::Filled,
            "outside" => Self::Outside,
            _ => Self::Unknown,
        }
    }
}

/// What is known of a table's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// How it was found.
    pub found: Found,
    /// What Leafcutter takes from the application's rows there is kept.
    pub is_kept: bool,
    /// The columns by which a row is known.
    pub key: Vec<String>,
    /// Its schema was created for it.
    pub made_schema: bool,
    /// What was added to it.
    pub made: Made,
}

/// What Leafcutter added to a table that was there, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// Columns of the mapping.
    pub columns: Vec<String>,
    /// Indexes.
    pub indexes: Vec<String>,
    /// Foreign keys.
    pub keys: Vec<String>,
    /// Columns that it has numbered, which were there.
    pub numbers: Vec<String>,
}

/// Where a sequence of a table stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceRow {
    /// The table, as it has to be written.
    pub table: String,
    /// Its column.
    pub column: String,
    /// The sequence, as it has to be written.
    pub sequence: String,
    /// Its number.
    pub last: i64,
    /// Whether it has given that number.
    pub is_called: bool,
}

/// The tables that are known, as they have to be written, with their origins.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn all(session: &mut Session) -> Result<BTreeMap<String, Origin>, Error> {
    const ALL: &str = "\
        select table_name, found, is_kept, key_columns, made_schema, made_columns, made_indexes, made_keys, \
        made_numbers from leafcutter.origins order by table_name";
    let read = |row: &Row| {
        let made = Made {
            columns: row.get(5),
            indexes: row.get(6),
            keys: row.get(7),
            numbers: row.get(8),
        };
        let origin = Origin {
            found: Found::of(row.get(1)),
            is_kept: row.get(2),
            key: row.get(3),
            made_schema: row.get(4),
            made,
        };
        (row.get(0), origin)
    };
    Ok(session.query(ALL, &[]).await?.iter().map(read).collect())
}

/// Notes how a table was found.
///
/// # Errors
/// As [`all`].
pub async fn note(
    session: &mut Session,
    table: &str,
    found: Found,
    is_kept: bool,
    key: &[String],
) -> Result<(), Error> {
    const NOTE: &str = "\
        insert into leafcutter.origins (table_name, found, is_kept, key_columns) values ($1, $2, $3, $4) \
        on conflict (table_name) do nothing";
    let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&table, &found.name(), &is_kept, &key];
    session.execute(NOTE, parameters).await.map(drop)
}

/// Notes where a table's sequences stand.
///
/// # Errors
/// As [`all`].
pub async fn note_place(session: &mut Session, place: &PlaceRow) -> Result<(), Error> {
    const NOTE: &str = "\
        update leafcutter.origins set places = places || jsonb_build_object('column', $2::text, \
        'sequence', $3::text, 'last', $4::bigint, 'called', $5::boolean) where table_name = $1";
    let PlaceRow {
        table,
        column,
        sequence,
        last,
        is_called,
    } = place;
    session
        .execute(NOTE, &[table, column, sequence, last, is_called])
        .await
        .map(drop)
}

/// Where the sequences of all tables stood that were there.
///
/// # Errors
/// As [`all`].
pub async fn places(session: &mut Session) -> Result<Vec<PlaceRow>, Error> {
    const PLACES: &str = "\
        select o.table_name, p.column, p.sequence, p.last, p.called from leafcutter.origins o \
        cross join lateral jsonb_to_recordset(o.places) \
        as p (\"column\" text, sequence text, last bigint, called boolean) order by 1, 2, 3";
    let read = |row: &Row| PlaceRow {
        table: row.get(0),
        column: row.get(1),
        sequence: row.get(2),
        last: row.get(3),
        is_called: row.get(4),
    };
    Ok(session.query(PLACES, &[]).await?.iter().map(read).collect())
}

/// Notes that a table's schema was made for it.
///
/// # Errors
/// As [`all`].
pub async fn note_schema(session: &mut Session, table: &str) -> Result<(), Error> {
    const NOTE: &str = "update leafcutter.origins set made_schema = true where table_name = $1";
    session.execute(NOTE, &[&table]).await.map(drop)
}

/// Notes what was added to a table that was there.
///
/// # Errors
/// As [`all`].
pub async fn note_made(session: &mut Session, table: &str, made: &Made) -> Result<(), Error> {
    const NOTE: &str = "\
        update leafcutter.origins set made_columns = made_columns || $2::text[], \
        made_indexes = made_indexes || $3::text[], made_keys = made_keys || $4::text[], \
        made_numbers = made_numbers || $5::text[] where table_name = $1";
    let (columns, indexes) = (&made.columns, &made.indexes);
    session
        .execute(NOTE, &[&table, columns, indexes, &made.keys, &made.numbers])
        .await
        .map(drop)
}

/// New tables take the place of old ones: forgets these, and knows those by their new names from now on.
///
/// # Errors
/// As [`all`].
pub async fn exchange(
    session: &mut Session,
    old: &[String],
    (until, from): (&[String], &[String]),
) -> Result<(), Error> {
    const FORGET: &str = "delete from leafcutter.origins where table_name = any($1)";
    const RENAME: &str = "\
        update leafcutter.origins o set table_name = n.place, made_schema = false \
        from unnest($1::text[], $2::text[]) as n(staged, place) where o.table_name = n.staged";
    session.execute(FORGET, &[&old]).await?;
    session.execute(RENAME, &[&until, &from]).await.map(drop)
}
