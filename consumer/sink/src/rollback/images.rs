//! The application's rows as they were, read back from their text, and whether their places are free.
//!
//! Images of one shape have the same columns. Only these are written back: a column that the application has
//! added later keeps what it has. A value goes through its own type's input, into a temporary table with the
//! columns of the image; from there by name into one like the target, so that keys compare as they do there.

use super::Place;
use crate::{
    names::{list, literal, quote},
    session::Session,
    state::undo::{self, Shape},
};
use serde::Serialize;
use tokio_postgres::{Error, Row};

/// Rows that cannot come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// Their table.
    pub table: String,
    /// Why not.
    pub why: String,
    /// How many.
    pub rows: i64,
    /// Keys of some of them.
    pub first: Vec<String>,
}

/// A column of an image that is written back.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    place: i64,
    /// It is numbered always, and cannot be updated; nothing ever did.
    pub(super) is_always: bool,
}

/// The images of a table.
#[derive(Debug)]
pub(super) struct Images {
    n: usize,
    shapes: Vec<Vec<Column>>,
}

/// The columns of a shape, those that are gone too.
const COLUMNS: &str = "\
    select s.place, coalesce(a.attname::text, ''), \
    case when a.attisdropped is false then format_type(a.atttypid, a.atttypmod) else 'text' end, \
    a.attisdropped is not false or a.attgenerated <> '', a.attidentity = 'a' \
    from unnest($2::int2[]) with ordinality s (number, place) \
    left join pg_attribute a on a.attrelid = to_regclass($1) and a.attnum = s.number order by s.place";

/// Unique indexes by columns; what they are of, and their names.
const UNIQUE: &str = "\
    select c.relname::text, array(select a.attname::text from unnest(i.indkey::int2[]) \
      with ordinality k (number, place) join pg_attribute a on a.attrelid = i.indrelid \
      and a.attnum = k.number where k.place <= i.indnkeyatts order by k.place) \
    from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = to_regclass($1) \
    and i.indisunique and i.indpred is null and i.indexprs is null order by 1";

impl Images {
    /// Reads them.
    pub(super) async fn read(session: &mut Session, place: &Place) -> Result<Self, Error> {
        let shapes = undo::shapes(session, &place.target).await?;
        let mut images = Self {
            n: place.n,
            shapes: Vec::new(),
        };
        if shapes.is_empty() {
            return Ok(images);
        }
        session
            .batch(&format!(
                "create temp table {} on commit drop as select null::bigint as lc_undo_id, \
                 null::text as lc_undo_change, null::int as lc_undo_shape, null::text as lc_undo_block, t.* \
                 from {} t with no data",
                images.table(),
                place.target
            ))
            .await?;
        for shape in shapes {
            let columns = images.read_shape(session, place, &shape).await?;
            images.shapes.push(columns);
        }
        // Where a key has several spellings, the first image of each counts.
        let table = images.table();
        session
            .batch(&format!(
                "delete from {table} i using {table} j where {} and j.lc_undo_id < i.lc_undo_id; analyze {table}",
                place.same_key("i", "j")
            ))
            .await?;
        Ok(images)
    }

    async fn read_shape(
        &self,
        session: &mut Session,
        place: &Place,
        shape: &Shape,
    ) -> Result<Vec<Column>, Error> {
        let k = self.shapes.len();
        let rows = session
            .query(COLUMNS, &[&shape.relation, &shape.attributes])
            .await?;
        let definitions = rows.iter().map(|row| {
            let (place, kind): (i64, &str) = (row.get(0), row.get(2));
            format!("a{place} {kind}")
        });
        let row_type = format!("pg_temp.lc_shape_{}_{k}", self.n);
        session
            .batch(&format!(
                "create temp table {} ({}) on commit drop",
                row_type,
                list(definitions)
            ))
            .await?;
        let columns = rows.iter().filter(|row| !row.get::<_, bool>(3));
        let columns: Vec<Column> = columns
            .map(|row: &Row| Column {
                place: row.get(0),
                name: row.get(1),
                is_always: row.get::<_, Option<bool>>(4).unwrap_or(false),
            })
            .collect();
        let names = columns.iter().map(|column| quote(&column.name));
        let values = columns
            .iter()
            .map(|column| format!("(s.r).a{}", column.place));
        session
            .batch(&format!(
                "insert into {} (lc_undo_id, lc_undo_change, lc_undo_shape, {}) \
                 select s.id, s.change, {k}, {} from ({}) s",
                self.table(),
                list(names),
                list(values),
                undo::images(&place.target, shape, &row_type)
            ))
            .await?;
        Ok(columns)
    }

    /// The temporary table in which they are.
    pub(super) fn table(&self) -> String {
        format!("pg_temp.lc_image_{}", self.n)
    }

    /// The columns of each shape, with its number.
    pub(super) fn columns(&self) -> impl Iterator<Item = (usize, &[Column])> {
        self.shapes.iter().map(Vec::as_slice).enumerate()
    }

    /// Whether there is an image of a row that comes back, as a condition.
    pub(super) fn has_of(&self, place: &Place, row: &str) -> String {
        if self.shapes.is_empty() {
            return "false".to_owned();
        }
        format!(
            "exists (select 1 from {} i where i.lc_undo_block is null and {})",
            self.table(),
            place.same_key("i", row)
        )
    }

    /// Finds those whose places are taken by rows of the application's own. They stay away.
    pub(super) async fn block(
        &self,
        session: &mut Session,
        place: &Place,
    ) -> Result<Vec<Blocked>, Error> {
        let mut blocked = Vec::new();
        if self.shapes.is_empty() {
            return Ok(blocked);
        }
        let (table, target) = (self.table(), &place.target);
        let keyless = format!("i.lc_undo_change = 'changed' and {}", place.is_keyless("i"));
        let why = "nothing tells which row it is: it has no key";
        blocked.extend(self.block_where(session, place, &keyless, why).await?);
        let replaced = format!(
            "i.lc_undo_change <> 'changed' and exists (select 1 from {target} x where {} and not {})",
            place.same_key("x", "i"),
            place.ours()
        );
        let why = "the application has written a row of its own with that key since";
        blocked.extend(self.block_where(session, place, &replaced, why).await?);
        for row in session.query(UNIQUE, &[&target]).await? {
            let (name, columns): (&str, Vec<String>) = (row.get(0), row.get(1));
            let same: Vec<String> = columns
                .iter()
                .map(|column| format!("x.{0} = i.{0}", quote(column)))
                .collect();
            if columns == place.key || same.is_empty() {
                continue;
            }
            // A row that gets its old values back does not keep the value that it has.
            let taken = format!(
                "exists (select 1 from {target} x where {} and not {} and not exists (select 1 \
                 from {table} j where j.lc_undo_block is null and {}))",
                same.join(" and "),
                place.ours(),
                place.same_key("j", "x")
            );
            let why = format!("another row has its value of unique index {name} now");
            blocked.extend(self.block_where(session, place, &taken, &why).await?);
        }
        Ok(blocked)
    }

    async fn block_where(
        &self,
        session: &mut Session,
        place: &Place,
        condition: &str,
        why: &str,
    ) -> Result<Option<Blocked>, Error> {
        let sql = format!(
            "with b as (update {} i set lc_undo_block = {} where i.lc_undo_block is null and {condition} \
             returning {} as key) select (select count(*) from b), \
             array(select key from b order by key limit 3)",
            self.table(),
            literal(why),
            place.shown_key("i")
        );
        let row = session.query_one(&sql, &[]).await?;
        let rows: i64 = row.get(0);
        Ok((rows > 0).then(|| Blocked {
            table: place.shown.clone(),
            why: why.to_owned(),
            rows,
            first: row.get(1),
        }))
    }

    /// How many overwrite a row, and how many become a row again.
    pub(super) async fn count(
        &self,
        session: &mut Session,
        place: &Place,
    ) -> Result<(i64, i64), Error> {
        if self.shapes.is_empty() {
            return Ok((0, 0));
        }
        let sql = format!(
            "select count(*) filter (where there), count(*) filter (where not there) from (\
             select exists (select 1 from {} x where {}) as there from {} i where i.lc_undo_block is null) s",
            place.target,
            place.same_key("x", "i"),
            self.table()
        );
        let row = session.query_one(&sql, &[]).await?;
        Ok((row.get(0), row.get(1)))
    }
}
