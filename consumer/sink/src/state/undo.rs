//! `leafcutter.undo`: the application's rows as they were before Leafcutter overwrote or deleted them.
//!
//! They are written by a trigger ([`crate::target::keeping`]), in the transaction that takes them, so an image
//! is there exactly if its row was taken. A row's image is the text of the whole row, in the order of the
//! columns whose numbers stand beside it: a table that gains, loses or renames columns later keeps its images
//! readable.

use crate::{names::literal, session::Session};
use tokio_postgres::{Error, Row};

/// The trigger, on each table of which something is kept.
pub const TRIGGER: &str = "leafcutter_undo";
/// The setting by which it knows Leafcutter's own sessions.
pub const SESSION: &str = "leafcutter.session";

/// Images of one table that have the same columns.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The table that they were read from: the table itself, or its partition.
    pub relation: String,
    /// The numbers of its columns.
    pub attributes: Vec<i16>,
}

/// The kinds of images that a table has.
///
/// # Errors
/// When PostgreSQL is lost; so for all of these.
pub async fn shapes(session: &mut Session, table: &str) -> Result<Vec<Shape>, Error> {
    const SHAPES: &str = "\
        select relation, attributes from leafcutter.undo where table_name = $1 group by 1, 2 order by min(id)";
    let read = |row: &Row| Shape {
        relation: row.get(0),
        attributes: row.get(1),
    };
    let rows = session.query(SHAPES, &[&table]).await?;
    Ok(rows.iter().map(read).collect())
}

/// A query for the images of a shape, each read as a row `r` of this type, with `id` and `change`.
pub fn images(table: &str, shape: &Shape, row_type: &str) -> String {
    let numbers: Vec<String> = shape.attributes.iter().map(i16::to_string).collect();
    // The offset keeps the text from being read once for each column.
    format!(
        "select u.id, u.change, u.row_image::{row_type} as r from leafcutter.undo u \
         where u.table_name = {} and u.relation = {} and u.attributes = '{{{}}}'::int2[] offset 0",
        literal(table),
        literal(&shape.relation),
        numbers.join(",")
    )
}

/// Forgets what was kept of these tables, once it is back.
///
/// # Errors
/// As [`shapes`].
pub async fn forget(session: &mut Session, tables: &[String]) -> Result<(), Error> {
    const FORGET: &str = "delete from leafcutter.undo where table_name = any($1)";
    session.execute(FORGET, &[&tables]).await.map(drop)
}

/// Which of these tables have rows of the application's that are kept.
///
/// # Errors
/// As [`shapes`].
pub async fn kept(session: &mut Session, tables: &[String]) -> Result<Vec<String>, Error> {
    const KEPT: &str = "\
        select distinct table_name from leafcutter.undo where table_name = any($1) order by 1";
    let rows = session.query(KEPT, &[&tables]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
